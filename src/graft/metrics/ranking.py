"""Metrics of a ranking: area under the ROC curve and average precision, ties counted right.

With positives weighing v and negatives u in all, over groups g of equal score, best first, each
holding positives p_g and negatives n_g, and P_g, N_g their sums up to and with g:

    AUROC = sum_g p_g (u - N_{g-1} - n_g / 2) / (v u)          AP = sum_g p_g P_g / (P_g + N_g) / v

AUROC is the chance that a random positive outranks a random negative, half a point for a tie.
Source: J. A. Hanley and B. J. McNeil, Radiology 143 (1982); AP without interpolation as in
scikit-learn and TREC: E. M. Voorhees and D. K. Harman, TREC (2005), chapter 3.

Only groups that hold positives enter the sums, so after one sort the rows are summed in segments
between such groups; this is what makes a thousand resamples cheap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from graft.metrics.scorer import mean_defined, ratio


@dataclass(frozen=True, eq=False)
class Ranking:
    """Hold one class against the rest, sorted once from the highest score down.

    Args:
        order: (N,) rows, best first.
        edges: (S + 1,) places in `order`, from 0 to N, at which a group with positives begins or
            ends.
        begins: (G,) where in `edges` each group with positives begins.
        ends: (G,) where in `edges` it ends.
        positives: (P,) the positive rows, best first; none if the scores hold a NaN.
        firsts: (G,) where in `positives` each group begins.
    """

    order: np.ndarray
    edges: np.ndarray
    begins: np.ndarray
    ends: np.ndarray
    positives: np.ndarray
    firsts: np.ndarray


@dataclass(frozen=True, eq=False)
class Ranked:
    """Hold what a ranking is worth, (R,) each; NaN where it is not defined."""

    auroc: np.ndarray
    average_precision: np.ndarray


def rank(positive: np.ndarray, scores: np.ndarray) -> Ranking:
    """Sort one class against the rest.

    Args:
        positive: (N,) boolean.
        scores: (N,) higher means more probably positive.
    """
    scores = np.asarray(scores, dtype=np.float64)
    positive = np.asarray(positive, dtype=bool)
    if np.isnan(scores).any():
        positive = np.zeros_like(positive)
    order = np.argsort(-scores, kind="stable")
    starts, group = tie_groups(scores[order])
    hit = np.flatnonzero(positive[order])
    held, firsts = np.unique(group[hit], return_index=True)
    begin, end = starts[held], np.append(starts[1:], len(scores))[held]
    edges = np.unique(np.concatenate([[0, len(scores)], begin, end]))
    return Ranking(
        order=order,
        edges=edges,
        begins=np.searchsorted(edges, begin),
        ends=np.searchsorted(edges, end),
        positives=order[hit],
        firsts=firsts,
    )


def tie_groups(ordered: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where runs of equal values (N,) begin (G,), and the run of each value (N,)."""
    new = np.ones(len(ordered), dtype=bool)
    new[1:] = ordered[1:] != ordered[:-1]
    return np.flatnonzero(new), np.cumsum(new) - 1


def rank_columns(positive: np.ndarray, scores: np.ndarray) -> tuple[Ranking, ...]:
    """Sort each column of `positive` (N, K), boolean, by that of `scores` (N, K)."""
    return tuple(rank(positive[:, k], scores[:, k]) for k in range(scores.shape[1]))


def rank_classes(labels: np.ndarray, probabilities: np.ndarray) -> tuple[Ranking, ...]:
    """Sort each class against the rest; of two classes only the second, as they mirror."""
    n_classes = probabilities.shape[1]
    classes = np.arange(1 if n_classes == 2 else 0, n_classes)
    return rank_columns(labels[:, None] == classes, probabilities[:, classes])


def weigh(ranking: Ranking, weights: np.ndarray) -> Ranked:
    """Return AUROC and average precision under weights (R, N)."""
    if not len(ranking.positives):
        nothing = np.full(len(weights), np.nan)
        return Ranked(auroc=nothing, average_precision=nothing)
    sorted_weights = weights.take(ranking.order, axis=1)
    seen = np.zeros((len(weights), len(ranking.edges)))
    np.add.reduceat(sorted_weights, ranking.edges[:-1], axis=1).cumsum(axis=1, out=seen[:, 1:])
    above, upto = seen.take(ranking.begins, axis=1), seen.take(ranking.ends, axis=1)
    hits = weights.take(ranking.positives, axis=1).astype(np.float64)
    if len(ranking.firsts) < len(ranking.positives):
        hits = np.add.reduceat(hits, ranking.firsts, axis=1)
    hits_upto = hits.cumsum(axis=1)
    positive = hits_upto[:, -1]
    negative = seen[:, -1] - positive
    # Positives among themselves win half of their pairs, so the sum over negatives is what is left.
    lost = np.einsum("rg,rg->r", hits, above) / 2 + np.einsum("rg,rg->r", hits, upto) / 2
    wins = positive * (negative + positive / 2) - lost
    precision = np.divide(hits_upto, upto, out=np.zeros_like(upto), where=upto > 0)
    return Ranked(
        auroc=ratio(wins, positive * negative),
        average_precision=ratio(np.einsum("rg,rg->r", hits, precision), positive),
    )


def weigh_macro(rankings: Sequence[Ranking], weights: np.ndarray) -> Ranked:
    """Return the means over the rankings that are defined, for each row of weights (R, N)."""
    each = [weigh(ranking, weights) for ranking in rankings]
    return Ranked(
        auroc=mean_defined(r.auroc for r in each),
        average_precision=mean_defined(r.average_precision for r in each),
    )


def binary_auroc(positive: np.ndarray, scores: np.ndarray) -> float:
    """Return the area under the ROC curve of `scores` (N,) for `positive` (N,).

    Returns:
        0 to 1, chance is 0.5; NaN unless both kinds of example occur.

    >>> binary_auroc(np.array([False, True, True]), np.array([0.1, 0.1, 0.9]))
    0.75
    """
    return float(weigh(rank(positive, scores), np.ones((1, len(scores)))).auroc[0])


def binary_average_precision(positive: np.ndarray, scores: np.ndarray) -> float:
    """Return the average precision of `scores` (N,) for `positive` (N,).

    Returns:
        0 to 1, chance is the share of positives; NaN without positives.
    """
    return float(weigh(rank(positive, scores), np.ones((1, len(scores)))).average_precision[0])


def auroc(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the area under the ROC curve, each class against the rest, the mean over classes.

    Args:
        labels: (N,) class numbers.
        probabilities: (N, C) scores; of two classes the second counts as positive.

    Returns:
        0 to 1, chance is 0.5. Classes without examples, or without counter-examples, are left out
        of the mean; NaN if none remains.
    """
    rankings = rank_classes(labels, probabilities)
    return float(weigh_macro(rankings, np.ones((1, len(labels)))).auroc[0])


def average_precision(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the average precision, each class against the rest, the mean over classes.

    Args:
        labels: (N,) class numbers.
        probabilities: (N, C) scores; of two classes the second counts as positive.

    Returns:
        0 to 1. Classes without examples are left out of the mean; NaN if none remains.
    """
    rankings = rank_classes(labels, probabilities)
    return float(weigh_macro(rankings, np.ones((1, len(labels)))).average_precision[0])
