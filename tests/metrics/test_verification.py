"""Verification against scikit-learn's curve, slow loops, and distributions with a known answer."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve

from graft.errors import InputError
from graft.metrics.verification import (
    Roc,
    area,
    equal_error_rate,
    pairs_of,
    roc,
    tar_at,
    threshold_at,
)


def items(n=60, n_classes=12, seed=0, spread=1.0, rounded=False):
    rng = np.random.default_rng(seed)
    labels = rng.integers(n_classes, size=n)
    vectors = np.random.default_rng(1).normal(size=(n_classes, 6))[labels]
    vectors = vectors + spread * rng.normal(size=(n, 6))
    if rounded:  # many equal scores
        return np.sign(vectors).astype(np.float32), labels
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), labels


def slow_pairs(vectors, labels):
    pairs = list(itertools.combinations(range(len(vectors)), 2))
    scores = (vectors @ vectors.T)[tuple(np.array(pairs).T)]
    return pairs, scores, np.array([labels[i] == labels[j] for i, j in pairs])


@pytest.mark.parametrize("rounded", [False, True])
def test_curve_is_that_of_scikit_learn(rounded):
    vectors, labels = items(rounded=rounded)
    _, scores, genuine = slow_pairs(vectors, labels)
    curve = roc(pairs_of(vectors, labels))
    far, tar, thresholds = roc_curve(genuine, scores, drop_intermediate=False)
    np.testing.assert_allclose(curve.far, far[1:], atol=1e-12)
    np.testing.assert_allclose(curve.tar, tar[1:], atol=1e-12)
    np.testing.assert_array_equal(curve.thresholds, thresholds[1:])
    assert area(curve) == pytest.approx(roc_auc_score(genuine, scores))


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(3, 25),
    n_classes=st.sampled_from([2, 4, 14]),
    far=st.sampled_from([0.001, 0.05, 0.3]),
    seed=st.integers(0, 20),
)
def test_threshold_is_the_lowest_that_keeps_the_share(n, n_classes, far, seed):
    vectors, labels = items(n, n_classes, seed)
    _, scores, genuine = slow_pairs(vectors, labels)
    curve = roc(pairs_of(vectors, labels))
    if genuine.all() or not genuine.any():
        assert math.isnan(tar_at(curve, far))
        assert math.isnan(equal_error_rate(curve))
        return
    allowed = [t for t in scores if (scores[~genuine] >= t).mean() <= far]
    found = threshold_at(curve, far)
    assert found == (min(allowed) if allowed else math.inf)
    expected = (scores[genuine] >= found).mean() if allowed else 0.0
    assert tar_at(curve, far) == pytest.approx(expected)
    assert 0 <= equal_error_rate(curve) <= 1


@pytest.mark.parametrize(
    ("far", "tar", "expected"),
    [
        ([0, 1 / 3, 2 / 3, 1], [1 / 3, 2 / 3, 1, 1], 1 / 3),  # a point of the curve
        ([0, 0.5, 1], [0.6, 0.8, 1], 2 / 7),  # where 0.5 s = 0.4 - 0.2 s
    ],
)
def test_equal_error_rate_of_known_curves(far, tar, expected):
    curve = Roc(-np.arange(len(far)), np.array(far, float), np.array(tar, float))
    assert equal_error_rate(curve) == pytest.approx(expected)


def test_perfect_and_blind():
    labels = np.repeat(np.arange(12), 3)
    perfect = np.eye(12, dtype=np.float32)[labels]
    curve = roc(pairs_of(perfect, labels))
    assert (equal_error_rate(curve), area(curve), tar_at(curve, 0.001)) == (0, 1, 1)
    blind = roc(pairs_of(np.ones_like(perfect), labels))
    assert (equal_error_rate(blind), area(blind), tar_at(blind, 0.001)) == (0.5, 0.5, 0)
    assert math.isinf(threshold_at(blind, 0.001))


@pytest.mark.parametrize("n_classes", [4, 12])  # items are drawn, and classes
def test_a_resample_equals_drawing_units_in_a_loop(n_classes):
    vectors, labels = items(30, n_classes)
    pairs = pairs_of(vectors, labels)
    by_class = n_classes >= 10
    assert pairs.unit == ("classes" if by_class else "items")
    names = sorted(set(labels.tolist()))
    units = [names.index(x) for x in labels] if by_class else list(range(30))
    rng = np.random.default_rng(3)
    weights = np.bincount(rng.integers(pairs.n_units, size=pairs.n_units), minlength=pairs.n_units)
    slow, scores, genuine = slow_pairs(vectors, labels)
    repeats = [
        weights[units[i]] if by_class and same else weights[units[i]] * weights[units[j]]
        for (i, j), same in zip(slow, genuine, strict=True)
    ]
    drawn_scores, drawn_genuine = np.repeat(scores, repeats), np.repeat(genuine, repeats)
    curve = roc(pairs, weights)
    assert area(curve) == pytest.approx(roc_auc_score(drawn_genuine, drawn_scores))
    allowed = [t for t in scores if (drawn_scores[~drawn_genuine] >= t).mean() <= 0.05]
    assert threshold_at(curve, 0.05) == min(allowed)
    assert pairs.totals(weights) == (drawn_genuine.sum(), (~drawn_genuine).sum())


def test_the_head_gives_the_same_threshold():
    vectors, labels = items(200, 20)
    pairs = pairs_of(vectors, labels)
    head = pairs.head(0.05)
    assert len(head.scores) < 0.2 * len(pairs.scores)
    assert (head.n_impostors, head.n_genuine) == (pairs.n_impostors, pairs.n_genuine)
    for far in (0.001, 0.01, 0.05):
        assert threshold_at(roc(head), far) == threshold_at(roc(pairs), far)
        assert tar_at(roc(head), far) == tar_at(roc(pairs), far)


def test_more_items_are_drawn():
    vectors, labels = items(100)
    assert len(pairs_of(vectors, labels, most=20).scores) == 190


def test_hardly_any_items():
    for n in (0, 1, 2):
        vectors, labels = items(n)
        curve = roc(pairs_of(vectors, labels))
        assert all(math.isnan(f(curve)) for f in (area, equal_error_rate))
        assert math.isnan(tar_at(curve, 0.01))


def test_refusals():
    with pytest.raises(InputError, match="3 vectors against 2 labels"):
        pairs_of(np.ones((3, 2)), [0, 1])
    with pytest.raises(InputError, match="not finite"):
        pairs_of(np.full((2, 2), np.nan), [0, 1])
