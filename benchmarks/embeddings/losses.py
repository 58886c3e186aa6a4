"""Which loss? Every objective for labelled items under one budget, on classes never trained.

    python benchmarks/embeddings/losses.py --seeds 5 --data banking77 --threads 1

Banking77: MiniLM trains on 50 of the 77 intents (10 questions each), and questions of the other 27
(10 each) search each other; ORL faces: MobileNetV2 trains on 12 of the 20 people, and the other 8
search each other. `last:2`, 4 epochs, batches of 64. Each seed draws classes and rows anew; all
objectives see the same. Untouched is the backbone without training.
"""

from __future__ import annotations

import argparse
import json
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

OBJECTIVES: dict[str, dict[str, Any]] = {
    "supervised_contrastive": {"temperature": 0.1},
    "triplet, random": {"objective": "triplet", "mining": "all"},
    "triplet, semi-hard": {"objective": "triplet", "mining": "semi_hard"},
    "triplet, hard": {"objective": "triplet", "mining": "hard"},
    "contrastive": {"objective": "contrastive", "margin": 0.5, "distance": "cosine"},
    "arcface": {"objective": "arcface", "scale": 16.0, "margin": 0.2},
    "proxy_anchor": {"objective": "proxy_anchor"},
}
N_TRAINED = {"banking77": 50, "orl_faces": 12}
MODELS = {"banking77": "minilm", "orl_faces": "mobilenet"}


def rows_of(data: str, seed: int, folder: Path) -> Path:
    """Write a table in which some classes train and the others are the test."""
    rng = np.random.default_rng(seed)
    if data == "banking77":
        from graft.data.readers import read

        table = read(shared("data", data, "train.csv"))
        inputs, labels, limit = table.inputs(), table.labels() or [], 10
    else:
        import csv

        with shared("data", data, "labels.csv").open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        (folder / "images.zip").symlink_to(shared("data", data, "images.zip"))
        inputs = [f"images.zip!/{row['path']}" for row in rows]
        labels, limit = [row["label"] for row in rows], 10
    names = rng.permutation(sorted(set(labels)))
    trained = set(names[: N_TRAINED[data]].tolist())
    found = []
    for name in names.tolist():
        own = rng.permutation([i for i, label in enumerate(labels) if label == name])[:limit]
        part = "train" if name in trained else "test"
        found += [{"text": inputs[i], "label": name, "split": part} for i in own.tolist()]
    key = "text" if data == "banking77" else "image"
    path = folder / "rows.jsonl"
    lines = ({key: row.pop("text"), **row} for row in found)
    path.write_text("\n".join(json.dumps(line) for line in lines) + "\n", encoding="utf-8")
    return path


def model_of(data: str) -> str:
    """Return the backbone of a data set."""
    if data == "banking77":
        return "minilm"
    folders = [p for p in shared("weights").iterdir() if "mobilenetv2" in p.name]
    return str(folders[0])


def measured(path: Path, data: str, seed: int, folder: Path, settings: dict[str, Any]) -> dict:
    """Train with one objective; return MRR, R@1 and MAP@R on classes that were not trained."""
    import graft

    run = graft.train(
        path,
        model=model_of(data),
        task="embed",
        method="last:2",
        epochs=4,
        batch_size=64,
        validation=0.0,
        seed=seed,
        threads=1,
        precision="fp32",
        cache=str(folder / "cache"),
        out=folder / "run",
        overwrite=True,
        **settings,
    )
    before, after = run.record.before["test"], run.record.after["test"]
    names = ("mrr", "recall_at_1", "map_at_r")
    return {f"before_{n}": before[n] for n in names} | {n: after[n] for n in names}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--data", choices=sorted(N_TRAINED), default="banking77")
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    import torch

    torch.set_num_threads(asked.threads)
    book = Ledger(f"losses_{asked.data}")
    for seed in range(asked.seeds):
        with tempfile.TemporaryDirectory() as place:
            path = rows_of(asked.data, seed, Path(place))
            for name, settings in OBJECTIVES.items():
                book.cell(
                    lambda s=seed, o=settings, p=path, f=Path(place): measured(
                        p, asked.data, s, f, o
                    ),
                    method=name,
                    seed=seed,
                )
    print(table(book.rows))


def table(rows: list[dict[str, Any]]) -> str:
    """Return the table of all objectives: means, gains, and how much of 1 − MRR is closed."""
    lines = [
        "| objective | R@1 | MRR | MAP@R | MRR gained, points (95 %) | 1 − MRR closed |",
        "|---|---|---|---|---|---|",
    ]
    names = list(dict.fromkeys(row["method"] for row in rows))
    first = [row for row in rows if row["method"] == names[0]]
    means = [statistics.mean(r[f"before_{n}"] for r in first) for n in METRICS]
    lines.append(f"| untouched | {means[0]:.3f} | {means[1]:.3f} | {means[2]:.3f} | | |")
    for name in names:
        own = [row for row in rows if row["method"] == name]
        means = [statistics.mean(r[n] for r in own) for n in METRICS]
        gain = paired([r["mrr"] - r["before_mrr"] for r in own])
        closed = [(r["mrr"] - r["before_mrr"]) / (1 - r["before_mrr"]) for r in own]
        share = paired(closed)
        lines.append(
            f"| `{name}` | {means[0]:.3f} | {means[1]:.3f} | {means[2]:.3f} | {gain} | "
            f"{100 * share.mean:.0f} % ({100 * share.low:.0f} to {100 * share.high:.0f}) |"
        )
    return "\n".join(lines)


METRICS = ("recall_at_1", "mrr", "map_at_r")

if __name__ == "__main__":
    main()
