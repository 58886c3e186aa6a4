"""Pairs are what they say, and the threshold is the best that there is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graft.api.cosines import (
    N_BINS,
    best_threshold,
    counted,
    ends_of,
    operating,
)
from graft.metrics.sampled_pairs import sample_pairs
from graft.metrics.verification import sampled

COSINES = st.lists(st.sampled_from(np.linspace(-1, 1, 21).tolist()), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None, database=None)
@given(COSINES, COSINES)
def test_no_threshold_is_better(alike, unlike):
    high, low = np.array(alike), np.array(unlike)

    def accuracy(t):
        return ((high >= t).mean() + (low < t).mean()) / 2

    threshold, found = best_threshold(high, low)
    assert found == pytest.approx(accuracy(threshold))
    tried = np.concatenate([np.linspace(-1.05, 1.05, 43), high, low])
    assert found >= max(accuracy(t) for t in tried) - 1e-12


def test_counts_hold_every_pair():
    random = np.random.default_rng(0)
    alike, unlike = random.uniform(0, 1, 300), random.uniform(-0.5, 0.5, 200)
    ends = ends_of(alike, unlike)
    assert ends == (-0.5, 1.0)
    found = counted(alike, unlike, ends)
    assert len(found.alike) == len(found.unlike) == N_BINS
    assert (sum(found.alike), sum(found.unlike)) == (300, 200)
    given = found.at(0.9)
    assert given.threshold == 0.9
    assert given.accuracy == pytest.approx(((alike >= 0.9).mean() + 1) / 2, abs=0.01)
    assert found.at(found.threshold).accuracy == pytest.approx(found.accuracy, abs=0.03)
    assert found.at(-1.0).accuracy == found.at(2.0).accuracy == 0.5


def test_cosines_that_are_all_one_have_a_bin():
    ones = np.ones(3)
    low, high = ends_of(ones, ones)
    assert low <= 1 <= high and low < high
    assert sum(counted(ones, ones, (low, high)).alike) == 3


def test_points_of_the_curve_are_what_counting_gives():
    random = np.random.default_rng(0)
    labels = random.integers(0, 12, 200)
    vectors = np.eye(12)[labels] + 0.4 * random.normal(size=(200, 12))
    unit = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    sample = sample_pairs(labels)
    found = operating(sampled(sample, unit))
    cosines = np.einsum("pd,pd->p", *(unit[side] for side in sample.pairs.T))
    assert found[-1].far == 1 and found[-1].tar == 1
    assert {0.001, 0.01, 0.1} <= {round(o.far, 9) for o in found}
    for o in found[5:-1:7]:
        accepted = cosines >= o.threshold - 1e-5
        assert accepted[sample.alike].mean() == pytest.approx(o.tar, abs=2e-3)
        assert accepted[~sample.alike].mean() <= o.far + 2e-3
    tars = [o.tar for o in found]
    assert tars == sorted(tars)
