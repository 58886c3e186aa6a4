"""Pairs are what they say, each is there once, and the same seed gives the same."""

from __future__ import annotations

import numpy as np
import pytest

from graft.data.tuples import Tuples
from graft.metrics.sampled_pairs import cosines_of, groups_of, sample_pairs, units_of


def both(truth, **more):
    found = sample_pairs(truth, **more)
    return found.pairs[found.alike], found.pairs[~found.alike]


def as_sets(pairs):
    return {frozenset(pair) for pair in pairs.tolist()}


@pytest.mark.parametrize("n", [60, 3_000])
def test_labelled_pairs_are_alike_and_not(n):
    labels = np.random.default_rng(1).integers(0, 7, n)
    most = {"most_alike": 300, "most_unlike": 500}
    alike, unlike = both(labels, **most)
    assert (labels[alike[:, 0]] == labels[alike[:, 1]]).all()
    assert (labels[unlike[:, 0]] != labels[unlike[:, 1]]).all()
    assert 0 < len(alike) <= 300 and len(unlike) == 500
    for pairs in (alike, unlike):
        assert len(as_sets(pairs)) == len(pairs) and all(len(p) == 2 for p in as_sets(pairs))
    again = both(labels, **most)
    assert np.array_equal(alike, again[0]) and np.array_equal(unlike, again[1])
    other = both(labels, seed=1, **most)
    assert not np.array_equal(unlike, other[1])


def test_of_few_items_every_pair_is_there_once():
    alike, unlike = both(np.array([0, 0, 1, 1, 1]))
    assert sorted(map(tuple, alike.tolist())) == [(0, 1), (2, 3), (2, 4), (3, 4)]
    assert len(as_sets(unlike)) == len(unlike) == 6


def test_classes_of_one_item_have_no_pair():
    for labels in (np.arange(5), np.arange(3_000)):
        alike, unlike = both(labels, most_unlike=100)
        assert len(alike) == 0 and len(unlike) > 0


def test_items_without_a_class_form_no_pair():
    found = sample_pairs(np.array([0, -1, 0, -1, 1]))
    assert set(found.pairs.ravel().tolist()) == {0, 2, 4}
    assert (found.n_alike, found.n_unlike) == (1, 2)


def test_pairs_of_tuples():
    members = np.array([[0, 1], [2, 3], [4, 5], [0, 3], [0, 1]])
    alike, unlike = both(Tuples(members))
    assert alike.tolist() == [[0, 1], [2, 3], [4, 5], [0, 3]]
    assert sorted(map(tuple, unlike.tolist())) == [(0, 5), (2, 1), (2, 5), (4, 1), (4, 3)]
    alike, unlike = both(Tuples(np.array([[0, 1, 2], [3, 4, 5]])))
    assert alike.tolist() == [[0, 1], [3, 4]] and unlike.tolist() == [[0, 2], [3, 5]]
    alike, unlike = both(Tuples(members[:4], np.array([1.0, 0.0, 1.0, 0.0])))
    assert alike.tolist() == [[0, 1], [4, 5]] and unlike.tolist() == [[2, 3], [0, 3]]
    assert sample_pairs(Tuples(members[:4], np.array([1.0, 0.2, 4.0, 0.0]))) is None


def test_of_many_tuples_strangers_are_drawn():
    members = np.stack([np.arange(900), 900 + np.arange(900)], axis=1)
    alike, unlike = both(Tuples(members), most_unlike=2_000)
    assert len(alike) == 900 and len(unlike) == len(as_sets(unlike)) == 2_000
    assert not as_sets(unlike) & as_sets(members)
    assert (unlike[:, 0] < 900).all() and (unlike[:, 1] >= 900).all()


def test_groups_are_what_tuples_join():
    random = np.random.default_rng(0)
    members = random.integers(0, 60, (40, 2))
    reach = np.eye(60, dtype=bool)
    reach[members[:, 0], members[:, 1]] = reach[members[:, 1], members[:, 0]] = True
    for _ in range(60):
        reach = reach @ reach
    found = groups_of(np.concatenate([members, [[59, 59]]]))
    assert np.array_equal(found[:, None] == found[None], reach)


def test_units_are_classes_where_there_are_enough():
    assert units_of(np.repeat(np.arange(10), 3))[1] == "classes"
    assert units_of(np.repeat(np.arange(9), 3))[1] == "items"
    # of ten of which one holds nearly all, no draw would tell anything
    assert units_of(np.concatenate([np.arange(10), np.zeros(50, int)]))[1] == "items"
    paired = Tuples(np.arange(40).reshape(20, 2))
    assert sample_pairs(paired).unit == "groups"
    joined = Tuples(np.stack([np.zeros(20, int), np.arange(1, 21)], axis=1))
    assert sample_pairs(joined).unit == "items"


def test_cosine_of_a_pair():
    unit = np.array([[1.0, 0.0], [0.6, 0.8]])
    assert cosines_of(unit, np.array([[0, 1], [1, 1]])).tolist() == pytest.approx([0.6, 1.0])
