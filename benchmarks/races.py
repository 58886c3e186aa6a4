"""Run all races against the peers, one process each, and put their tables under one another.

    python benchmarks/races.py --rows 0 --repeats 5 --threads 2 --peer-epochs 1 --json races.json

`--only` takes names of races. Whatever is not known here is passed on to every race that takes it.
With all rows on two cores, count with several hours; the default of 1,000 rows takes about one.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent / "race"
RACES = (
    "probe_text",
    "partial_text",
    "full_text",
    "unfreeze_text",
    "probe_image",
    "rank",
    "memory",
    "distil",
    "compare",
)
HAVE_PEER_EPOCHS = ("probe_text", "partial_text", "full_text", "probe_image")


def main() -> int:
    """Run the races; the status is 1 where one of them broke."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=RACES, default=RACES)
    parser.add_argument("--peer-epochs", type=float, help="of the peer to measure")
    parser.add_argument("--json", type=Path)
    asked, further = parser.parse_known_args()
    found, broken = {}, []
    with tempfile.TemporaryDirectory() as folder:
        for name in asked.only:
            print(f"\n== {name}", flush=True)
            path = Path(folder) / f"{name}.json"
            command = [sys.executable, str(HERE / f"{name}.py"), *further, "--json", str(path)]
            if asked.peer_epochs and name in HAVE_PEER_EPOCHS:
                command += ["--peer-epochs", str(asked.peer_epochs)]
            if subprocess.run(command).returncode:
                broken.append(name)
            else:
                found[name] = json.loads(path.read_text(encoding="utf-8"))
            if asked.json:  # after each, so that what took hours is not lost
                asked.json.write_text(json.dumps(found, indent=2, ensure_ascii=False), "utf-8")
    if broken:
        print(f"broken: {', '.join(broken)}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
