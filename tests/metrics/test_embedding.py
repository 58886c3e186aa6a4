"""Metrics of embeddings, each against the slow obvious way, scikit-learn or scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as oracle

from graft.data.tuples import Tuples
from graft.metrics import METRICS, VERIFICATION, find_metric
from graft.metrics.embedding import RETRIEVAL, embedding_scorer
from graft.metrics.intervals import bootstrap


def drawn(seed: int, n: int = 30, width: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32)


def slow(cosines: np.ndarray, relevant: set[int], searched: list[int]) -> dict[str, float]:
    ranked = sorted(searched, key=lambda i: (-cosines[i], i))
    hits = [i in relevant for i in ranked]
    first = hits.index(True) + 1
    r = len(relevant)
    gains = [h / np.log2(k + 2) for k, h in enumerate(hits[:10])]
    ideal = [1 / np.log2(k + 2) for k in range(min(r, 10))]
    return {
        "recall_at_1": float(first <= 1),
        "recall_at_10": float(first <= 10),
        "map_at_r": sum(sum(hits[: k + 1]) / (k + 1) for k in range(r) if hits[k]) / r,
        "mrr": 1 / first,
        "ndcg_at_10": sum(gains) / sum(ideal),
    }


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@given(st.integers(0, 200))
def test_labelled_items_are_searched_among_all_others(seed):
    vectors = drawn(seed)
    labels = np.random.default_rng(seed + 1).integers(0, 9, len(vectors))
    cosines = unit(vectors) @ unit(vectors).T
    each = []
    for q in range(len(vectors)):
        relevant = {i for i in range(len(vectors)) if i != q and labels[i] == labels[q]}
        if relevant:
            others = [i for i in range(len(vectors)) if i != q]
            each.append(slow(cosines[q], relevant, others))
    found = embedding_scorer(labels, vectors).scores()
    assert set(found) == set(RETRIEVAL)
    for name in RETRIEVAL:
        assert found[name] == pytest.approx(np.mean([e[name] for e in each]), abs=1e-6)


def test_anchors_are_searched_among_positives_and_negatives():
    vectors = drawn(3, n=12)
    members = np.array([[0, 1, 2], [0, 3, 4], [5, 6, 7], [8, 1, 9]])
    cosines = unit(vectors) @ unit(vectors).T
    searched = [1, 2, 3, 4, 6, 7, 9]
    each = [slow(cosines[q], r, searched) for q, r in ((0, {1, 3}), (5, {6}), (8, {1}))]
    found = embedding_scorer(Tuples(members), vectors).scores()
    for name in RETRIEVAL:
        assert found[name] == pytest.approx(np.mean([e[name] for e in each]), abs=1e-6)


def test_triplets_also_say_how_often_the_positive_is_nearer():
    vectors = drawn(9, n=12)
    members = np.array([[0, 1, 2], [0, 3, 4], [5, 6, 7], [8, 9, 10]])
    cosines = unit(vectors) @ unit(vectors).T
    right = [float(cosines[a, p] > cosines[a, n]) for a, p, n in members]
    found = embedding_scorer(Tuples(members), vectors).scores()
    assert found["triplet_accuracy"] == pytest.approx(
        np.mean([(right[0] + right[1]) / 2, right[2], right[3]])
    )


def test_scores_are_compared_by_correlation():
    vectors, random = drawn(1, n=20), np.random.default_rng(2)
    members = np.array([(i, j) for i in range(20) for j in range(i)])[::4]  # no pair twice
    scores = random.uniform(0, 5, len(members))
    cosines = (unit(vectors)[members[:, 0]] * unit(vectors)[members[:, 1]]).sum(1)
    found = embedding_scorer(Tuples(members, scores), vectors).scores()
    assert found["spearman"] == pytest.approx(stats.spearmanr(cosines, scores)[0], abs=1e-6)
    assert found["pearson"] == pytest.approx(stats.pearsonr(cosines, scores)[0], abs=1e-6)


def test_pairs_with_yes_and_no_are_told_apart():
    vectors, random = drawn(4, n=20), np.random.default_rng(5)
    members, alike = random.integers(0, 20, (40, 2)), random.integers(0, 2, 40).astype(float)
    cosines = (unit(vectors)[members[:, 0]] * unit(vectors)[members[:, 1]]).sum(1)
    found = embedding_scorer(Tuples(members, alike), vectors).scores()
    expected = oracle.average_precision_score(alike, cosines)
    assert found["average_precision"] == pytest.approx(expected)


def test_a_class_with_one_item_is_no_query_but_is_searched():
    vectors = np.array([[1, 0], [1, 0.2], [1, -0.1]], np.float32)
    found = embedding_scorer(np.array([0, 0, 1]), vectors)
    # the first item's nearest is the lonely one, the second's is the first
    assert found.scores()["recall_at_1"] == 0.5
    assert found.n_rows == 3


def test_nothing_to_find_is_not_defined():
    found = embedding_scorer(np.arange(4), drawn(0, n=4)).scores()
    assert all(np.isnan(value) for value in found.values())


def test_vectors_that_are_not_finite_are_worth_nothing():
    vectors = drawn(0)
    vectors[3, 1] = np.nan
    found = embedding_scorer(np.arange(len(vectors)) // 2, vectors).scores()
    assert all(np.isnan(value) for value in found.values())


def test_intervals_hold_the_value():
    labels = np.random.default_rng(0).integers(0, 4, 30)
    for found in bootstrap(embedding_scorer(labels, drawn(0)), n_resamples=200).values():
        assert found.low <= found.value <= found.high


@pytest.mark.parametrize("name", [n for n in METRICS["embedding"] if n not in VERIFICATION])
def test_each_metric_is_one_of_the_scorer(name):
    vectors, random = drawn(6, n=20), np.random.default_rng(7)
    truths = (
        random.integers(0, 4, 20),
        Tuples(random.integers(0, 20, (9, 2)), random.uniform(0, 5, 9)),
        Tuples(random.integers(0, 20, (9, 2)), np.arange(9) % 2.0),
    )
    if name == "triplet_accuracy":
        truths = (Tuples(np.arange(18).reshape(6, 3)),)
    values = [find_metric("embedding", name)(truth, vectors) for truth in truths]
    assert sum(value == value for value in values) == 1
