"""Verification across two sides: is this caption one of this picture's?

Every picture is paired with every caption. A pair is genuine if the caption is the picture's own,
else an impostor. Units are pictures, drawn with their captions: a genuine pair weighs the count of
its picture, an impostor the product of the counts of the picture and of the caption's own picture.

Conventions: A pictures, B captions, P = A · B pairs, U = A units.
"""

from __future__ import annotations

import numpy as np

from graft.metrics.ranking import tie_groups
from graft.metrics.verification import Pairs, Totals

MOST_PAIRS = 4_500_000
"""As many as 3,000 items of one kind have; of more pictures some are drawn."""


def pairs_across(
    images: np.ndarray,
    texts: np.ndarray,
    owner: np.ndarray,
    *,
    most: int = MOST_PAIRS,
    seed: int = 0,
) -> Pairs:
    """Return all pairs of a picture and a caption with their inner products, sorted once.

    Args:
        images: (A, D), of length one for cosines.
        texts: (B, D), likewise.
        owner: (B,) the picture of each caption.
        most: pairs; of more, so many pictures are drawn that about so many are left.
        seed: of that draw.
    """
    images, texts = np.asarray(images, np.float32), np.asarray(texts, np.float32)
    if len(images) * len(texts) > most:
        n = max(2, int(len(images) * (most / (len(images) * len(texts))) ** 0.5))
        rows = np.sort(np.random.default_rng(seed).choice(len(images), n, replace=False))
        kept = np.isin(owner, rows)
        images, texts, owner = images[rows], texts[kept], np.searchsorted(rows, owner[kept])
    n = len(images)
    score = (images @ texts.T).ravel()
    order = np.argsort(-score, kind="stable")
    score, picture = score[order], np.repeat(np.arange(n), len(texts))[order]
    other = np.tile(owner, n)[order]
    starts, _ = tie_groups(score)
    genuine = picture == other
    return Pairs(
        score,
        genuine,
        picture,
        np.where(genuine, n, other),
        np.append(starts[1:], len(score)).astype(np.int64)[: len(starts)] - 1,
        n + len(texts),
        n,
        "pictures",
        _totals(np.bincount(owner, minlength=n).astype(np.float64)),
    )


def _totals(n_texts: np.ndarray) -> Totals:
    """Return what all pairs weigh where each picture has (A,) captions."""

    def totals(weights: np.ndarray) -> tuple[float, float]:
        every = weights.sum() * (weights @ n_texts)
        return float(weights @ n_texts), float(every - weights**2 @ n_texts)

    return totals
