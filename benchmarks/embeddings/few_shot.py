"""Eight examples a class: shape the space by pairs first, then solve the head; or only solve it.

    python benchmarks/embeddings/few_shot.py --seeds 10 --data sst2 --threads 1

`probe` solves the head on MiniLM's own features. `contrastive + probe` first trains the whole
network on the same rows with the contrastive loss of all pairs (cosine, margin 0.5), then solves
the head on what it has become: SetFit's two steps (Tunstall et al. 2022), the second one exact.
Both see the same eight rows of each class and are judged on the same 600 test rows.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "literature"))
import ledger
from ledger import Ledger, paired, shared

ledger.RESULTS = Path(__file__).parent / "results"

SHOTS, N_TEST = 8, 600
CONTRASTIVE: dict[str, Any] = {
    "task": "embed",
    "objective": "contrastive",
    "distance": "cosine",
    "margin": 0.5,
    "items_per_class": 4,
    "method": "full",
    "lr": 5e-5,
    "batch_size": 32,
}
EPOCHS = {"sst2": 40, "banking77": 3}
"""So that both take some tens of steps; chosen on seeds (100 to 102) that are not in the table."""


def rows_of(data: str, seed: int, path: Path) -> None:
    """Write eight training rows of each class that a seed draws, and the test rows."""
    import csv

    from graft.data.readers import read

    rng = np.random.default_rng(seed)
    train = read(shared("data", data, "train.csv"))
    test = read(shared("data", data, "test.csv"))
    labels = np.asarray(train.labels())
    kept = [rng.permutation(np.flatnonzero(labels == c))[:SHOTS] for c in np.unique(labels)]
    drawn = np.random.default_rng(0).permutation(len(test))[:N_TEST]
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["text", "label", "split"])
        parts = {"train": train.take(np.concatenate(kept)), "test": test.take(drawn)}
        for part, table in parts.items():
            names = table.labels() or []
            rows = [[t, n, part] for t, n in zip(table.inputs(), names, strict=True)]
            writer.writerows(rows)
            if part == "train":
                with path.with_name("shaping.csv").open("w", encoding="utf-8", newline="") as alone:
                    csv.writer(alone).writerows([["text", "label"], *(row[:2] for row in rows)])


def measured(data: str, seed: int, folder: Path, *, shapes: bool) -> dict[str, float]:
    """Return the test accuracy of a solved head, on features that were shaped or not."""
    import graft

    path = folder / "rows.csv"
    rows_of(data, seed, path)
    common: dict[str, Any] = {
        "validation": 0.0,
        "seed": seed,
        "threads": 1,
        "precision": "fp32",
        "overwrite": True,
        "allow_leak": True,
    }
    model: str | Path = "minilm"
    if shapes:
        asked = {**CONTRASTIVE, "epochs": EPOCHS[data], **common}
        shaping = folder / "shaping.csv"
        out = folder / "shaped"
        run = graft.train(shaping, model=model, out=out, cache="off", test=0.0, **asked)
        model = run.folder / "model"
    run = graft.train(
        path, model=model, method="probe", out=folder / "probe", cache="off", **common
    )
    return {"accuracy": run.record.after["test"]["accuracy"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--data", choices=sorted(EPOCHS), default="sst2")
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    import torch

    torch.set_num_threads(asked.threads)
    book = Ledger(f"few_shot_{asked.data}")
    for seed in range(asked.first, asked.first + asked.seeds):
        for name in ("probe", "contrastive + probe"):
            with tempfile.TemporaryDirectory() as place:
                book.cell(
                    lambda s=seed, n=name, p=Path(place): measured(
                        asked.data, s, p, shapes=n != "probe"
                    ),
                    method=name,
                    seed=seed,
                )
    for name in ("probe", "contrastive + probe"):
        own = [row["accuracy"] for row in book.rows if row["method"] == name]
        print(f"{name}: {statistics.mean(own):.3f} ({min(own):.3f} to {max(own):.3f})")
    of = {n: [r["accuracy"] for r in book.rows if r["method"] == n] for n in dict.fromkeys(
        row["method"] for row in book.rows)}  # fmt: skip
    pairs = zip(of["contrastive + probe"], of["probe"], strict=True)
    print(f"gained by shaping, points: {paired([a - b for a, b in pairs])}")


if __name__ == "__main__":
    main()
