"""Kill thirty small trainings by SIGKILL, again and again, and compare the weights they end with.

python benchmarks/kills.py [--kills 1000] [--seed 0] [--json FILE]

Half of the kills strike at named points (while a checkpoint or a store is written, in the middle of
an epoch, between two phases, during validation), half at random moments. A training is resumed
until it ends; its weights must be those of a run that was never killed, byte for byte.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch

from tests.faults.recipes import TRAININGS, kill_until_done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    began = time.monotonic()
    total = {"recipes": len(TRAININGS), "kills": 0, "trainings": 0, "identical": 0}
    names = list(TRAININGS)
    with tempfile.TemporaryDirectory() as folder:
        for i, name in enumerate(names):
            n = options.kills // len(names) + (i < options.kills % len(names))
            found = kill_until_done(name, Path(folder) / str(i), n_kills=n, seed=options.seed)
            print(
                f"{name:40} {found.n_kills:4} kills, {found.n_identical} of {found.n_trainings} "
                "trainings identical",
                flush=True,
            )
            total["kills"] += found.n_kills
            total["trainings"] += found.n_trainings
            total["identical"] += found.n_identical
    print(
        f"{total['recipes']} recipes, {total['kills']} kills, {total['identical']} of "
        f"{total['trainings']} trainings identical, {time.monotonic() - began:.0f} s"
    )
    if options.json:
        options.json.write_text(json.dumps(total, indent=2) + "\n", encoding="utf-8")
    sys.exit(total["identical"] != total["trainings"])


if __name__ == "__main__":
    main()
