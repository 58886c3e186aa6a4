"""What every race shares: options, interleaved repeats, medians, the table and the JSON.

Both sides of a race run in one process with the same number of threads, one after the other in
each repeat and in turned order in every second one, so that a machine that slows down slows both.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

ROOT = Path(__file__).resolve().parent.parent.parent
LIBRARIES = ("torch", "transformers", "timm", "torchvision", "scikit-learn", "numpy")
N_RESAMPLES = 10_000


@dataclass(frozen=True)
class Line:
    """One line of the table: a figure of graft beside one of a peer, and the mark to reach.

    Args:
        work: what was raced.
        graft: median seconds, or another figure.
        peer: the same of the peer.
        ratio: what the mark speaks of.
        mark: bound of the ratio; None where the line is for information.
        bound: whether the ratio must be at least or at most the mark.
        note: what the peer's side is exactly.
        seen: every repeat, by side.
    """

    work: str
    graft: float
    peer: float
    ratio: float
    mark: float | None = None
    bound: Literal["at least", "at most"] = "at least"
    note: str = ""
    seen: Mapping[str, Sequence[float]] = field(default_factory=dict)

    @property
    def is_met(self) -> bool | None:
        if self.mark is None:
            return None
        return self.ratio >= self.mark if self.bound == "at least" else self.ratio <= self.mark


def options(doc: str, **extra: tuple[Any, str]) -> argparse.Namespace:
    """Read the options that all races have, and set the threads before torch is imported.

    Args:
        doc: the script's docstring.
        extra: further options by name, each with its default and help.
    """
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1000, help="training rows; 0 for all")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", nargs="+", help="names of the data sets or rows to run")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--clock",
        choices=("wall", "cpu"),
        default="wall",
        help="cpu: seconds of processor time, for a busy machine; with --threads 1",
    )
    parser.add_argument(
        "--precision",
        choices=("fp32", "bf16"),
        default="fp32",
        help="of graft, and of the peer's best flags; a peer's defaults are fp32 always",
    )
    parser.add_argument("--json", type=Path)
    for name, (default, about) in extra.items():
        kind = float if default is None else type(default)
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=default, help=about)
    found = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(found.threads)
    os.environ["GRAFT_RACE_CLOCK"] = found.clock
    os.environ["GRAFT_RACE_PRECISION"] = found.precision
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import torch

    torch.set_num_threads(found.threads)
    return found


def chosen(options: argparse.Namespace, names: Sequence[str]) -> list[str]:
    """Return the names to run, those of `--only` or all."""
    unknown = set(options.only or ()) - set(names)
    if unknown:
        raise SystemExit(f"--only {' '.join(sorted(unknown))}: choose from {', '.join(names)}")
    return [name for name in names if not options.only or name in options.only]


def shared() -> Path:
    """Return the folder of real data: `$GRAFT_SHARED`, else `shared` beside the repository."""
    folder = Path(os.environ.get("GRAFT_SHARED", ROOT.parent / "shared"))
    if not (folder / "data").is_dir():
        raise SystemExit(f"{folder}: no shared data there; set GRAFT_SHARED to its folder")
    return folder


def now() -> float:
    """Return the seconds of the chosen clock; processor time counts children that have ended."""
    if os.environ.get("GRAFT_RACE_CLOCK") == "cpu":
        return sum(os.times()[:4])
    return time.perf_counter()


def precision() -> Literal["fp32", "bf16"]:
    """Return the precision in which graft and a peer's best flags are raced."""
    return "bf16" if os.environ.get("GRAFT_RACE_PRECISION") == "bf16" else "fp32"


def seconds(work: Callable[[], Any]) -> float:
    """Return how long `work` takes."""
    began = now()
    work()
    return now() - began


def interleave(sides: Mapping[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    """Measure all sides in turn; each returns its own figure, so that set-up is not counted."""
    seen: dict[str, list[float]] = {name: [] for name in sides}
    for repeat in range(repeats):
        names = list(sides) if repeat % 2 == 0 else list(sides)[::-1]
        for name in names:
            seen[name].append(sides[name]())
            print(f"  {repeat + 1}/{repeats} {name}: {seen[name][-1]:.3f}", file=sys.stderr)
    return seen


def race(
    work: str,
    seen: Mapping[str, Sequence[float]],
    graft: str,
    peer: str,
    mark: float | None = None,
    *,
    note: str = "",
    of_graft: bool = False,
) -> Line:
    """Make a line of two sides: how many times faster graft is, or its share of the peer's time.

    Args:
        of_graft: the ratio is graft's time over the peer's, and at most the mark.
    """
    a, b = statistics.median(seen[graft]), statistics.median(seen[peer])
    kept = {name: list(seen[name]) for name in (graft, peer)}
    if of_graft:
        return Line(work, a, b, a / b, mark, "at most", note, kept)
    return Line(work, a, b, b / a, mark, "at least", note, kept)


def paired_interval(ours: Any, theirs: Any) -> tuple[float, float]:
    """Return the 95 % interval of the difference of two accuracies over the same rows, in points.

    Source: Efron and Tibshirani 1993, the percentile bootstrap over rows.
    """
    import numpy as np

    difference = ours.astype(float) - theirs
    rng, n = np.random.default_rng(0), len(difference)
    means = [difference[rng.integers(0, n, n)].mean() for _ in range(N_RESAMPLES)]
    low, high = 100 * np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def show(lines: Sequence[Line]) -> None:
    """Print the table in Markdown, with the spread of the repeats."""
    print("| work | graft | peer | ratio | mark | met? |")
    print("|---|---|---|---|---|---|")
    for line in lines:
        sides = [_side(line, value, i) for i, value in enumerate((line.graft, line.peer))]
        sign = "≥" if line.bound == "at least" else "≤"
        mark = "" if line.mark is None else f"{sign} {line.mark:g}"
        met = {None: "", True: "yes", False: "NO"}[line.is_met]
        print(f"| {line.work} | {sides[0]} | {sides[1]} | {line.ratio:.3g} | {mark} | {met} |")
    for note in dict.fromkeys(f"{line.work}: {line.note}" for line in lines if line.note):
        print(f"  {note}")


def _side(line: Line, value: float, index: int) -> str:
    repeats = list(line.seen.values())
    if len(repeats) <= index or len(repeats[index]) < 2:
        return f"{value:.4g}"
    return f"{value:.4g} ({min(repeats[index]):.4g} to {max(repeats[index]):.4g})"


def finish(options: argparse.Namespace, lines: Sequence[Line]) -> None:
    """Print the table, and write it as JSON if asked."""
    show(lines)
    if not options.json:
        return
    rows = [{**asdict(line), "met": line.is_met} for line in lines]
    document = {"lines": rows, **surroundings(options)}
    options.json.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", "utf-8")


def surroundings(options: argparse.Namespace) -> dict[str, Any]:
    """Return what a figure depends on beside the code."""
    import torch

    model = platform.processor() or platform.machine()
    facts = Path("/proc/cpuinfo")
    if facts.is_file():
        names = [x for x in facts.read_text().splitlines() if x.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    return {
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "rows": options.rows,
        "repeats": options.repeats,
        "precision": options.precision,
        "clock": options.clock,
        "threads": torch.get_num_threads(),
        "machine": {"cpu": model, "cores": os.cpu_count(), "system": platform.system()},
        "load_average": os.getloadavg() if hasattr(os, "getloadavg") else (),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in LIBRARIES},
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    }
