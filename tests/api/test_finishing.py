"""What is said to a model that is worse than what it began with."""

from __future__ import annotations

import pytest

from graft.api.finishing import _mend
from graft.phase_records import CacheRecord, ConvexRecord, PhaseRecord
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
