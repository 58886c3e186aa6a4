"""Time both parts of `make demo`, installation aside: they must end within 180 s on two cores.

python benchmarks/demo_time.py [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        parts = {
            "tickets": ["-m", "graft", "train", "examples/tickets.csv", "--out", f"{folder}/run"],
            "digits": ["examples/digits.py"],
        }
        for name, arguments in parts.items():
            began = time.perf_counter()
            subprocess.run(
                [sys.executable, *arguments],
                cwd=ROOT,
                env={**os.environ, "GRAFT_CACHE": f"{folder}/cache"},
                stdout=subprocess.DEVNULL,
                check=True,
            )
            found[name] = time.perf_counter() - began
    found["both"] = sum(found.values())
    for name, value in found.items():
        print(f"{name:8} {value:6.1f} s")
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
