"""Time the test suites: the quick one must end within a minute on two cores, all within ten.

python benchmarks/quick_suite.py [--all] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def seconds(*arguments: str) -> float:
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "2", *arguments],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="time the slow tests too")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = {"quick": seconds("-m", "not slow")}
    if options.all:
        found["slow"] = seconds("-m", "slow")
        found["both"] = found["quick"] + found["slow"]
    for name, value in found.items():
        print(f"{name:6} {value:7.1f} s")
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
