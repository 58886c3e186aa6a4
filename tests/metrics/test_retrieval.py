"""Retrieval metrics against slow loops, scikit-learn, and points whose ranking is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, ndcg_score

from graft.errors import InputError
from graft.metrics import retrieval as module
from graft.metrics.intervals import bootstrap, bootstrap_change
from graft.metrics.retrieval import retrieval, retrieval_graded, retrieval_scorer


def points(n=40, n_classes=5, seed=0, spread=1.0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(n_classes, size=n)
    vectors = np.random.default_rng(1).normal(size=(n_classes, 6))[labels]
    vectors = vectors + spread * rng.normal(size=(n, 6))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), labels


def slow(vectors, labels, k):
    """Every metric of every query, by the words of its definition."""
    found = []
    for i in range(len(vectors)):
        others = [j for j in range(len(vectors)) if j != i]
        others.sort(key=lambda j: (-float(vectors[i] @ vectors[j]), j))
        right = [labels[j] == labels[i] for j in others]
        n = sum(right)
        if not n:
            found.append(None)
            continue
        precisions = [sum(right[: r + 1]) / (r + 1) for r in range(n)]
        gain = sum(1 / math.log2(r + 2) for r, x in enumerate(right[:k]) if x)
        best = sum(1 / math.log2(r + 2) for r in range(min(k, n)))
        found.append(
            {
                "map_at_r": sum(p for p, x in zip(precisions, right, strict=False) if x) / n,
                "mrr": 1 / (right.index(True) + 1),
                f"hit_rate_at_{k}": float(any(right[:k])),
                f"recall_at_{k}": sum(right[:k]) / n,
                f"ndcg_at_{k}": gain / best,
            }
        )
    return found


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(2, 30),
    n_classes=st.integers(1, 8),
    k=st.integers(1, 40),
    seed=st.integers(0, 20),
    block=st.sampled_from([1, 50, 10_000]),
)
def test_equals_slow_loops(n, n_classes, k, seed, block):
    vectors, labels = points(n, n_classes, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK_NUMBERS", block)
        found = retrieval(vectors, labels, ks=(k,))
    expected = slow(vectors, labels, k)
    assert found.n_without == expected.count(None)
    for name, values in found.values.items():
        theirs = [math.nan if e is None else e[name] for e in expected]
        np.testing.assert_allclose(values, theirs, rtol=1e-12)


def test_ndcg_with_grades_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    queries, gallery = rng.normal(size=(30, 8)), rng.normal(size=(70, 8))
    grades = rng.integers(0, 4, size=(30, 70))
    found = retrieval_graded(queries, gallery, lambda rows: grades[rows], ks=(5, 10, 100))
    for k in (5, 10, 100):
        expected = ndcg_score(grades, queries @ gallery.T, k=k)
        assert found.means()[f"ndcg_at_{k}"] == pytest.approx(expected)


def test_map_at_r_is_average_precision_where_all_relevant_come_first():
    gallery = np.diag([3.0, 2.0, 1.0])
    grades = np.array([[1, 1, 0]])
    found = retrieval_graded(np.ones((1, 3)), gallery, lambda rows: grades[rows], ks=(1,))
    assert found.means()["map_at_r"] == average_precision_score(grades[0], [3, 2, 1]) == 1


def test_known_rankings():
    # the query's class is at ranks 2 and 3 of 4, by angle
    angles = np.deg2rad([0, 10, 20, 30, 90])
    vectors = np.stack([np.cos(angles), np.sin(angles)], 1)
    found = retrieval(vectors, np.array(["a", "b", "a", "a", "c"]), ks=(1, 2))
    first = {name: values[0] for name, values in found.values.items()}
    assert first["map_at_r"] == pytest.approx((0 + 1 / 2) / 2)
    assert first["mrr"] == 1 / 2
    assert (first["hit_rate_at_1"], first["hit_rate_at_2"]) == (0, 1)
    assert (first["recall_at_1"], first["recall_at_2"]) == (0, 0.5)
    assert found.n_without == 2


def test_equal_scores_are_in_the_order_of_the_gallery():
    vectors, labels = np.ones((6, 2)), np.array([0, 1, 0, 1, 0, 1])
    found = retrieval(vectors, labels, ks=(1,)).values["hit_rate_at_1"]
    assert found.tolist() == [0, 0, 1, 0, 1, 0]


def test_nothing_is_relevant():
    vectors, _ = points(4)
    found = retrieval(vectors, np.arange(4))
    assert found.n_without == 4
    assert all(math.isnan(x) for x in found.means().values())
    assert retrieval(vectors[:0], np.zeros(0)).n_without == 0


def test_intervals_over_classes_are_wider_than_over_queries():
    vectors, labels = points(300, 12, spread=0.8)
    ranked = retrieval(vectors, labels)
    by_query = bootstrap(retrieval_scorer(ranked))["map_at_r"]
    by_class = bootstrap(retrieval_scorer(ranked, labels))["map_at_r"]
    assert by_query.value == pytest.approx(by_class.value) == ranked.means()["map_at_r"]
    assert by_class.high - by_class.low > 1.5 * (by_query.high - by_query.low)


def test_before_and_after_from_the_same_draws():
    before, labels = points(200, 8, spread=1.5)
    after, _ = points(200, 8, spread=0.5)
    scorers = [retrieval_scorer(retrieval(x, labels), labels) for x in (before, after)]
    found = bootstrap_change(*scorers, n_resamples=200)
    assert found["change"]["map_at_r"].low > 0
    assert found["after"]["hit_rate_at_1"].value > found["before"]["hit_rate_at_1"].value


def test_refusals():
    vectors, labels = points(5)
    with pytest.raises(InputError, match="pass"):
        retrieval(vectors, labels[:4])
    with pytest.raises(InputError, match="not finite"):
        retrieval(np.full((5, 2), np.nan), labels)
    with pytest.raises(InputError, match="a depth is 0"):
        retrieval(vectors, labels, ks=(0,))
