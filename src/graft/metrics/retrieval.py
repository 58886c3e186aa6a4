"""Retrieval: how well a ranking of a gallery serves each query.

With rel(i) whether the answer at rank i is relevant, R the number of relevant items of a query and
P(i) the share of relevant ones among the first i:

    hit rate at k   1 if any of the first k is relevant ("R@k" in metric learning)
    recall at k     relevant among the first k, over R
    mAP@R           1/R sum_{i<=R} P(i) rel(i)
    MRR             mean of 1 / rank of the first relevant
    nDCG@k          sum_{i<=k} g(i) / log2(i + 1), over the same sum of the best order; g the grade

Source: for mAP@R K. Musgrave, S. Belongie and S.-N. Lim, A Metric Learning Reality Check, ECCV
(2020); for nDCG, with gains equal to grades, K. Järvelin and J. Kekäläinen, Cumulated gain-based
evaluation of IR techniques, TOIS 20 (2002). Equal scores are in the order of the gallery, whatever
is relevant.

A query for which nothing is relevant says nothing about a ranking: it is counted and left out.
Blocks of queries are ranked at a time, so Q × N scores are never held.

Conventions: Q queries, N items of the gallery, D width, R resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from graft.errors import InputError
from graft.metrics.scorer import Scorer, ratio

KS = (1, 5, 10)
BLOCK_NUMBERS = 2**22
"""Scores ranked at once: 32 MB in float64."""

Grades = Callable[[np.ndarray], np.ndarray]
"""Maps numbers of queries (B,) to grades (B, N): 0 for what is not relevant."""


@dataclass(frozen=True, eq=False)
class Ranked:
    """Hold what each query's ranking is worth.

    Args:
        values: name → (Q,), NaN for a query without anything relevant.
        n_without: how many such queries there are.
    """

    values: dict[str, np.ndarray]
    n_without: int

    def means(self) -> dict[str, float]:
        """Return the mean of every metric over the queries that count; NaN if none does."""
        return {name: _mean(x) for name, x in self.values.items()}


def retrieval(vectors: np.ndarray, labels: np.ndarray, *, ks: Sequence[int] = KS) -> Ranked:
    """Rank, for each item, all other items by inner product; those of its class are relevant.

    Args:
        vectors: (N, D), of length one for cosines.
        labels: (N,) classes.
        ks: depths of hit rate, recall and nDCG.

    Raises:
        InputError: the shapes do not fit, a vector is not finite, or a depth is below 1.

    >>> corners = np.array([[1.0, 0], [0.9, 0.1], [0, 1], [0.1, 0.9]])
    >>> retrieval(corners, np.array(["a", "a", "b", "b"]), ks=(1,)).means()["map_at_r"]
    1.0
    """
    labels = np.asarray(labels)
    _check(vectors, vectors, len(labels), ks)

    def grades(rows: np.ndarray) -> np.ndarray:
        return labels[rows, None] == labels[None, :]

    return retrieval_graded(vectors, vectors, grades, ks=ks, own=np.arange(len(labels)))


def retrieval_graded(
    queries: np.ndarray,
    gallery: np.ndarray,
    grades: Grades,
    *,
    ks: Sequence[int] = KS,
    own: np.ndarray | None = None,
) -> Ranked:
    """Rank a gallery for each query by inner product.

    Args:
        queries: (Q, D).
        gallery: (N, D).
        grades: of numbers of queries (B,), grades (B, N); above 0 is relevant.
        ks: depths of hit rate, recall and nDCG.
        own: (Q,) place of each query in the gallery, where it is left out of its own ranking; -1
            where it is not there.

    Raises:
        InputError: the shapes do not fit, a vector is not finite, or a depth is below 1.
    """
    _check(queries, gallery, len(queries), ks)
    queries, gallery = np.asarray(queries, np.float64), np.asarray(gallery, np.float64)
    blocks = []
    n_block = max(1, BLOCK_NUMBERS // max(len(gallery), 1))
    for start in range(0, len(queries), n_block):
        rows = np.arange(start, min(start + n_block, len(queries)))
        scores = queries[rows] @ gallery.T
        grade = np.asarray(grades(rows), np.float64)
        if own is not None:
            there = np.flatnonzero(own[rows] >= 0)
            itself = there, own[rows][there]
            scores[itself], grade[itself] = -np.inf, 0.0
        order = np.argsort(-scores, axis=1, kind="stable")
        blocks.append(_of_rankings(np.take_along_axis(grade, order, 1), ks))
    names = blocks[0] if blocks else _of_rankings(np.zeros((0, 1)), ks)
    values = {
        name: np.concatenate([b[name] for b in blocks]) if blocks else x
        for name, x in names.items()
    }
    return Ranked(values, int(np.isnan(values["mrr"]).sum()))


def retrieval_scorer(ranked: Ranked, units: np.ndarray | None = None) -> Scorer:
    """Return a scorer for intervals: queries are drawn again, or whole units of them.

    Args:
        ranked: of Q queries.
        units: (Q,) class or identity of each query. Queries of a class are alike, so an interval
            from single queries would be too narrow.
    """
    n_queries = len(next(iter(ranked.values.values())))
    codes, n_units = np.arange(n_queries), n_queries
    if units is not None:
        names, codes = np.unique(units, return_inverse=True)
        n_units = len(names)

    def weigh(weights: np.ndarray) -> dict[str, np.ndarray]:
        each = weights[:, codes]
        return {name: _weighted(each, x) for name, x in ranked.values.items()}

    return Scorer(n_units, weigh)


def _of_rankings(grades: np.ndarray, ks: Sequence[int]) -> dict[str, np.ndarray]:
    """Return every metric for grades (B, N) in the order of the ranking."""
    relevant = grades > 0
    n_relevant = relevant.sum(1)
    defined = np.where(n_relevant > 0, n_relevant, np.nan)
    n = relevant.shape[1]
    ranks = np.arange(1, n + 1)
    seen = np.cumsum(relevant, 1)
    inside = ranks <= n_relevant[:, None]
    found = {
        "map_at_r": (seen / ranks * relevant * inside).sum(1) / defined,
        "mrr": np.where(n_relevant > 0, 1 / (relevant.argmax(1) + 1.0), np.nan),
    }
    best = -np.sort(-grades, axis=1)
    for k in ks:
        upto = seen[:, min(k, n) - 1]
        found[f"hit_rate_at_{k}"] = np.where(n_relevant > 0, (upto > 0) * 1.0, np.nan)
        found[f"recall_at_{k}"] = upto / defined
        found[f"ndcg_at_{k}"] = ratio(
            _gain(grades, k), np.where(n_relevant > 0, _gain(best, k), 0.0)
        )
    return found


def _gain(grades: np.ndarray, k: int) -> np.ndarray:
    first = grades[:, :k]
    return first @ (1 / np.log2(np.arange(2, first.shape[1] + 2)))


def _mean(values: np.ndarray) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")


def _weighted(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    defined = ~np.isnan(values)
    kept = weights[:, defined].astype(np.float64)
    return ratio(kept @ values[defined], kept.sum(1))


def _check(queries: np.ndarray, gallery: np.ndarray, n: int, ks: Sequence[int]) -> None:
    shapes = np.shape(queries), np.shape(gallery)
    if any(len(s) != 2 for s in shapes) or shapes[0][1] != shapes[1][1] or shapes[0][0] != n:
        raise InputError(
            f"vectors {shapes[0]} and {shapes[1]} for {n:,} queries; pass (N, D) of one D"
        )
    if not (np.isfinite(queries).all() and np.isfinite(gallery).all()):
        raise InputError("a vector is not finite; leave out its row")
    if any(k < 1 for k in ks):
        raise InputError(f"a depth is {min(ks)}; pass depths of at least 1")
