"""Regression metrics against scikit-learn and scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as oracle

from graft.errors import InputError
from graft.metrics.regression import midranks, regression_metrics, regression_scorer
from graft.metrics.undefined import gaps


def draw(n=200, decimals=1, scale=1.0, shift=0.0):
    rng = np.random.default_rng(0)
    y = np.round(rng.normal(size=n), decimals)
    return y * scale + shift, np.round(y + rng.normal(size=n), decimals) * scale + shift


@pytest.mark.parametrize("decimals", [0, 1, 9])
@pytest.mark.parametrize(("scale", "shift"), [(1, 0), (1e-6, 0), (1, 1e6), (1e8, -3)])
def test_equals_scikit_learn_and_scipy(decimals, scale, shift):
    y, f = draw(decimals=decimals, scale=scale, shift=shift)
    expected = {
        "mae": oracle.mean_absolute_error(y, f),
        "rmse": oracle.root_mean_squared_error(y, f),
        "r2": oracle.r2_score(y, f),
        "pearson": stats.pearsonr(y, f).statistic,
        "spearman": stats.spearmanr(y, f).statistic,
    }
    assert regression_metrics(y, f) == pytest.approx(expected, rel=1e-6)


def test_several_targets_are_averaged():
    y, f = draw()
    both = regression_metrics(np.stack([y, y], 1), np.stack([f, y], 1))
    one, other = regression_metrics(y, f), regression_metrics(y, y)
    assert both == pytest.approx({name: (one[name] + other[name]) / 2 for name in one})


def test_weighted_ranks_are_those_of_repeated_rows():
    y, _ = draw(n=40)
    counts = np.random.default_rng(1).integers(4, size=40)
    found = midranks(y, counts[None].astype(float))[0]
    np.testing.assert_allclose(np.repeat(found, counts), stats.rankdata(np.repeat(y, counts)))


def test_predicting_the_mean_explains_nothing():
    y, _ = draw()
    found = regression_metrics(y, np.full_like(y, y.mean()))
    assert found["r2"] == pytest.approx(0, abs=1e-12)
    assert found["rmse"] == pytest.approx(y.std())
    assert math.isnan(found["pearson"]) and math.isnan(found["spearman"])
    (gap,) = gaps("regression", y, np.full_like(y, y.mean()))
    assert gap.metrics == ("pearson", "spearman")


@pytest.mark.parametrize("value", [0.0, 0.1, 1e9 / 3, -7e-12])
def test_constant_targets_are_nan_under_any_weights(value):
    _, f = draw(n=30)
    y = np.full(30, value)
    weights = np.random.default_rng(0).integers(3, size=(20, 30)).astype(float)
    found = regression_scorer(y, f).weigh(weights)
    for name in ("r2", "pearson", "spearman"):
        assert np.isnan(found[name]).all()
    assert [gap.metrics for gap in gaps("regression", y, f)] == [("r2", "pearson", "spearman")]


def test_resamples_of_one_value_are_nan():
    y, f = np.array([0.1, 0.1, 0.1, 0.7, 0.3]), np.arange(5.0)
    weights = np.array([[3.0, 1, 7, 0, 0], [0, 0, 0, 9, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]])
    assert np.isnan(regression_scorer(y, f).weigh(weights)["r2"]).tolist() == [
        True,
        True,
        False,
        True,
    ]


def test_infinite_predictions_do_not_warn():
    y, f = draw()
    f[3] = np.inf
    found = regression_metrics(y, f)
    assert found["mae"] == np.inf and found["r2"] == -np.inf


def test_refusals():
    y, f = draw()
    with pytest.raises(InputError, match="do not fit"):
        regression_scorer(y[1:], f)
    assert gaps("regression", y[:1], f[:1])[0].reason == "only one example"
    assert gaps("regression", y, f) == ()
