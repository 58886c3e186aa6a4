"""The metric that counts first, alone, equals the same among all metrics, interval included."""

from __future__ import annotations

import numpy as np
import pytest

from graft.errors import UnknownName
from graft.metrics import METRICS, scorer_of
from graft.metrics.headline import HEADLINES, headline_scorer
from graft.metrics.intervals import bootstrap

RNG = np.random.default_rng(0)
N = 80
CASES = {
    "classification": (RNG.integers(0, 3, N), RNG.dirichlet(np.ones(3), N)),
    "multilabel": ((RNG.random((N, 3)) < 0.4).astype(float), RNG.random((N, 3))),
    "regression": (NUMBERS := 1e4 + RNG.normal(size=N), NUMBERS + RNG.normal(size=N)),
}


@pytest.mark.parametrize("task", HEADLINES)
def test_equals_the_full_scorer(task):
    targets, outputs = CASES[task]
    found = bootstrap(headline_scorer(task, targets, outputs), n_resamples=50)
    expected = bootstrap(scorer_of(task)(targets, outputs), n_resamples=50)
    ((name, interval),) = found.items()
    assert name in METRICS[task]
    for field in ("value", "low", "high"):
        same = pytest.approx(getattr(expected[name], field), rel=1e-6)
        assert getattr(interval, field) == same


def test_a_task_without_one_is_named():
    with pytest.raises(UnknownName, match="matching"):
        headline_scorer("matching", *CASES["regression"])
