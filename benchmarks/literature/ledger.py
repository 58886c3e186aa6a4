"""What the comparisons with papers share: small trainings by a plan, a ledger of results, tables.

Every cell (experiment, method, seed) is a line of JSON in `results/`, written when it is done, so
a comparison can be broken off and goes on where it stopped. Losing results stay in it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
ROOT = HERE.parent.parent


def options(doc: str, **extra: Any) -> argparse.Namespace:
    """Parse the options that all experiments have, and set threads before torch is imported.

    Args:
        extra: further options with their defaults; of a list, one of its items, the first unless
            said.
    """
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=extra.pop("seeds", 20))
    parser.add_argument("--threads", type=int, default=1)
    for name, default in extra.items():
        flag = f"--{name.replace('_', '-')}"
        if isinstance(default, list):
            parser.add_argument(flag, choices=default, default=default[0])
        else:
            parser.add_argument(flag, type=type(default), default=default)
    found = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(found.threads)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import torch

    torch.set_num_threads(found.threads)
    return found


def shared(*names: str) -> Path:
    """Return a path in the folder of real data: `$GRAFT_SHARED`, else beside the repository."""
    folder = Path(os.environ.get("GRAFT_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        raise SystemExit(f"{folder}: no shared data there; set GRAFT_SHARED to its folder")
    return folder.joinpath(*names)


class Ledger:
    """The results of one experiment, a line of JSON for each cell.

    A cell is known by its key alone: where a method's settings change, its name must, too.
    """

    def __init__(self, name: str) -> None:
        self.path = RESULTS / f"{name}.jsonl"
        lines = self.path.read_text("utf-8").splitlines() if self.path.is_file() else []
        self.rows: list[dict[str, Any]] = [json.loads(line) for line in lines]

    def cell(self, work: Callable[[], Mapping[str, float]], **key: Any) -> dict[str, Any]:
        """Return a cell's figures: those of the ledger, or else measured now and written down."""
        for row in self.rows:
            if all(row.get(k) == v for k, v in key.items()):
                return row
        began = time.process_time()
        row = {**key, **work(), "cpu_seconds": round(time.process_time() - began, 1)}
        RESULTS.mkdir(exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
        self.rows.append(row)
        print(row, file=sys.stderr, flush=True)
        return row

    def paired(self, a: str, b: str, what: str = "accuracy") -> Difference:
        """Return the difference a − b of two methods over the seeds that both have."""
        of = {m: {r["seed"]: r[what] for r in self.rows if r["method"] == m} for m in (a, b)}
        seeds = sorted(of[a].keys() & of[b].keys())
        return paired([of[a][s] - of[b][s] for s in seeds])


@dataclasses.dataclass(frozen=True)
class Difference:
    """A mean over paired seeds with its 95 % interval by Student's t."""

    mean: float
    low: float
    high: float
    n: int

    @property
    def holds(self) -> str:
        """Say whether the sign is separated from zero."""
        return "higher" if self.low > 0 else "lower" if self.high < 0 else "not separated"

    def __str__(self) -> str:
        points = [100 * x for x in (self.mean, self.low, self.high)]
        if self.n < 2:
            return f"{points[0]:+.1f}, {self.n} seed"
        return f"{points[0]:+.1f} ({points[1]:+.1f} to {points[2]:+.1f}), {self.n} seeds"


def paired(differences: Sequence[float]) -> Difference:
    """Return the mean of differences and its interval; NaN ends below two seeds."""
    import numpy as np
    from scipy.stats import t

    values = np.asarray(differences, float)
    n, mean = len(values), float(values.mean()) if len(values) else float("nan")
    if n < 2:
        return Difference(mean, float("nan"), float("nan"), n)
    half = float(t.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n))
    return Difference(mean, mean - half, mean + half, n)


def open_text(max_length: int | None = None) -> Any:
    """Open MiniLM, cutting texts at `max_length` tokens."""
    from graft.backbones import open_backbone

    backbone = open_backbone("minilm")
    if max_length:
        backbone.processor = dataclasses.replace(backbone.processor, max_length=max_length)
    return backbone


def subset(table: Any, n: int, seed: int) -> Any:
    """Return `n` rows, as many of each class, drawn by a seed."""
    import numpy as np

    labels = np.asarray(table.labels())
    rng = np.random.default_rng(seed)
    names = sorted(set(labels))
    share = [n // len(names) + (i < n % len(names)) for i in range(len(names))]
    drawn = [
        rng.permutation(np.flatnonzero(labels == name))[:k]
        for name, k in zip(names, share, strict=True)
    ]
    return table.take(np.sort(np.concatenate(drawn)))


def trained(
    plan: Any,
    train: Any,
    tests: Mapping[str, Any],
    *,
    seed: int,
    validation: Any = None,
    max_length: int | None = None,
) -> dict[str, float]:
    """Train MiniLM by a plan and return its accuracy on each test table, in their order."""
    import torch

    from graft.engine.predict import predict_rows
    from graft.engine.run import run
    from graft.engine.settings import Settings
    from graft.tasks.classify import Classify

    backbone = open_text(max_length)
    task = Classify(tuple(sorted(set(train.labels()))))
    torch.manual_seed(seed)
    model, _ = task.build(backbone)
    splits = {"train": task.streams(train, backbone)}
    if validation is not None:
        splits["validation"] = task.streams(validation, backbone)
    plan = plan(len(backbone.chains[0].parts) - 2) if callable(plan) else plan
    phases = run(plan, model, task, splits, settings=Settings(seed=seed))
    found = {"epochs": float(sum(len(p.epochs) for p in phases))}
    for name, table in tests.items():
        stream = task.streams(table, backbone)["train"]
        answers = predict_rows(model, task, stream)["probabilities"].argmax(1)
        found[name] = float((answers == stream.targets["label"].numpy()).mean())
    return found


def reviews(part: str, domain: str) -> Any:
    """Return the reviews of one domain of amazon4_sentiment as a table."""
    import numpy as np

    from graft.data.readers import read

    table = read(shared("data", "amazon4_sentiment", f"{part}.jsonl.gz"))
    return table.take(np.flatnonzero(np.asarray(table.column("domain")) == domain))
