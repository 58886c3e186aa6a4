"""What features know before anything is trained: answers by class means and by neighbours.

Pure functions of arrays. Shapes: N known rows, M queries, D feature width, C classes, T targets.
"""

from __future__ import annotations

import numpy as np

BLOCK = 1024
"""Queries compared at once: a block of similarities takes BLOCK · N numbers."""


def nearest_mean(
    features: np.ndarray, labels: np.ndarray, queries: np.ndarray, n_classes: int
) -> np.ndarray:
    """Score queries by cosine similarity to the mean of each class.

    Args:
        features: (N, D) of the known rows.
        labels: (N,) their classes.
        queries: (M, D).
        n_classes: C.

    Returns:
        (M, C) probabilities, the softmax of ten times the similarities.
    """
    unit = normalised(features)
    means = np.stack([unit[labels == c].mean(0) for c in range(n_classes)])
    scores = 10 * normalised(queries) @ normalised(means).T
    scores -= scores.max(1, keepdims=True)
    exponentials = np.exp(scores)
    return exponentials / exponentials.sum(1, keepdims=True)


def nearest_average(
    features: np.ndarray, targets: np.ndarray, queries: np.ndarray, n_neighbours: int = 10
) -> np.ndarray:
    """Average the targets of the nearest known rows by cosine similarity.

    Args:
        features: (N, D) of the known rows.
        targets: (N,) or (N, T) numbers, or zeros and ones.
        queries: (M, D).
        n_neighbours: how many are averaged; all N where there are fewer.

    Returns:
        (M,) or (M, T).
    """
    known = normalised(features)
    k = min(n_neighbours, len(known))
    found = []
    for start in range(0, len(queries), BLOCK):
        similarities = normalised(queries[start : start + BLOCK]) @ known.T
        nearest = np.argpartition(-similarities, k - 1, axis=1)[:, :k]
        found.append(targets[nearest].mean(1))
    return np.concatenate(found) if found else targets[:0].astype(np.float64)


def closest(features: np.ndarray, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the known row of the highest cosine similarity to each query.

    Args:
        features: (N, D) of the known rows, N at least 1.
        queries: (M, D).

    Returns:
        (M,) int64 number of the row, the first of equals; (M,) its similarity.
    """
    known = normalised(features)
    rows, cosines = np.zeros(len(queries), np.int64), np.zeros(len(queries))
    for start in range(0, len(queries), BLOCK):
        similarities = normalised(queries[start : start + BLOCK]) @ known.T
        block = slice(start, start + len(similarities))
        rows[block], cosines[block] = similarities.argmax(1), similarities.max(1)
    return rows, cosines


def normalised(vectors: np.ndarray) -> np.ndarray:
    """Return vectors (N, D) of length one; one of length zero stays what it is."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
