"""Counts of decisions per class, and the metrics that need nothing else.

With h hits, s examples of the class (support) and p predictions of it:
recall = h / s,  precision = h / p,  F1 = 2 h / (s + p).
Micro averages pool the counts of all classes; macro averages are means over classes for which the
ratio is defined. Source: C. J. van Rijsbergen, Information Retrieval (1979), chapter 7.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graft.metrics.scorer import mean_defined, ratio


@dataclass(frozen=True, eq=False)
class Tallies:
    """Hold weighted counts, each (R, C): per class, for every row of weights.

    Args:
        hits: examples of the class that were predicted as it.
        support: examples of the class.
        predicted: predictions of the class.
    """

    hits: np.ndarray
    support: np.ndarray
    predicted: np.ndarray

    def recall(self) -> np.ndarray:
        """Return (R, C), NaN where a class has no example."""
        return ratio(self.hits, self.support)

    def precision(self) -> np.ndarray:
        """Return (R, C), NaN where a class is never predicted."""
        return ratio(self.hits, self.predicted)

    def f1(self) -> np.ndarray:
        """Return (R, C), NaN where a class neither occurs nor is predicted."""
        return ratio(2 * self.hits, self.support + self.predicted)

    def macro_recall(self) -> np.ndarray:
        """Return (R,)."""
        return mean_defined(self.recall().T)

    def macro_f1(self) -> np.ndarray:
        """Return (R,)."""
        return mean_defined(self.f1().T)

    def micro_f1(self) -> np.ndarray:
        """Return (R,)."""
        return ratio(2 * self.hits.sum(1), self.support.sum(1) + self.predicted.sum(1))


def tally_classes(
    labels: np.ndarray, predicted: np.ndarray, n_classes: int, weights: np.ndarray
) -> Tallies:
    """Count class numbers (N,) against class numbers (N,) under weights (R, N)."""
    right = labels == predicted
    return Tallies(
        hits=sum_by(labels[right], weights[:, right], n_classes),
        support=sum_by(labels, weights, n_classes),
        predicted=sum_by(predicted, weights, n_classes),
    )


def tally_labels(labels: np.ndarray, predicted: np.ndarray, weights: np.ndarray) -> Tallies:
    """Count decisions (N, C) against labels (N, C), both boolean, under weights (R, N)."""
    kind = weights.dtype
    return Tallies(
        hits=weights @ (labels & predicted).astype(kind),
        support=weights @ labels.astype(kind),
        predicted=weights @ predicted.astype(kind),
    )


def sum_by(codes: np.ndarray, weights: np.ndarray, n_codes: int) -> np.ndarray:
    """Return (R, n_codes): the weights (R, N) summed by code (N,) of their row."""
    sums = np.zeros((len(weights), n_codes))
    order = np.argsort(codes, kind="stable")
    present, starts = np.unique(codes[order], return_index=True)
    if len(present):
        sums[:, present] = np.add.reduceat(weights.take(order, axis=1), starts, axis=1)
    return sums
