"""Hard negatives: for each pair the item that looks most like its positive and is none.

They are looked for once, before training, among the vectors of the model as it is: so a run that
is resumed trains on the same ones. To mine again with what has been learned, train on from the run.

Shapes: U items, D width, T pairs.
"""

from __future__ import annotations

import numpy as np

from graft.data.tuples import Tuples
from graft.neighbours import normalised

BLOCK = 512


def with_hard_negatives(vectors: np.ndarray, pairs: Tuples, margin: float) -> tuple[Tuples, int]:
    """Return each pair with a negative, as triplets, and how many pairs found none.

    The negative is the nearest of the items that stand second in some pair, of those that are less
    similar to the anchor than its positive by the margin: what is nearer may be a positive that
    nobody marked. Where none is left it is the least similar one. An anchor, and what any pair
    calls its positive, is never its negative.

    Args:
        vectors: (U, D) of the items.
        pairs: (T, 2) members.
        margin: in units of the cosine.

    Source: the margin to the positive as in Moreira et al. 2024, "NV-Retriever: Improving text
    embedding models with effective hard-negative mining".
    """
    unit = normalised(np.asarray(vectors, np.float32))
    anchors, positives = pairs.members[:, 0], pairs.members[:, 1]
    searched = np.unique(positives)
    place_of = np.searchsorted(searched, positives)
    order = np.argsort(anchors, kind="stable")
    starts = np.searchsorted(anchors[order], np.arange(len(unit) + 1))
    negatives, n_without = np.zeros(len(anchors), np.int64), 0
    for start in range(0, len(anchors), BLOCK):
        rows = np.arange(start, min(start + BLOCK, len(anchors)))
        cosines = unit[anchors[rows]] @ unit[searched].T
        limits = cosines[np.arange(len(rows)), place_of[rows]] - margin
        cosines[anchors[rows, None] == searched] = -np.inf
        for i, anchor in enumerate(anchors[rows].tolist()):
            own = order[starts[anchor] : starts[anchor + 1]]
            cosines[i, place_of[own]] = -np.inf
        fit = np.where(cosines < limits[:, None], cosines, -np.inf)
        found = fit.argmax(1)
        none = ~np.isfinite(fit[np.arange(len(rows)), found])
        if none.any():
            left = np.where(np.isfinite(cosines[none]), cosines[none], np.inf)
            found[none] = left.argmin(1)
            n_without += int(none.sum())
        negatives[rows] = searched[found]
    return Tuples(np.column_stack([pairs.members, negatives]), pairs.scores), n_without
