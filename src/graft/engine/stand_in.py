"""A convex problem that is as hard to solve as the real one, made of the few vectors at hand."""

from __future__ import annotations

import numpy as np

from graft.tasks.task import ConvexProblem

ROWS_PER_CLASS = 3
CLASS_DISTANCE = 1.2
"""Standard deviations; measured: about as many penalties are tried as on real features."""


def problem_like(
    vectors: np.ndarray, problem: ConvexProblem, n: int
) -> tuple[np.ndarray, ConvexProblem]:
    """Return n rows that are as hard to solve as real ones, every class among them.

    Few vectors are at hand, so they are drawn again and again, blurred, and moved by their class.
    """
    random = np.random.default_rng(0)
    targets = problem.targets[_dealt(problem, n)]
    scale = vectors.std(0, keepdims=True)
    features = vectors[random.integers(0, len(vectors), n)]
    features = features + 0.5 * scale * random.standard_normal(features.shape)
    labels = targets if targets.ndim == 1 else targets.argmax(1)
    places = np.unique(labels, return_inverse=True)[1]
    moves = random.standard_normal((places.max() + 1, vectors.shape[1]))
    # about two standard deviations between classes, whatever the width: neither noise nor apart
    features = features + CLASS_DISTANCE / np.sqrt(moves.shape[1]) * scale * moves[places]
    loss, n_classes = problem.loss, problem.n_classes
    return features.astype(np.float32), ConvexProblem(loss, targets, n_classes)


def _dealt(problem: ConvexProblem, n: int) -> np.ndarray:
    """Return n rows in which each class comes as early as possible."""
    targets = problem.targets
    if problem.loss == "squared":
        return np.arange(n)
    labels = targets if targets.ndim == 1 else targets.argmax(1)
    order = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[order], labels[order])
    rank = np.empty(len(labels), np.int64)
    rank[order] = np.arange(len(labels)) - starts
    first = np.argsort(np.where(rank < ROWS_PER_CLASS, rank, ROWS_PER_CLASS), kind="stable")
    return first[:n]
