"""Metrics of sampled pairs: against scikit-learn, and intervals that know what pairs share."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from graft.data.tuples import Tuples
from graft.metrics import METRICS, VERIFICATION, find_metric
from graft.metrics.intervals import bootstrap, bootstrap_change
from graft.metrics.sampled_pairs import sample_pairs
from graft.metrics.verification import area, pairs_of, roc, sampled
from graft.metrics.verification_scores import (
    FARS,
    NAMES,
    scorer_of_pairs,
    scorer_of_sample,
    too_few,
    verification_scorer,
)
from tests.metrics.test_verification import items as scene


def test_the_names_are_in_the_table():
    assert tuple(VERIFICATION) == NAMES
    for task in ("embedding", "matching"):
        assert set(NAMES) <= set(METRICS[task])
        assert all(find_metric(task, name) is verification_scorer for name in NAMES)


def test_of_few_items_it_is_every_pair():
    vectors, labels = scene(150, 15)
    every = scorer_of_pairs(pairs_of(vectors, labels)).scores()
    assert verification_scorer(labels, 3 * vectors).scores() == pytest.approx(every, abs=1e-6)


def captioned(n=40, seed=0):
    """Return pictures with two captions each, every tenth caption shared by two pictures."""
    random = np.random.default_rng(seed)
    members = [(i, n + 2 * i + k) for i in range(n) for k in range(2)]
    members += [(i, n + 2 * (i + 1)) for i in range(0, n - 1, 10)]
    means = random.normal(size=(n, 6))
    texts = means.repeat(2, axis=0) + random.normal(size=(2 * n, 6))
    return Tuples(np.array(members)), np.concatenate([means, texts])


def test_pictures_and_captions_against_scikit_learn():
    truth, vectors = captioned()
    sample = sample_pairs(truth)
    assert sample.n_alike == 84 and sample.n_unlike == 40 * 80 - 84
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = (unit[sample.pairs[:, 0]] * unit[sample.pairs[:, 1]]).sum(1)
    far, tar, _ = roc_curve(sample.alike, cosines, drop_intermediate=False)
    found = verification_scorer(truth, vectors).scores()
    assert found["auroc"] == pytest.approx(roc_auc_score(sample.alike, cosines))
    assert found["tar_at_far_1e2"] == pytest.approx(tar[far <= 0.01].max())
    assert found["equal_error_rate"] == pytest.approx(far[np.abs(far - 1 + tar).argmin()], abs=0.02)


def test_a_resample_draws_whole_groups():
    truth, vectors = captioned()
    sample = sample_pairs(truth)
    assert sample.unit == "groups"
    unit = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    pairs = sampled(sample, unit)
    random = np.random.default_rng(1)
    n = pairs.n_units
    weights = np.bincount(random.integers(n, size=n), minlength=n)
    repeats = [
        weights[a] if a == b else weights[a] * weights[b] for a, b in sample.units[sample.pairs]
    ]
    cosines = np.einsum("pd,pd->p", unit[sample.pairs[:, 0]], unit[sample.pairs[:, 1]])
    alike = np.repeat(sample.alike, repeats)
    curve = roc(pairs, weights)
    assert area(curve) == pytest.approx(roc_auc_score(alike, np.repeat(cosines, repeats)))


def test_intervals_do_not_count_copies():
    """A caption that is written five times over adds no knowledge."""
    random = np.random.default_rng(0)
    means, n = random.normal(size=(30, 4)), 30
    once = np.concatenate([means, means + 1.5 * random.normal(size=(n, 4))])
    five = np.concatenate([once[:n], once[n:].repeat(5, axis=0)])
    one = Tuples(np.stack([np.arange(n), n + np.arange(n)], axis=1))
    all_five = Tuples(np.stack([np.arange(n).repeat(5), n + np.arange(5 * n)], axis=1))
    spans = []
    for truth, vectors in ((one, once), (all_five, five)):
        found = bootstrap(verification_scorer(truth, vectors), n_resamples=200)["auroc"]
        spans.append(found.high - found.low)
    assert spans[1] == pytest.approx(spans[0], rel=0.05)


def test_too_few_pairs_for_a_far_are_said():
    assert too_few(10_000) == ()
    assert too_few(9_999) == ("tar_at_far_1e3",)
    assert too_few(999) == tuple(FARS)
    vectors, labels = scene(40, 10)
    assert set(verification_scorer(labels, vectors).scores()) == {"auroc", "equal_error_rate"}


def test_pairs_of_one_kind_have_no_metric():
    for labels in (np.zeros(5, int), np.arange(5), np.zeros(0, int)):
        scorer = verification_scorer(labels, np.ones((len(labels), 2)))
        assert bootstrap(scorer, n_resamples=3) == {}
    scored = Tuples(np.array([[0, 1], [2, 3]]), np.array([1.5, 4.0]))
    assert verification_scorer(scored, np.ones((4, 2))).scores() == {}


def test_vectors_that_are_not_finite_have_none_that_is_defined():
    vectors, labels = scene(60, 12)
    vectors[3] = np.nan
    found = scorer_of_sample(sample_pairs(labels), vectors).scores()
    assert set(found) == {"auroc", "equal_error_rate", "tar_at_far_1e2"}
    assert all(math.isnan(value) for value in found.values())


def test_intervals():
    vectors, labels = scene(150, 15, spread=0.6)
    found = bootstrap(verification_scorer(labels, vectors), n_resamples=100)
    assert set(found) == {
        "equal_error_rate",
        "auroc",
        "tar_at_far_1e2",
        "tar_at_far_1e3",
    }
    for interval in found.values():
        assert interval.low <= interval.value <= interval.high
        assert interval.low < interval.high


def test_before_and_after_from_the_same_draws():
    (before, labels), (after, _) = scene(150, 15, spread=1.5), scene(150, 15, spread=0.5)
    scorers = [verification_scorer(labels, x) for x in (before, after)]
    change = bootstrap_change(*scorers, n_resamples=50)["change"]
    assert change["equal_error_rate"].high < 0 < change["tar_at_far_1e2"].low
