"""Calibration: whether a confidence of 0.8 is right in 8 of 10 cases.

The confidence of a prediction is its highest probability. Confidences fall into B bins of equal
width, open below and closed above: (0, 1/B], (1/B, 2/B], ... With share of examples w_b, mean
confidence c_b and accuracy a_b in bin b,

    ECE = sum_b w_b |a_b - c_b|

Source: C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, On Calibration of Modern Neural Networks
(2017), equation 3, with their 15 bins. G. W. Brier, Monthly Weather Review 78 (1950).
"""

from __future__ import annotations

import numpy as np

from graft.errors import InputError
from graft.metrics.scorer import ratio
from graft.metrics.tallies import sum_by
from graft.records import ReliabilityBin

N_BINS = 15


def reliability_table(
    labels: np.ndarray, probabilities: np.ndarray, *, n_bins: int = N_BINS
) -> tuple[ReliabilityBin, ...]:
    """Return the bins behind the expected calibration error, lowest confidence first.

    Args:
        labels: (N,) class numbers.
        probabilities: (N, C).
        n_bins: number of bins, at least 1.
    """
    confidence, bins, edges = _confidences(probabilities, n_bins)
    right = probabilities.argmax(1) == labels
    counts = np.bincount(bins, minlength=n_bins)
    means = ratio(np.bincount(bins, confidence, minlength=n_bins), counts)
    accuracies = ratio(np.bincount(bins, right, minlength=n_bins), counts)
    return tuple(
        ReliabilityBin(
            low=float(edges[b]),
            high=float(edges[b + 1]),
            n_rows=int(counts[b]),
            confidence=float(means[b]),
            accuracy=float(accuracies[b]),
        )
        for b in range(n_bins)
    )


def expected_calibration_error(
    labels: np.ndarray, probabilities: np.ndarray, *, n_bins: int = N_BINS
) -> float:
    """Return the mean distance of confidence from accuracy over bins of equal width.

    Args:
        labels: (N,) class numbers.
        probabilities: (N, C).
        n_bins: number of bins, at least 1.

    Returns:
        0 to 1; 0 is calibrated as far as the bins can tell. NaN without examples.
    """
    ones = np.ones((1, len(labels)))
    return float(weigh_calibration(labels, probabilities, ones, n_bins=n_bins)[0])


def weigh_calibration(
    labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray, *, n_bins: int = N_BINS
) -> np.ndarray:
    """Return the expected calibration error (R,) under weights (R, N)."""
    confidence, bins, _ = _confidences(probabilities, n_bins)
    surplus = (probabilities.argmax(1) == labels) - confidence
    gaps = np.abs(sum_by(bins, weights * surplus, n_bins)).sum(axis=1)
    return ratio(gaps, weights.sum(axis=1))


def brier_score(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the mean squared error of the probabilities.

    Args:
        labels: (N,) class numbers.
        probabilities: (N, C).

    Returns:
        0 to 2, the sum over classes; of two classes half of it, 0 to 1, which is the squared error
        of one probability (scikit-learn's `scale_by_half="auto"`). NaN without examples.
    """
    return float(ratio(squared_errors(labels, probabilities).sum(), np.asarray(len(labels))))


def squared_errors(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return the terms (N,) whose mean is the Brier score."""
    probabilities = np.asarray(probabilities, dtype=np.float64)
    truth = labels[:, None] == np.arange(probabilities.shape[1])
    total = np.square(probabilities - truth).sum(axis=1)
    return total / 2 if probabilities.shape[1] == 2 else total


def _confidences(
    probabilities: np.ndarray, n_bins: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return confidence (N,), its bin (N,) and the edges (B + 1,)."""
    if n_bins < 1:
        raise InputError(f"n_bins is {n_bins}: give at least 1")
    edges = np.arange(n_bins + 1) / n_bins
    confidence = np.asarray(probabilities, dtype=np.float64).max(axis=1)
    # Compared with the edges themselves: confidence * n_bins would round across them.
    bins = np.searchsorted(edges, confidence, side="left") - 1
    return confidence, np.clip(bins, 0, n_bins - 1), edges
