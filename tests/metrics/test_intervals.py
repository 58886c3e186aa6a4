"""Bootstrap intervals: a slow loop, coverage, pairs and undefined resamples."""

from __future__ import annotations

import math

import numpy as np
import pytest

from graft.errors import InputError
from graft.metrics import METRICS
from graft.metrics import intervals as module
from graft.metrics.classification import classification_metrics, classification_scorer
from graft.metrics.intervals import bootstrap, bootstrap_difference, resample_counts
from graft.metrics.multilabel import multilabel_scorer
from graft.metrics.regression import regression_metrics, regression_scorer
from graft.metrics.scorer import Scorer


def classes(n=80, c=4, seed=0, signal=1.0):
    rng = np.random.default_rng(seed)
    labels = np.random.default_rng(99).integers(c, size=n)
    logits = rng.normal(size=(n, c)) + signal * np.eye(c)[labels]
    return labels, np.exp(logits) / np.exp(logits).sum(1, keepdims=True)


def values(n=50):
    rng = np.random.default_rng(0)
    y = rng.normal(size=n)
    return y, y + rng.normal(size=n)


@pytest.mark.parametrize(
    ("data", "scorer", "metrics"),
    [
        (classes(), classification_scorer, classification_metrics),
        (values(), regression_scorer, regression_metrics),
    ],
)
def test_equals_drawing_rows_in_a_loop(data, scorer, metrics):
    targets, outputs = data
    rng = np.random.default_rng(5)
    replicates = []
    for _ in range(60):
        rows = rng.integers(len(targets), size=len(targets))
        replicates.append(metrics(targets[rows], outputs[rows]))
    found = bootstrap(scorer(targets, outputs), n_resamples=60, level=0.8, seed=5)
    for name, interval in found.items():
        low, high = np.quantile([r[name] for r in replicates], [0.1, 0.9])
        assert (interval.low, interval.high) == pytest.approx((low, high), rel=1e-5)
        assert interval.value == metrics(targets, outputs)[name]


def test_seed_decides_and_blocks_do_not(monkeypatch):
    scorer = classification_scorer(*classes())
    first = bootstrap(scorer, n_resamples=50)
    assert bootstrap(scorer, n_resamples=50) == first
    assert bootstrap(scorer, n_resamples=50, seed=1) != first
    monkeypatch.setattr(module, "BLOCK_SIZE", 80 * 7)
    assert len(list(resample_counts(80, 50, seed=0))) == 8
    assert bootstrap(scorer, n_resamples=50) == first


def test_counts_add_up():
    for counts in resample_counts(30, 10, seed=0):
        assert (counts.sum(axis=1) == 30).all()


def test_interval_covers_the_truth_about_as_often_as_it_says():
    covered = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        right = (rng.random(100) < 0.7) / 100
        scorer = Scorer(100, lambda weights, right=right: {"accuracy": weights @ right})
        found = bootstrap(scorer, n_resamples=200, seed=seed)["accuracy"]
        covered += found.low <= 0.7 <= found.high
    # Binomial, 200 draws at 0.95: standard deviation 3; percentile intervals run a little narrow.
    assert 178 <= covered <= 199


def test_difference_is_paired():
    labels, weak = classes(n=400)
    _, noise = classes(n=400, seed=1)
    near = weak * 0.95 + noise * 0.05
    same = bootstrap_difference(
        classification_scorer(labels, weak), classification_scorer(labels, weak), n_resamples=50
    )
    assert all((i.value, i.low, i.high) == (0, 0, 0) for i in same.values())
    one, other = classification_scorer(labels, near), classification_scorer(labels, weak)
    paired = bootstrap_difference(one, other, n_resamples=300)["log_loss"]
    alone = bootstrap(other, n_resamples=300)["log_loss"]
    assert paired.high - paired.low < 0.2 * (alone.high - alone.low)
    assert paired.value == pytest.approx(one.scores()["log_loss"] - other.scores()["log_loss"])


def test_difference_sees_the_better_model():
    labels, weak = classes(n=400, signal=0.5)
    _, strong = classes(n=400, seed=1, signal=3.0)
    found = bootstrap_difference(
        classification_scorer(labels, strong), classification_scorer(labels, weak), n_resamples=200
    )
    for name in ("accuracy", "macro_f1", "auroc", "average_precision", "log_loss", "brier_score"):
        higher_is_better = METRICS["classification"][name][2]
        assert found[name].low > 0 if higher_is_better else found[name].high < 0


def test_resamples_without_a_class_are_counted():
    labels = np.array([0] * 9 + [1])
    p = np.stack([np.linspace(1, 0, 10), np.linspace(0, 1, 10)], axis=1)
    found = bootstrap(classification_scorer(labels, p), n_resamples=500)
    # A row is missed with chance 0.9 ** 10 = 0.35.
    assert 130 < found["auroc"].n_undefined < 220
    assert found["auroc"].low == found["auroc"].high == 1
    assert found["accuracy"].n_undefined == 0


@pytest.mark.parametrize("n", [0, 1])
def test_hardly_any_rows(n):
    for scorer in (
        classification_scorer(np.zeros(n, dtype=int), np.full((n, 2), 0.5)),
        multilabel_scorer(np.zeros((n, 2)), np.full((n, 2), 0.5)),
        regression_scorer(np.zeros(n), np.ones(n)),
    ):
        for interval in bootstrap(scorer, n_resamples=10).values():
            assert math.isnan(interval.low) == math.isnan(interval.value)
            assert interval.n_undefined == (10 if math.isnan(interval.value) else 0)


def test_infinite_replicates_do_not_warn():
    y, f = values()
    f[0] = np.inf
    assert bootstrap(regression_scorer(y, f), n_resamples=50)["mae"].value == np.inf


def test_refusals():
    scorer = regression_scorer(*values())
    with pytest.raises(InputError, match="n_resamples is 0"):
        bootstrap(scorer, n_resamples=0)
    with pytest.raises(InputError, match="level is 95"):
        bootstrap(scorer, level=95)
    with pytest.raises(InputError, match="50 rows against 40"):
        bootstrap_difference(scorer, regression_scorer(*values(40)))
