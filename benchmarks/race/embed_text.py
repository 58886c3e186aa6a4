"""Race `graft.embed` against sentence-transformers' `encode`, and compare the vectors.

    python benchmarks/race/embed_text.py --rows 0 --threads 1 --json embed.json

MiniLM on the texts of banking77 (train and test, 13,083). Both sides tokenise, encode and return an
array in the order of the texts; opening the model is not timed. The peer runs with its defaults
(batches of 32). In bf16 all of the peer's weights are bf16, ours those of products; raced where the
processor multiplies bf16 by itself.
"""

from __future__ import annotations

from typing import Any

from racing import Line, finish, interleave, options, race, seconds, shared

ROUNDING = {"fp32": 1e-5, "bf16": 0.03}


def main() -> None:
    asked = options(__doc__)
    import numpy as np
    import torch
    from sentence_transformers import SentenceTransformer
    from texts import minilm

    from graft.api.embedding import open_embedder
    from graft.api.predicting import table_of
    from graft.data.readers import read
    from graft.engine.precision import multiplies_bf16

    texts: list[str] = []
    for part in ("train", "test"):
        texts += read(str(shared() / "data" / "banking77" / f"{part}.csv")).inputs()
    texts = texts[: asked.rows or None]
    ours = open_embedder("minilm")
    table, _ = table_of(texts, "text", None)
    held: dict[str, Any] = {}
    lines: list[Line] = []
    precisions = ["fp32"]
    if multiplies_bf16(torch.device("cpu")):
        precisions.append("bf16")
    for precision in precisions:
        peer = SentenceTransformer(str(minilm()), device="cpu")
        if precision == "bf16":
            peer = peer.bfloat16()

        def by_graft(precision: str = precision) -> None:
            held["graft"] = ours.embed(table, precision=precision).features  # type: ignore[arg-type]

        def by_peer(peer: Any = peer) -> None:
            found = peer.encode(texts, show_progress_bar=False, convert_to_tensor=True)
            held["peer"] = found.float().numpy()

        seen = interleave(
            {"graft": lambda: seconds(by_graft), "encode": lambda: seconds(by_peer)},
            asked.repeats,
        )
        # the peer's module ends in lengths of one
        unit = held["graft"] / np.linalg.norm(held["graft"], axis=1, keepdims=True)
        apart = float(np.abs(unit - held["peer"]).max())
        assert apart <= ROUNDING[precision], apart
        mark = 1.1 if precision == "fp32" else 1.2
        note = f"largest difference of a number {apart:.1e}"
        work = f"embed, {len(texts):,} texts, {precision}"
        lines.append(race(work, seen, "graft", "encode", mark, note=note))
    finish(asked, lines)


if __name__ == "__main__":
    main()
