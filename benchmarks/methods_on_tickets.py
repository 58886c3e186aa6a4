"""Measure every method on examples/tickets.csv: the table and the picture of the README.

    python benchmarks/methods_on_tickets.py --seeds 3 --threads 1 --json methods.json
    python scripts/draw_methods.py methods.json docs/assets/methods.svg

Each run is `graft.train` with the method's own defaults. A seed draws the split, the same for all
methods, and everything random after it. Every run has an empty feature cache, so it pays for what
it reads. Seconds are those of the whole run: reading, features, training, scoring and saving.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

TICKETS = Path(__file__).resolve().parent.parent / "examples" / "tickets.csv"
METHODS = ("probe", "head", "lp-ft", "full", "unfreeze", "scratch")


def measure(method: str, seed: int, folder: Path) -> dict:
    """Train once; returns what the record says of it."""
    import graft

    os.environ["GRAFT_CACHE"] = str(folder / f"cache-{method}-{seed}")
    cpu = time.process_time()
    run = graft.train(TICKETS, method=method, seed=seed, out=folder / f"{method}-{seed}")
    return {
        "method": method,
        "seed": seed,
        "accuracy": run.record.after["test"]["accuracy"],
        "log_loss": run.record.after["test"]["log_loss"],
        "before_accuracy": run.record.before["test"]["accuracy"],
        "n_test": run.record.n_test,
        "n_trained": run.record.n_trained,
        "seconds": run.record.seconds,
        "cpu_seconds": time.process_time() - cpu,
    }


def show(rows: list[dict]) -> None:
    """Print one line per method, in Markdown."""
    print("| method | test accuracy, mean | each seed | log loss | trained | CPU seconds |")
    print("|---|---|---|---|---|---|")
    for method in dict.fromkeys(r["method"] for r in rows):
        runs = [r for r in rows if r["method"] == method]
        mean = {
            k: statistics.mean(r[k] for r in runs) for k in ("accuracy", "log_loss", "cpu_seconds")
        }
        each = ", ".join(f"{r['accuracy']:.2f}" for r in runs)
        print(
            f"| `{method}` | {mean['accuracy']:.3f} | {each} | {mean['log_loss']:.2f} "
            f"| {runs[0]['n_trained']:,} | {mean['cpu_seconds']:.0f} |"
        )


def main() -> int:
    """Print the table, and write it as JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--methods", nargs="+", default=METHODS)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    import torch

    torch.set_num_threads(options.threads)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        measure("probe", 0, Path(folder) / "first")  # pays for imports
        for seed in range(options.seeds):
            for method in options.methods:
                rows.append(measure(method, seed, Path(folder)))
                print(f"{method} seed {seed}: {rows[-1]['accuracy']:.3f}", file=sys.stderr)
    show(rows)
    if options.json:
        options.json.write_text(json.dumps({"threads": options.threads, "rows": rows}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
