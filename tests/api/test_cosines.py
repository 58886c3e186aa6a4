"""Pairs are what they say, and the threshold is the best that there is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graft.api.cosines import (
    N_BINS,
    best_threshold,
    cosines_of,
    counted,
    ends_of,
    labelled_pairs,
    tuple_pairs,
)
from graft.data.tuples import Tuples

COSINES = st.lists(st.sampled_from(np.linspace(-1, 1, 21).tolist()), min_size=1, max_size=12)


@pytest.mark.parametrize("n", [60, 3_000])
def test_labelled_pairs_are_alike_and_not(n):
    labels = np.random.default_rng(1).integers(0, 7, n)
    alike, unlike = labelled_pairs(labels, most=500)
    assert (labels[alike[:, 0]] == labels[alike[:, 1]]).all()
    assert (labels[unlike[:, 0]] != labels[unlike[:, 1]]).all()
    assert (alike[:, 0] != alike[:, 1]).all()
    assert 0 < len(alike) <= 500 and len(unlike) == 500
    again = labelled_pairs(labels, most=500)
    assert np.array_equal(alike, again[0]) and np.array_equal(unlike, again[1])
    other = labelled_pairs(labels, seed=1, most=500)
    assert not np.array_equal(unlike, other[1])


def test_of_few_items_every_pair_is_there_once():
    labels = np.array([0, 0, 1, 1, 1])
    alike, unlike = labelled_pairs(labels)
    assert sorted(map(tuple, alike.tolist())) == [(0, 1), (2, 3), (2, 4), (3, 4)]
    assert len({tuple(p) for p in unlike.tolist()}) == len(unlike) == 6


def test_classes_of_one_item_have_no_pair():
    for labels in (np.arange(5), np.arange(3_000)):
        alike, unlike = labelled_pairs(labels, most=100)
        assert len(alike) == 0 and len(unlike) > 0


def test_pairs_of_tuples():
    members = np.array([[0, 1], [2, 3], [4, 5], [0, 3]])
    alike, unlike = tuple_pairs(Tuples(members))
    assert np.array_equal(alike, members)
    known = set(map(tuple, members.tolist()))
    assert len(unlike) and not known & set(map(tuple, unlike.tolist()))
    alike, unlike = tuple_pairs(Tuples(np.array([[0, 1, 2], [3, 4, 5]])))
    assert alike.tolist() == [[0, 1], [3, 4]] and unlike.tolist() == [[0, 2], [3, 5]]
    alike, unlike = tuple_pairs(Tuples(members, np.array([1.0, 0.0, 1.0, 0.0])))
    assert alike.tolist() == [[0, 1], [4, 5]] and unlike.tolist() == [[2, 3], [0, 3]]


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


def test_cosine_of_a_pair():
    unit = np.array([[1.0, 0.0], [0.6, 0.8]])
    assert cosines_of(unit, np.array([[0, 1], [1, 1]])).tolist() == pytest.approx([0.6, 1.0])
