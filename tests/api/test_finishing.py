"""What is said to a model that is worse than what it began with."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from graft.api.finishing import _how_much_worse, _mend
from graft.phase_records import CacheRecord, ConvexRecord, PhaseRecord
from graft.records import Interval
from graft.tasks.classify import Classify
from graft.tasks.embed import Embed

CACHE = CacheRecord("", False, "")
TRAINED = PhaseRecord("full", (), CACHE)
SOLVED = PhaseRecord("probe", (), CACHE, convex=ConvexRecord(0.1, "given", 0.5, True, 3, ""))


@pytest.mark.parametrize(
    ("task", "phase", "said"),
    [
        (Classify(("a", "b")), TRAINED, "--method probe"),
        (Classify(("a", "b")), SOLVED, "another --model"),
        (Embed(), TRAINED, "another --objective"),
    ],
)
def test_the_advice_fits_the_task(task, phase, said):
    assert said in _mend(task, (phase,))
    assert ("probe" in _mend(task, (phase,))) == (said == "--method probe")


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(-0.2, -0.1, "a worse"), (0.1, 0.2, "a worse"), (-0.1, 0.0, "no better"),
     (0.0, 0.1, "no better"), (-0.1, 0.1, "no better")],
)  # fmt: skip
def test_only_an_interval_without_zero_is_called_worse(low, high, said):
    change = {"accuracy": Interval((low + high) / 2, low, high)}
    worth = SimpleNamespace(intervals={"change": change})
    assert _how_much_worse(worth, "accuracy") == f"{said} accuracy"
