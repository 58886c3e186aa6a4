"""Metrics of regression.

Shapes: N examples; targets and predictions (N,), or (N, T) for T targets, over which every metric
is averaged. Correlations and R² are NaN where a side is constant, one example included, and such
targets are left out of the average.
"""

from __future__ import annotations

import numpy as np

from graft.errors import InputError
from graft.metrics import METRICS
from graft.metrics.ranking import tie_groups
from graft.metrics.scorer import Scorer, mean_defined, ratio, undefined_scorer

# A spread below this share of the largest value is rounding, as in scipy.stats.pearsonr.
CONSTANT = 1e-13


def mae(targets: np.ndarray, predictions: np.ndarray) -> float:
    """Return the mean absolute error; NaN without examples."""
    return regression_metrics(targets, predictions)["mae"]


def rmse(targets: np.ndarray, predictions: np.ndarray) -> float:
    """Return the root of the mean squared error; NaN without examples."""
    return regression_metrics(targets, predictions)["rmse"]


def r2(targets: np.ndarray, predictions: np.ndarray) -> float:
    """Return 1 - sum (y - f)² / sum (y - mean y)², the share of the variance explained.

    Returns:
        At most 1; predicting the mean gives 0. NaN if the targets are constant (scikit-learn: 0 or
        1).
    """
    return regression_metrics(targets, predictions)["r2"]


def pearson(targets: np.ndarray, predictions: np.ndarray) -> float:
    """Return the linear correlation, -1 to 1; NaN if a side is constant."""
    return regression_metrics(targets, predictions)["pearson"]


def spearman(targets: np.ndarray, predictions: np.ndarray) -> float:
    """Return the linear correlation of the ranks, -1 to 1; NaN if a side is constant.

    Values that tie share the mean of their ranks. Source: C. Spearman (1904); the form for ties is
    that of M. G. Kendall, Rank Correlation Methods (1948), chapter 3.
    """
    return regression_metrics(targets, predictions)["spearman"]


def regression_scorer(targets: np.ndarray, predictions: np.ndarray) -> Scorer:
    """Prepare all metrics of regression.

    Args:
        targets: (N,) or (N, T).
        predictions: the same shape. A NaN on either side makes every metric NaN.

    Raises:
        InputError: the shapes do not fit.
    """
    targets, predictions = check_values(targets, predictions)
    if np.isnan(targets).any() or np.isnan(predictions).any():
        return undefined_scorer(len(targets), METRICS["regression"])
    pairs = tuple(zip(targets.T, predictions.T, strict=True))

    def score(weights: np.ndarray) -> dict[str, np.ndarray]:
        weights = weights.astype(np.float64)
        each = [_score_one(target, prediction, weights) for target, prediction in pairs]
        return {name: mean_defined(part[name] for part in each) for name in each[0]}

    return Scorer(n_rows=len(targets), weigh=score)


def regression_metrics(targets: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
    """Return all of them by name.

    Args:
        targets: (N,) or (N, T).
        predictions: the same shape.
    """
    return regression_scorer(targets, predictions).scores()


def check_values(targets: np.ndarray, predictions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both as (N, T) float64.

    Raises:
        InputError: the shapes do not fit.
    """
    targets = np.asarray(targets, dtype=np.float64)
    predictions = np.asarray(predictions, dtype=np.float64)
    if targets.shape != predictions.shape or targets.ndim not in (1, 2) or 0 in targets.shape[1:]:
        raise InputError(
            f"targets {targets.shape} and predictions {predictions.shape} do not fit: "
            "give (N,) or (N, T) twice"
        )
    if targets.ndim == 1:
        return targets[:, None], predictions[:, None]
    return targets, predictions


def _score_one(
    target: np.ndarray, prediction: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """Return name → (R,) for one target (N,) under weights (R, N)."""
    total = weights.sum(axis=1)
    with np.errstate(invalid="ignore", over="ignore"):
        error = prediction - target
        absolute = ratio(weights @ np.abs(error), total)
        squared = ratio(weights @ np.square(error), total)
        spread = _spread(_deviations(target[None], weights), weights)
        return {
            "mae": absolute,
            "rmse": np.sqrt(squared),
            "r2": 1 - ratio(squared * total, spread),
            "pearson": _correlation(target[None], prediction[None], weights),
            "spearman": _correlation(
                midranks(target, weights), midranks(prediction, weights), weights
            ),
        }


def _correlation(first: np.ndarray, second: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the correlation (R,) of values (R, N), or (1, N), under weights (R, N)."""
    a, b = _deviations(first, weights), _deviations(second, weights)
    joint = np.einsum("rn,rn,rn->r", weights, a, b)
    found = ratio(joint, np.sqrt(_spread(a, weights)) * np.sqrt(_spread(b, weights)))
    return np.clip(found, -1, 1)


def _deviations(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return (R, N): the values less their weighted mean."""
    if not values.size:
        return np.broadcast_to(values, weights.shape)
    # A shift by one of the values makes constant ones exactly zero.
    values = values - values[:, :1]
    mean = ratio((weights * values).sum(axis=1), weights.sum(axis=1))
    return values - mean[:, None]


def _spread(deviations: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the weighted sum of squares (R,), zero where only rounding is left."""
    spread = np.einsum("rn,rn,rn->r", weights, deviations, deviations)
    largest = np.abs(deviations).max(axis=1, initial=0)
    return np.where(spread > weights.sum(axis=1) * np.square(CONSTANT * largest), spread, 0.0)


def midranks(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the ranks (R, N) of values (N,), from 1, if each row occurs as often as it weighs."""
    if not len(values) or np.isnan(values).any():
        return np.full(weights.shape, np.nan)
    order = np.argsort(values, kind="stable")
    starts, group = tie_groups(values[order])
    sums = np.add.reduceat(weights.take(order, axis=1), starts, axis=1)
    ranks = sums.cumsum(axis=1) - (sums - 1) / 2
    place = np.empty_like(order)
    place[order] = group
    return ranks.take(place, axis=1)
