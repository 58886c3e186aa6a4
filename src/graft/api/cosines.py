"""Cosines of pairs that belong together and of pairs that do not: counted, told apart, traded.

Pure functions of arrays. Shapes: P pairs, Q false-accept rates.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from graft.metrics.verification import Pairs, roc, tar_at, threshold_at
from graft.report.facts_embedding import CosineCounts, Operating

N_BINS = 40

PER_DECADE = 20
"""Points of a curve for each power of ten of the false-accept rate."""


def best_threshold(alike: np.ndarray, unlike: np.ndarray) -> tuple[float, float]:
    """Return the cosine that tells pairs apart best, and its balanced accuracy.

    Pairs of that cosine or more are taken to belong together. It lies in the middle between two
    cosines that occur; of equally good ones the lowest is taken.

    Args:
        alike: (P,) cosines of pairs that belong together, at least one.
        unlike: (P',) of pairs that do not, at least one.
    """
    found = np.unique(np.concatenate([alike, unlike]))
    accuracies = balanced_accuracy(alike, unlike)(found)
    best = int(accuracies.argmax())
    below = found[max(best - 1, 0)]
    return float((found[best] + below) / 2), float(accuracies[best])


def balanced_accuracy(alike: np.ndarray, unlike: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function from thresholds to the mean of both kinds' shares that are told right."""
    high, low = np.sort(alike), np.sort(unlike)

    def accuracy(thresholds: np.ndarray) -> np.ndarray:
        kept = 1 - np.searchsorted(high, thresholds, side="left") / len(high)
        refused = np.searchsorted(low, thresholds, side="left") / len(low)
        return (kept + refused) / 2

    return accuracy


def counted(
    alike: np.ndarray,
    unlike: np.ndarray,
    ends: tuple[float, float],
) -> CosineCounts:
    """Count cosines in bins, and tell the two kinds apart by the best threshold on them.

    Args:
        alike: (P,) cosines of pairs that belong together, at least one.
        unlike: (P',) of pairs that do not, at least one.
        ends: of the bins; no cosine lies outside.
    """
    chosen, accuracy = best_threshold(alike, unlike)
    bins = np.linspace(*ends, N_BINS + 1)
    one, other = (tuple(np.histogram(c, bins)[0].tolist()) for c in (alike, unlike))
    return CosineCounts(ends[0], ends[1], one, other, chosen, accuracy)


def ends_of(*cosines: np.ndarray) -> tuple[float, float]:
    """Return round ends of bins that hold all cosines."""
    low = min(float(c.min()) for c in cosines)
    high = max(float(c.max()) for c in cosines)
    low, high = np.floor(10 * low) / 10, np.ceil(10 * high) / 10
    return float(low), float(max(high, low + 0.1))


def operating(pairs: Pairs) -> tuple[Operating, ...]:
    """Return what thresholds accept, from the FAR of a single pair to all, evenly by its logarithm.

    The curve is one of steps: a point says what can be had at most at its FAR.
    """
    curve = roc(pairs)
    n = int(PER_DECADE * np.log10(pairs.n_impostors) + 1e-9)
    fars = 10.0 ** (-np.arange(n, -1, -1) / PER_DECADE)
    return tuple(
        Operating(float(far), round(tar_at(curve, far), 5), round(threshold_at(curve, far), 5))
        for far in fars
    )
