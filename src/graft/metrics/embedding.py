"""What an embedding is worth: who is found first, and whether scores agree.

Labelled items are searched among themselves, anchors among all positives and negatives; pairs with
a score are compared by it. Queries are resampled for intervals, the searched items stay.

Shapes: N items, D width, Q queries, G searched items, T pairs, R resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from graft.metrics.ranking import rank, weigh
from graft.metrics.regression import regression_scorer
from graft.metrics.retrieval import Ranked, retrieval, retrieval_graded
from graft.metrics.sampled_pairs import Truth
from graft.metrics.scorer import Scorer, ratio, undefined_scorer
from graft.neighbours import normalised

KS = (1, 10)
RETRIEVAL = {
    "recall_at_1": "hit_rate_at_1",
    "recall_at_10": "hit_rate_at_10",
    "map_at_r": "map_at_r",
    "mrr": "mrr",
    "ndcg_at_10": "ndcg_at_10",
}
"""name as metric learning has it (R@k: any of theirs among the first k) → name in `retrieval`."""
TRIPLETS = "triplet_accuracy"
SIMILARITY = ("spearman", "pearson")
PRECISION = "average_precision"


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
    unit = normalised(np.asarray(embeddings, np.float32))
    is_sound = bool(np.isfinite(unit).all())
    if isinstance(truth, np.ndarray):
        if not is_sound:
            return undefined_scorer(len(embeddings), RETRIEVAL)
        return _of_queries(search_labels(unit, truth))
    members, scores = truth.members, truth.scores
    if not is_sound:
        return undefined_scorer(len(members), RETRIEVAL if scores is None else SIMILARITY)
    if scores is None:
        return _of_queries(search_members(unit, members, truth.grades))
    cosines = np.einsum("td,td->t", unit[members[:, 0]], unit[members[:, 1]])
    if np.isin(scores, (0.0, 1.0)).all():
        return _of_alike(scores > 0, cosines)
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
    return _found(retrieval(unit, labels, ks=KS))


def search_members(
    unit: np.ndarray, members: np.ndarray, grades_of: np.ndarray | None = None
) -> Found:
    """Search each different anchor among all other members; relevant are its positives.

    Of triplets also say how often the positive is nearer than the negative.

    Args:
        unit: (N, D) of length one.
        members: (T, R) anchor, positive and perhaps negatives.
        grades_of: (T,) how relevant each positive is; 1 unless given.
    """
    queries, number = np.unique(members[:, 0], return_inverse=True)
    searched = np.unique(members[:, 1:])
    gains = np.ones(len(members)) if grades_of is None else grades_of
    place = np.searchsorted(searched, members[:, 1])

    def grades(rows: np.ndarray) -> np.ndarray:
        found = np.zeros((len(rows), len(searched)))
        mine = (number >= rows[0]) & (number <= rows[-1])
        np.maximum.at(found, (number[mine] - rows[0], place[mine]), gains[mine])
        return found

    # an anchor that is somebody's positive would find itself first, and that is no answer
    own = np.minimum(np.searchsorted(searched, queries), len(searched) - 1)
    own = np.where(searched[own] == queries, own, -1)
    found = _found(retrieval_graded(unit[queries], unit[searched], grades, ks=KS, own=own))
    if members.shape[1] < 3:
        return found
    near, far = (np.einsum("td,td->t", unit[members[:, 0]], unit[members[:, r]]) for r in (1, 2))
    right = np.bincount(number, near > far) / np.bincount(number)
    return Found({TRIPLETS: right, **found.scores})


def _found(ranked: Ranked) -> Found:
    return Found({name: ranked.values[source] for name, source in RETRIEVAL.items()})


def _of_queries(found: Found) -> Scorer:
    """Return the scorer of the mean over queries that have something to find."""
    values = np.stack(list(found.scores.values()))
    defined = ~np.isnan(values)
    filled = np.where(defined, values, 0.0)

    def mean(weights: np.ndarray) -> dict[str, np.ndarray]:
        means = ratio(weights @ filled.T, weights @ defined.T.astype(float))
        return {name: means[:, i] for i, name in enumerate(found.scores)}

    return Scorer(values.shape[1], mean)


def _of_alike(alike: np.ndarray, cosines: np.ndarray) -> Scorer:
    """Return the scorer of finding pairs that are alike (T,) among all by their cosine."""
    ranking = rank(alike, cosines)

    def tell(weights: np.ndarray) -> dict[str, np.ndarray]:
        return {PRECISION: weigh(ranking, weights).average_precision}

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
average_precision = _metric(PRECISION)
