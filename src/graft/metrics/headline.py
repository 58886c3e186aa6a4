"""The metric that counts first for a task, alone: each resample of an interval costs a few sums.

All metrics of a task together sort and rank every class, which takes longer than a pass over the
rows where many models are compared.

Shapes: N examples, C classes or labels; weights (R, N).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from graft.errors import UnknownName
from graft.metrics.classification import check_classes
from graft.metrics.multilabel import check_labels, decide
from graft.metrics.regression import check_values
from graft.metrics.scorer import Scorer, ratio


def accuracy_scorer(labels: np.ndarray, probabilities: np.ndarray) -> Scorer:
    """Prepare the accuracy of class numbers (N,) and probabilities (N, C)."""
    labels, probabilities = check_classes(labels, probabilities)
    right = (probabilities.argmax(1) == labels).astype(np.float64)

    def score(weights: np.ndarray) -> dict[str, np.ndarray]:
        return {"accuracy": ratio(weights @ right, weights.sum(1))}

    return Scorer(len(labels), score)


def micro_f1_scorer(labels: np.ndarray, probabilities: np.ndarray) -> Scorer:
    """Prepare the micro F1 of labels and probabilities, both (N, C)."""
    truth, scores = check_labels(labels, probabilities)
    decided = decide(scores)
    terms = np.stack([2 * (truth & decided).sum(1), truth.sum(1) + decided.sum(1)], axis=1)

    def score(weights: np.ndarray) -> dict[str, np.ndarray]:
        hits, both = (weights @ terms).T
        return {"micro_f1": ratio(hits, both)}

    return Scorer(len(truth), score)


def r2_scorer(targets: np.ndarray, predictions: np.ndarray) -> Scorer:
    """Prepare the share of variance that predictions (N,) explain of targets (N,)."""
    targets, predictions = check_values(targets, predictions)
    centred = targets - targets.mean()
    terms = np.concatenate([np.square(predictions - targets), centred, np.square(centred)], axis=1)

    def score(weights: np.ndarray) -> dict[str, np.ndarray]:
        weights = weights.astype(np.float64)
        error, total, squares = (weights @ terms).T
        return {"r2": 1 - ratio(error, squares - ratio(np.square(total), weights.sum(1)))}

    return Scorer(len(targets), score)


HEADLINES: dict[str, Callable[[np.ndarray, np.ndarray], Scorer]] = {
    "classification": accuracy_scorer,
    "multilabel": micro_f1_scorer,
    "regression": r2_scorer,
}
"""task of `METRICS` → what prepares its headline alone: of targets and outputs a Scorer."""


def headline_scorer(task: str, targets: np.ndarray, outputs: np.ndarray) -> Scorer:
    """Prepare the metric that counts first for a task.

    Args:
        task: a name in `METRICS`.
        targets: as the task's full scorer takes them.
        outputs: likewise, finite.

    Raises:
        UnknownName: no headline of that task is known here.
    """
    if task not in HEADLINES:
        raise UnknownName("task", task, HEADLINES)
    return HEADLINES[task](targets, outputs)
