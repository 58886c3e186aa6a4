"""Verdicts over seeds and rows: against a slow loop, and on gaps that are known."""

from __future__ import annotations

import numpy as np
import pytest

from graft.metrics.headline import accuracy_scorer
from graft.metrics.intervals import resample_counts
from graft.selection.verdict import N_RESAMPLES, judge_methods


def scorers_of(rights):
    """Return one scorer for each seed from (S, N) zeros and ones: right or wrong."""
    return [accuracy_scorer(np.ones(len(r), int), np.stack([1 - r, r], 1)) for r in rights]


def drawn(share, n_seeds=3, n=200, seed=0):
    return (np.random.default_rng(seed).random((n_seeds, n)) < share).astype(float)


def test_equals_a_slow_loop():
    rights = {"a": drawn(0.8), "b": drawn(0.7, seed=1)}
    found = judge_methods({k: scorers_of(v) for k, v in rights.items()}, seed=5)
    counts = np.concatenate(list(resample_counts(200, N_RESAMPLES, seed=5)))
    picks = np.random.default_rng(5).integers(0, 3, (N_RESAMPLES, 3))
    gaps = []
    for r in range(N_RESAMPLES):
        means = {
            k: np.mean([np.average(v[s], weights=counts[r]) for s in picks[r]])
            for k, v in rights.items()
        }
        gaps.append(means["a"] - means["b"])
    low, high = np.quantile(gaps, [0.025, 0.975])
    assert found.best == "a"
    assert found.behind["b"].low == pytest.approx(low)
    assert found.behind["b"].high == pytest.approx(high)
    assert found.values["a"].value == pytest.approx(rights["a"].mean())


def test_what_is_clearly_behind_is_not_taken_however_cheap():
    right = {"good": drawn(0.9), "bad": drawn(0.6, seed=1)}
    right["same"] = right["good"].copy()
    right["same"][:, 0] = 1 - right["same"][:, 0]
    found = judge_methods({k: scorers_of(v) for k, v in right.items()})
    assert set(found.close) == {"good", "same"}
    assert found.cheapest({"good": 10.0, "same": 5.0, "bad": 1.0}) == "same"


def test_seeds_that_disagree_widen_the_interval():
    steady = drawn(0.8, n_seeds=4, n=400)
    torn = np.concatenate([drawn(0.95, n_seeds=2, n=400), drawn(0.65, n_seeds=2, n=400, seed=1)])
    widths = []
    for rights in (steady, torn):
        value = judge_methods({"a": scorers_of(rights)}).values["a"]
        widths.append(value.high - value.low)
    assert widths[1] > 2 * widths[0]


def test_seeds_that_see_the_same_rows_are_no_further_samples_of_rows():
    """Two methods of one accuracy, ten seeds, the same 200 rows: few are called clearly behind."""
    n_clear = 0
    for k in range(60):
        random = np.random.default_rng(k)
        rights = {}
        for name in "ab":
            row = random.random(200) < 0.8  # what a method gets right is much the same every time
            flips = random.random((10, 200)) < 0.05
            rights[name] = (row ^ flips).astype(float)
        found = judge_methods({k: scorers_of(v) for k, v in rights.items()}, seed=k)
        n_clear += len(found.close) == 1
    assert n_clear <= 8
