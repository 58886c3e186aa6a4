"""What an embedding is worth: who is found first, and whether scores agree.

Labelled items are searched among themselves, anchors among all positives and negatives; pairs with
a score are compared by it. Queries are resampled for intervals, the searched items stay.

Shapes: N items, D width, Q queries, G searched items, T pairs, R resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from graft.metrics.ranking import rank, weigh
from graft.metrics.regression import regression_scorer
from graft.metrics.scorer import Scorer, ratio, undefined_scorer
from graft.neighbours import normalised

BLOCK = 512
RETRIEVAL = ("recall_at_1", "recall_at_10", "map_at_r", "mrr", "ndcg_at_10")
TRIPLETS = "triplet_accuracy"
SIMILARITY = ("spearman", "pearson")
VERIFICATION = ("auroc", "average_precision")


class Belonging(Protocol):
    """Say who belongs to whom, as `graft.data.tuples.Tuples` does."""

    @property
    def members(self) -> np.ndarray: ...

    @property
    def scores(self) -> np.ndarray | None: ...


Truth = np.ndarray | Belonging


@dataclass(frozen=True, eq=False)
class Found:
    """Hold what each of Q queries found, NaN where there was nothing to find.

    Args:
        scores: metric → (Q,).
    """

    scores: Mapping[str, np.ndarray]


def embedding_scorer(truth: Truth, embeddings: np.ndarray) -> Scorer:
    """Prepare the metrics of embeddings (N, D), compared by cosine.

    Args:
        truth: (N,) class numbers; or `Tuples`: pairs with scores, or whose first item shall find
            the second.
    """
    members = None if isinstance(truth, np.ndarray) else truth.members
    scores = None if isinstance(truth, np.ndarray) else truth.scores
    unit = normalised(np.asarray(embeddings, np.float32))
    if not np.isfinite(unit).all():
        n = len(embeddings) if members is None else len(members)
        return undefined_scorer(n, RETRIEVAL if scores is None else SIMILARITY)
    if members is None:
        return _of_queries(search_labels(unit, np.asarray(truth)))
    if scores is None:
        return _of_queries(search_members(unit, members))
    cosines = np.einsum("td,td->t", unit[members[:, 0]], unit[members[:, 1]])
    if np.isin(scores, (0.0, 1.0)).all():
        return _of_verification(scores > 0, cosines)
    agreement = regression_scorer(scores, cosines)

    def agree(weights: np.ndarray) -> dict[str, np.ndarray]:
        found = agreement.weigh(weights)
        return {name: found[name] for name in SIMILARITY}

    return Scorer(len(members), agree)


def search_labels(unit: np.ndarray, labels: np.ndarray) -> Found:
    """Search each item among all others; relevant are those of its class.

    Args:
        unit: (N, D) of length one.
        labels: (N,).
    """
    counts = np.unique(labels, return_inverse=True, return_counts=True)
    n_relevant = counts[2][counts[1]] - 1
    parts = []
    for start in range(0, len(unit), BLOCK):
        rows = np.arange(start, min(start + BLOCK, len(unit)))
        cosines = unit[rows] @ unit.T
        cosines[np.arange(len(rows)), rows] = -np.inf
        parts.append(
            _ranked(cosines, labels[rows][:, None] == labels[None], n_relevant[rows], rows)
        )
    return _joined(parts)


def search_members(unit: np.ndarray, members: np.ndarray) -> Found:
    """Search each different anchor among all other members; relevant are its positives.

    Of triplets also say how often the positive is nearer than the negative.

    Args:
        unit: (N, D) of length one.
        members: (T, R) anchor, positive and perhaps negatives.
    """
    queries, number = np.unique(members[:, 0], return_inverse=True)
    searched = np.unique(members[:, 1:])
    place = np.searchsorted(searched, members[:, 1])
    parts = []
    for start in range(0, len(queries), BLOCK):
        own = queries[start : start + BLOCK]
        cosines = unit[own] @ unit[searched].T
        relevant = np.zeros(cosines.shape, bool)
        mine = (number >= start) & (number < start + BLOCK)
        relevant[number[mine] - start, place[mine]] = True
        itself = own[:, None] == searched[None]
        cosines[itself], relevant[itself] = -np.inf, False
        parts.append(_ranked(cosines, relevant, relevant.sum(1), None))
    found = _joined(parts)
    if members.shape[1] < 3:
        return found
    near, far = (np.einsum("td,td->t", unit[members[:, 0]], unit[members[:, r]]) for r in (1, 2))
    right = np.bincount(number, near > far) / np.bincount(number)
    return Found({TRIPLETS: right, **found.scores})


def _ranked(
    cosines: np.ndarray, relevant: np.ndarray, n_relevant: np.ndarray, itself: np.ndarray | None
) -> dict[str, np.ndarray]:
    """Score a block of queries (B, G); equal cosines rank in the order of the items."""
    if itself is not None:
        relevant = relevant.copy()
        relevant[np.arange(len(itself)), itself] = False
    order = np.argsort(-cosines, axis=1, kind="stable")
    hits = np.take_along_axis(relevant, order, axis=1)
    ranks = np.arange(1, hits.shape[1] + 1)
    none = n_relevant == 0
    first = np.where(none, np.nan, hits.argmax(1) + 1.0)
    precision = np.cumsum(hits, axis=1) / ranks
    in_r = ranks[None] <= n_relevant[:, None]
    gains = 1 / np.log2(ranks[:10] + 1)
    ideal = np.cumsum(gains)[np.minimum(np.maximum(n_relevant, 1), len(gains)) - 1]
    found = {
        "recall_at_1": (first <= 1).astype(float),
        "recall_at_10": (first <= 10).astype(float),
        "map_at_r": (precision * hits * in_r).sum(1) / np.maximum(n_relevant, 1),
        "mrr": 1 / first,
        "ndcg_at_10": (hits[:, :10] * gains).sum(1) / ideal,
    }
    return {name: np.where(none, np.nan, values) for name, values in found.items()}


def _joined(parts: list[dict[str, np.ndarray]]) -> Found:
    return Found({name: np.concatenate([p[name] for p in parts]) for name in RETRIEVAL})


def _of_queries(found: Found) -> Scorer:
    """Return the scorer of the mean over queries that have something to find."""
    values = np.stack(list(found.scores.values()))
    defined = ~np.isnan(values)
    filled = np.where(defined, values, 0.0)

    def mean(weights: np.ndarray) -> dict[str, np.ndarray]:
        means = ratio(weights @ filled.T, weights @ defined.T.astype(float))
        return {name: means[:, i] for i, name in enumerate(found.scores)}

    return Scorer(values.shape[1], mean)


def _of_verification(alike: np.ndarray, cosines: np.ndarray) -> Scorer:
    """Return the scorer of telling pairs that are alike (T,) from others by their cosine."""
    ranking = rank(alike, cosines)

    def tell(weights: np.ndarray) -> dict[str, np.ndarray]:
        found = weigh(ranking, weights)
        return {"auroc": found.auroc, "average_precision": found.average_precision}

    return Scorer(len(cosines), tell)


def _metric(name: str) -> Callable[[Truth, np.ndarray], float]:
    """Return the function of one metric, NaN where the truth does not define it."""

    def metric(truth: Truth, embeddings: np.ndarray) -> float:
        return embedding_scorer(truth, embeddings).scores().get(name, float("nan"))

    metric.__name__ = name
    metric.__doc__ = f"Return `{name}` of embeddings (N, D); see `embedding_scorer`."
    return metric


triplet_accuracy = _metric(TRIPLETS)
recall_at_1, recall_at_10, map_at_r, mrr, ndcg_at_10 = map(_metric, RETRIEVAL)
spearman, pearson = map(_metric, SIMILARITY)
auroc, average_precision = map(_metric, VERIFICATION)
