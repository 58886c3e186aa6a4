"""Whether pictures find their captions, and captions their pictures.

Each picture is searched among all captions and each caption among all pictures, by cosine. A
picture that comes twice in a resample brings its captions with it, so intervals know that captions
of one picture are no independent rows.

Shapes: U pictures, V captions, T pairs, D width, R resamples.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from graft.metrics.scorer import Scorer, ratio, undefined_scorer
from graft.neighbours import normalised

BLOCK = 512
AT = (1, 5, 10)
SIDES = ("image_to_text", "text_to_image")
NAMES = tuple(
    f"{side}_{name}" for side in SIDES for name in (*(f"recall_at_{k}" for k in AT), "mrr")
)


def matching_scorer(truth: object, embeddings: np.ndarray) -> Scorer:
    """Prepare recall at 1, 5 and 10 and the mean reciprocal rank, in both directions.

    Args:
        truth: `Tuples` of (T, 2) members: a picture and a caption; every picture has a number
            below every caption.
        embeddings: (U + V, D), of the pictures and then of the captions.
    """
    members: np.ndarray = getattr(truth, "members")  # noqa: B009 - metrics know no tables
    n_images = int(members[:, 0].max()) + 1 if len(members) else 0
    unit = normalised(np.asarray(embeddings, np.float32))
    if not len(members) or not np.isfinite(unit).all():
        return undefined_scorer(n_images, NAMES)
    pairs = members - [[0, n_images]]
    images, texts = unit[:n_images], unit[n_images:]
    image_of = np.zeros(len(texts), np.int64)
    image_of[pairs[::-1, 1]] = pairs[::-1, 0]  # a caption of several pictures counts with its first
    found = (
        (ranks(images, texts, pairs), np.arange(n_images)),
        (ranks(texts, images, pairs[:, ::-1]), image_of),
    )

    def weigh(weights: np.ndarray) -> dict[str, np.ndarray]:
        scores: dict[str, np.ndarray] = {}
        for side, (rank, owner) in zip(SIDES, found, strict=True):
            own = weights[:, owner]
            for name, value in _of_ranks(rank).items():
                scores[f"{side}_{name}"] = ratio(own @ value, own.sum(1))
        return scores

    return Scorer(n_images, weigh)


def ranks(queries: np.ndarray, searched: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Return the rank (Q,) of the first of each query's own among all that is searched, from 1.

    What is as near as the query's own stands before it: a model that gives everything the same
    vector has found nothing.

    Args:
        queries: (Q, D) of length one.
        searched: (G, D) of length one.
        pairs: (T, 2) a query and one of its own; every query has one.
    """
    found = np.zeros(len(queries), np.int64)
    for start in range(0, len(queries), BLOCK):
        block = queries[start : start + BLOCK] @ searched.T
        mine = (pairs[:, 0] >= start) & (pairs[:, 0] < start + BLOCK)
        is_own = np.zeros(block.shape, bool)
        is_own[pairs[mine, 0] - start, pairs[mine, 1]] = True
        best = np.where(is_own, block, -np.inf).max(1, keepdims=True)
        found[start : start + BLOCK] = 1 + ((block >= best) & ~is_own).sum(1)
    return found


def chance(n_own: int, n_searched: int, at: int) -> float:
    """Return how often one of n_own stands among the first `at` of n_searched in random order.

    >>> round(chance(1, 100, 10), 3), round(chance(5, 500, 10), 3)
    (0.1, 0.096)
    """
    missed = 1.0
    for i in range(min(at, n_searched)):
        missed *= max(n_searched - n_own - i, 0) / (n_searched - i)
    return 1 - missed


def _of_ranks(rank: np.ndarray) -> Mapping[str, np.ndarray]:
    return {**{f"recall_at_{k}": (rank <= k).astype(float) for k in AT}, "mrr": 1 / rank}
