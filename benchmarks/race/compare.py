"""Race `graft compare` of eight methods against the same eight trainings by themselves.

    python benchmarks/race/compare.py --rows 2000 --repeats 1 --threads 1 --clock cpu

SST-2, MiniLM. Both sides are processes of the command line with an empty cache at the beginning;
the eight commands share theirs, as they would on one machine; with `--stores apart` each has its
own, as on eight. Every run of the comparison must have the weights of its command, byte for byte.
The second line holds the comparison against the sum of what its trainings took beside what they
share, both by the clock on the wall.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from racing import finish, interleave, now, options, race, shared

METHODS = ("probe", "lp-ft", "head", "last:2", "layerwise", "unfreeze", "full", "lora")
MARK, MARK_OF_SUM = 0.85, 1.05


def main() -> None:
    asked = options(__doc__, stores=("shared", "of the commands: shared, or apart"))
    with tempfile.TemporaryDirectory() as place:
        data = Path(place) / "some.csv"
        write_rows(data, asked.rows)
        sums: list[float] = []
        walls: list[float] = []
        hashes: dict[str, set[tuple[str, ...]]] = {"together": set(), "apart": set()}

        def together() -> float:
            with tempfile.TemporaryDirectory() as folder:
                out = Path(folder) / "compared"
                began, began_wall = now(), time.perf_counter()
                graft(folder, asked, "compare", str(data), "--methods", ",".join(METHODS), out=out)
                taken = now() - began
                walls.append(time.perf_counter() - began_wall)
                found = json.loads((out / "compare.json").read_text("utf-8"))
                sums.append(sum(cell["seconds"] for cell in found["cells"]))
                folders = [out / cell["folder"] for cell in found["cells"]]
                hashes["together"].add(weights(folders))
                return taken

        def apart() -> float:
            with tempfile.TemporaryDirectory() as folder:
                outs = [Path(folder) / method.replace(":", "") for method in METHODS]
                began = now()
                for method, out in zip(METHODS, outs, strict=True):
                    cache = f"cache-{out.name}" if asked.stores == "apart" else "cache"
                    words = ("train", str(data), "--method", method)
                    graft(folder, asked, *words, out=out, cache=cache)
                taken = now() - began
                hashes["apart"].add(weights(outs))
                return taken

        seen = interleave({"compare": together, "commands": apart}, asked.repeats)
    if len(hashes["together"] | hashes["apart"]) != 1:
        raise SystemExit(f"the weights differ: {hashes}")
    print("all weights of the comparison are those of the commands, byte for byte")
    what = f"{len(METHODS)} methods, {asked.rows:,} rows, stores {asked.stores}"
    lines = [
        race(f"{what}, against commands", seen, "compare", "commands", MARK, of_graft=True),
        race(
            f"{what}, against its trainings",
            {"compare": walls, "trainings": sums},
            "compare",
            "trainings",
            MARK_OF_SUM,
            of_graft=True,
        ),
    ]
    finish(asked, lines)


def graft(folder: str, asked: Any, *words: str, out: Path, cache: str = "cache") -> None:
    """Run the command line with a cache in `folder`."""
    options_ = ("--precision", asked.precision, "--threads", str(asked.threads), "--quiet")
    subprocess.run(
        [sys.executable, "-m", "graft", *words, "--out", str(out), *options_],
        env={**os.environ, "GRAFT_CACHE": str(Path(folder) / cache)},
        stdout=subprocess.DEVNULL,
        check=True,
    )


def weights(folders: list[Path]) -> tuple[str, ...]:
    """Return the hash of each run's weights."""
    records = [json.loads((folder / "record.json").read_text("utf-8")) for folder in folders]
    return tuple(record["weights_sha256"] for record in records)


def write_rows(path: Path, n_rows: int) -> None:
    """Write the first rows of SST-2, alternating as they are."""
    lines = (shared() / "data" / "sst2" / "train.csv").read_text("utf-8").splitlines()
    path.write_text("\n".join(lines[: n_rows + 1] if n_rows else lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
