"""Race the training of embeddings: a frozen prefix from the store, and batches larger than memory.

    python benchmarks/race/embed_training.py --rows 2000 --threads 1 --json embed_training.json

Pairs of banking77's questions of one intent, MiniLM, InfoNCE with in-batch negatives.

    prefix   `last:1`, batches of 64 pairs, 5 epochs, against a plain loop in torch with the same
             five blocks frozen: batches of 64 pairs padded to their longest text, mean pooling,
             cross-entropy over cosines, fused AdamW. A frozen block costs one pass forward, a
             trained one three, so arithmetic allows 5 · (5 + 3) / (5 + 5 · 3) = 2 times the speed
             of a peer that has our batches (pairs of like length together; no gain by padding), and
             85 % of that is 1.7. The other line's peer draws its batches at random.
    cached   `full`, steps of 512 pairs in micro-batches of 64 pairs with gradient caching, against
             steps of 64 pairs: arithmetic says (2 + 2) / 3 = 1.33 times the time.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from racing import chosen, finish, now, options, race, shared

EPOCHS, BATCH, LARGE = 5, 64, 512
RATE, TEMPERATURE = 5e-5, 0.05


def main() -> None:
    asked = options(__doc__)
    from racing import interleave

    pairs = read_pairs(asked.rows)
    lines = []
    names = chosen(asked, ("prefix", "cached"))
    if "prefix" in names:
        from graft.methods.body import last

        plan = last(6, n=1, epochs=EPOCHS, batch_size=BATCH)
        seen = interleave(
            {
                "graft": lambda: graft_seconds(pairs, plan),
                "like length": lambda: loop_seconds(pairs, by_length=True),
                "random": lambda: loop_seconds(pairs, by_length=False),
            },
            asked.repeats,
        )
        what = f"last:1, {EPOCHS} epochs, {len(pairs[0]):,} pairs"
        note = "the peer has our batches; 1.7 is 85 % of what arithmetic allows"
        lines.append(race(f"{what}, like length", seen, "graft", "like length", 1.7, note=note))
        lines.append(race(f"{what}, random", seen, "graft", "random"))
    if "cached" in names:
        from graft.methods.body import full

        large = full(6, epochs=1, batch_size=LARGE, micro_batch_size=2 * BATCH)
        small = full(6, epochs=1, batch_size=BATCH)
        seen = interleave(
            {
                "cached": lambda: graft_seconds(pairs, large),
                "plain": lambda: graft_seconds(pairs, small),
            },
            asked.repeats,
        )
        work = f"full, 1 epoch, {len(pairs[0]):,} pairs, steps of {LARGE} in passes of {BATCH}"
        note = f"the peer is graft with steps of {BATCH} pairs"
        lines.append(race(work, seen, "cached", "plain", 1.4, note=note, of_graft=True))
    finish(asked, lines)


def read_pairs(n: int) -> tuple[list[str], list[str]]:
    """Return questions and others of the same intent, each question once."""
    from graft.data.readers import read

    table = read(str(shared() / "data" / "banking77" / "train.csv"))
    of: dict[str, list[str]] = {}
    for text, label in zip(table.inputs(), table.labels() or [], strict=True):
        of.setdefault(label, []).append(text)
    found = [pair for texts in of.values() for pair in zip(texts[::2], texts[1::2], strict=False)]
    found = [found[i] for i in range(0, len(found), max(1, len(found) // (n or len(found))))]
    return [a for a, _ in found], [b for _, b in found]


def graft_seconds(pairs: tuple[list[str], list[str]], plan: Any) -> float:
    """Train by a plan from the beginning, with an empty store and checkpoints."""
    import pyarrow as pa

    from graft.backbones import open_backbone
    from graft.data.roles import Asked
    from graft.data.rows import Rows, assembled
    from graft.engine.run import run
    from graft.engine.settings import Settings
    from graft.tasks.embed import Embed

    columns = {"anchor": pairs[0], "positive": pairs[1]}
    table = assembled(Rows.of_file(pa.table(columns), "pairs.csv"), Asked())
    backbone = open_backbone("minilm")
    task = Embed(kind="pairs", objective="info_nce", options={"temperature": TEMPERATURE})
    model, state = task.build(backbone)
    streams = {"train": task.streams(table, backbone)}
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(cache=Path(folder) / "cache", checkpoints=Path(folder) / "points")
        began = now()
        run(plan, model, task, streams, state=state, settings=settings)
        return now() - began


def loop_seconds(pairs: tuple[list[str], list[str]], *, by_length: bool) -> float:
    """Train the top block in a plain loop."""
    import numpy as np
    import torch
    from texts import minilm
    from torch.nn import functional
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    from graft.data.sampling import batches

    logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(minilm())
    net = AutoModel.from_pretrained(minilm(), dtype=torch.float32).train()
    for module in (net.embeddings, *net.encoder.layer[:5], net.pooler):
        module.requires_grad_(False)
    tokens = [tokenizer(side, truncation=True, max_length=256)["input_ids"] for side in pairs]
    lengths = np.array([max(map(len, both)) for both in zip(*tokens, strict=True)])
    trained = [p for p in net.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=RATE, weight_decay=0.01, fused=True)

    def embedded(side: list[list[int]], rows: Any) -> Any:
        inputs = tokenizer.pad({"input_ids": [side[i] for i in rows]}, return_tensors="pt")
        states = net(**inputs).last_hidden_state
        mask = inputs["attention_mask"][..., None].float()
        return functional.normalize((states * mask).sum(1) / mask.sum(1), dim=1)

    began = now()
    for epoch in range(EPOCHS):
        n = len(pairs[0])
        for rows in batches(lengths if by_length else None, n, BATCH, 0, epoch):
            anchors, positives = (embedded(side, rows.tolist()) for side in tokens)
            logits = anchors @ positives.T / TEMPERATURE
            loss = functional.cross_entropy(logits, torch.arange(len(rows)))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return now() - began


if __name__ == "__main__":
    main()
