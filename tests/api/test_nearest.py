"""Queries that gained and lost are found, and neighbours are what a slow search finds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from graft.api.nearest import (
    N_NEAREST,
    N_QUERIES,
    chosen_queries,
    classes_found,
    nearest_to,
    quality,
    search_of,
)
from graft.data.tuples import Tuples


def on_circle(*degrees):
    """Return vectors (N, 2) of length one at these angles."""
    turns = np.radians(degrees)
    return np.stack([np.cos(turns), np.sin(turns)], axis=1).astype(np.float32)


def test_labelled_neighbours_are_those_of_a_slow_search():
    random = np.random.default_rng(0)
    unit = random.normal(size=(20, 4)).astype(np.float32)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    labels = random.integers(0, 3, 20)
    search = search_of(labels)
    for query in range(20):
        others = [i for i in range(20) if i != query]
        others.sort(key=lambda i: -float(unit[query] @ unit[i]))
        found = nearest_to(unit, query, search)
        assert [n.item for n in found] == others[:N_NEAREST]
        assert [n.belongs for n in found] == [bool(labels[n.item] == labels[query]) for n in found]
        assert found[0].cosine == pytest.approx(float(unit[query] @ unit[others[0]]), abs=1e-4)


def test_items_without_a_label_belong_to_nobody():
    found = nearest_to(on_circle(0, 1, 2), 0, search_of(np.array([-1, -1, 0])))
    assert not any(n.belongs for n in found)


def test_anchors_are_searched_among_the_other_members():
    search = search_of(Tuples(np.array([[0, 1, 2], [3, 4, 1]])))
    assert search.queries.tolist() == [0, 3] and search.searched.tolist() == [1, 2, 4]
    found = nearest_to(on_circle(0, 10, 20, 90, 30), 0, search)
    assert [(n.item, n.belongs) for n in found] == [(1, True), (2, False), (4, False)]


def test_a_positive_of_one_row_is_none_the_less_one_where_another_denies_it():
    search = search_of(Tuples(np.array([[0, 1, 2], [0, 2, 1]])))
    assert search.pairs[0, 1][0] is True and search.pairs[0, 2][0] is True


def test_scores_are_shown_where_the_data_have_them():
    pairs = Tuples(np.array([[0, 1], [2, 3]]), np.array([4.5, 0.5]))
    first, *_ = nearest_to(on_circle(0, 10, 20, 50), 1, search_of(pairs))
    assert (first.item, first.belongs, first.score) == (0, None, 4.5)
    stranger = nearest_to(on_circle(0, 10, 20, 50), 1, search_of(pairs))[1]
    assert (stranger.belongs, stranger.score) == (None, None)
    told = search_of(Tuples(np.array([[0, 1], [2, 3]]), np.array([1.0, 0.0])))
    known = {n.item: n.belongs for n in nearest_to(on_circle(0, 10, 20, 50), 2, told)}
    assert known == {3: False, 0: None, 1: None}


def test_quality_rises_where_what_belongs_comes_nearer():
    labels = np.array([0, 0, 1, 1])
    mixed, sorted_ = on_circle(0, 60, 10, 70), on_circle(0, 5, 90, 95)
    search = search_of(labels)
    assert (quality(labels, sorted_, search) > quality(labels, mixed, search)).all()
    assert quality(labels, sorted_, search).tolist() == [1.0] * 4
    pairs = Tuples(np.array([[0, 1], [0, 2], [1, 2]]), np.array([3.0, 1.0, 2.0]))
    search = search_of(pairs)
    in_order = quality(pairs, on_circle(0, 10, 40), search)  # cosines in the order of the scores
    assert in_order.tolist() == [0.0, 0.0]
    assert quality(pairs, on_circle(0, 60, 10), search).min() < 0


def test_those_that_changed_come_first_and_classes_are_spread():
    change = np.zeros(40)
    change[[3, 4, 9]], change[[5, 6]] = (0.9, 0.8, 0.7), (-0.5, -0.4)
    groups = [f"class {i // 4}" for i in range(40)]
    found = chosen_queries(change, groups)
    assert len(found) == N_QUERIES == len({i for i, _ in found})
    # 4 gained more than 9, and is of another class than 3
    assert [i for i, why in found if why == "better"] == [3, 4, 9]
    assert {i for i, why in found if why == "worse"} == {5, 6}
    drawn = [groups[i] for i, why in found if why == "drawn"]
    assert len(set(drawn)) == len(drawn) == 3
    assert not set(drawn) & {groups[i] for i in (3, 4, 9, 5, 6)}
    of_one_class = np.where(np.arange(40) < 20, 1.0, 0.0)
    gained = [i for i, why in chosen_queries(of_one_class, groups) if why == "better"]
    assert len({groups[i] for i in gained}) == 3


@pytest.mark.parametrize("n", [1, 2, 7, 8, 500])
def test_there_are_as_many_queries_as_there_can_be(n):
    found = chosen_queries(np.zeros(n), [""] * n)
    assert len({i for i, _ in found}) == len(found) == min(n, N_QUERIES)
    assert {why for _, why in found} == {"drawn"}


def test_classes_that_lie_apart_find_their_own():
    labels = np.array([0, 0, 1, 1, 2])
    names = ["a", "a", "b", "b", "c"]
    before, after = on_circle(0, 50, 10, 60, 30), on_circle(0, 2, 90, 92, 180)
    a, b, c = classes_found([before, after], labels, names)
    assert (a.name, b.name, c.name) == ("a", "b", "c")
    assert a.nearest == (0.0, 1.0) and b.nearest == (0.0, 1.0)
    assert all(math.isnan(share) for share in c.nearest)  # nobody else is of its class
    assert a.within[1] > 0.999 > a.within[0]
    assert a.between[1] == pytest.approx(math.cos(math.radians(90)), abs=1e-6)
    assert c.other == "b" and a.other == ""
    assert classes_found([before], np.zeros(5, int), ["a"] * 5) == ()
