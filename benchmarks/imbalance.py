"""What --class-weights balanced does where one class is rare.

    python benchmarks/imbalance.py --seeds 5 --threads 1

SST-2: 1,000 training rows of which one in twenty is positive, and all test rows, half of each.
Every seed draws the rows. Without weights a classifier says the frequent class; with them it says
the rare one as often as it should where both count the same. So balanced accuracy and the recall of
the rare class stand beside plain accuracy.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import statistics
import tempfile
from pathlib import Path

N_ROWS, SHARE = 1000, 0.05
METHODS = ("probe", "lp-ft")
SEEN = ("accuracy", "balanced_accuracy", "macro_f1")


def write_rows(folder: Path, shared: Path, seed: int) -> Path:
    """Write a table with a split column: few rows of one class for training, all for the test."""
    parts = {}
    for part in ("train", "test"):
        with (shared / "data" / "sst2" / f"{part}.csv").open(encoding="utf-8", newline="") as file:
            parts[part] = list(csv.DictReader(file))
    text, label = list(parts["train"][0])[:2]
    classes = sorted({row[label] for row in parts["train"]})
    draw = random.Random(seed)
    n_rare = round(SHARE * N_ROWS)
    train = [
        row
        for name, n in zip(classes, (N_ROWS - n_rare, n_rare), strict=True)
        for row in draw.sample([r for r in parts["train"] if r[label] == name], n)
    ]
    draw.shuffle(train)
    path = folder / f"rare-{seed}.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label", "split"])
        for part, rows in (("train", train), ("test", parts["test"])):
            writer.writerows([row[text], row[label], part] for row in rows)
    return path


def main() -> None:
    """Print a table of means over seeds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    import graft

    shared = Path(os.environ.get("GRAFT_SHARED", "../shared"))
    print(f"| method | weights | {' | '.join(SEEN)} | recall of the rare class |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as place:
        os.environ["GRAFT_CACHE"] = str(Path(place) / "cache")
        data = [write_rows(Path(place), shared, seed) for seed in range(asked.seeds)]
        for method in METHODS:
            for weights in (None, "balanced"):
                runs = [
                    graft.train(
                        path,
                        method=method,
                        class_weights=weights,
                        seed=seed,
                        threads=asked.threads,
                        allow_leak=True,
                        out=Path(place) / f"{method}-{weights}-{seed}",
                    )
                    for seed, path in enumerate(data)
                ]
                cells = [[run.metrics[name] for run in runs] for name in SEEN]
                cells.append([run.record.per_class[-1].recall for run in runs])
                shown = (f"{statistics.mean(c):.3f} ({min(c):.3f} to {max(c):.3f})" for c in cells)
                print(f"| `{method}` | {weights or 'none'} | {' | '.join(shown)} |", flush=True)


if __name__ == "__main__":
    main()
