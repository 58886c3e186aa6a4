"""Metrics of classification.

Shapes: N examples, C classes; labels (N,) are class numbers, probabilities (N, C).
"""

from __future__ import annotations

import numpy as np

from graft.errors import InputError
from graft.metrics import METRICS
from graft.metrics.calibration import squared_errors, weigh_calibration
from graft.metrics.ranking import rank_classes, weigh_macro
from graft.metrics.scorer import Scorer, ratio, undefined_scorer
from graft.metrics.tallies import Tallies, tally_classes

TINY = 1e-15


def confusion(labels: np.ndarray, predicted: np.ndarray, n_classes: int) -> np.ndarray:
    """Return (C, C) counts: rows are true classes, columns predicted ones."""
    # Narrow integers would overflow in the product.
    flat = np.asarray(labels, dtype=np.int64) * n_classes + np.asarray(predicted, dtype=np.int64)
    return np.bincount(flat, minlength=n_classes * n_classes).reshape(n_classes, n_classes)


def accuracy(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Return the share of examples that are right; NaN without examples."""
    return float(ratio((labels == predicted).sum(), np.asarray(len(labels))))


def balanced_accuracy(labels: np.ndarray, predicted: np.ndarray, n_classes: int) -> float:
    """Return the mean recall over the classes that occur; NaN without examples.

    Source: K. H. Brodersen et al., The Balanced Accuracy and Its Posterior Distribution (2010).
    """
    return float(_tally(labels, predicted, n_classes).macro_recall()[0])


def macro_f1(labels: np.ndarray, predicted: np.ndarray, n_classes: int) -> float:
    """Return the mean F1 over the classes that occur among labels or predictions.

    Source: the mean of F1s, not the F1 of means; see J. Opitz and S. Burst, Macro F1 and Macro F1
    (2019).
    """
    return float(_tally(labels, predicted, n_classes).macro_f1()[0])


def micro_f1(labels: np.ndarray, predicted: np.ndarray, n_classes: int) -> float:
    """Return the F1 of all decisions pooled: equal to accuracy, as every example has one label."""
    return float(_tally(labels, predicted, n_classes).micro_f1()[0])


def log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the mean negative log-probability of the true class, NaN without examples.

    A probability below 1e-15 counts as that, so that one example cannot make the loss infinite.
    """
    return float(ratio(surprises(labels, probabilities).sum(), np.asarray(len(labels))))


def surprises(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return the terms (N,) whose mean is the log loss."""
    chosen = np.asarray(probabilities, dtype=np.float64)[np.arange(len(labels)), labels]
    return -np.log(np.clip(chosen, TINY, 1))


def classification_scorer(labels: np.ndarray, probabilities: np.ndarray) -> Scorer:
    """Prepare all metrics of classification.

    Args:
        labels: (N,) class numbers.
        probabilities: (N, C); the prediction is the first class of the highest probability. A NaN
            among them makes every metric NaN.

    Raises:
        InputError: the shapes do not fit, or a label is no class number.
    """
    labels, probabilities = check_classes(labels, probabilities)
    if np.isnan(probabilities).any():
        return undefined_scorer(len(labels), METRICS["classification"])
    n_classes = probabilities.shape[1]
    predicted = probabilities.argmax(1)
    rankings = rank_classes(labels, probabilities)
    terms = np.stack(
        [
            labels == predicted,
            surprises(labels, probabilities),
            squared_errors(labels, probabilities),
        ],
        axis=1,
    )

    def score(weights: np.ndarray) -> dict[str, np.ndarray]:
        tallies = tally_classes(labels, predicted, n_classes, weights)
        ranked = weigh_macro(rankings, weights)
        right, surprise, error = ratio(weights @ terms, weights.sum(axis=1)[:, None]).T
        return {
            "accuracy": right,
            "balanced_accuracy": tallies.macro_recall(),
            "macro_f1": tallies.macro_f1(),
            "micro_f1": tallies.micro_f1(),
            "auroc": ranked.auroc,
            "average_precision": ranked.average_precision,
            "log_loss": surprise,
            "brier_score": error,
            "expected_calibration_error": weigh_calibration(labels, probabilities, weights),
        }

    return Scorer(n_rows=len(labels), weigh=score)


def classification_metrics(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Return all of them by name.

    Args:
        labels: (N,) class numbers.
        probabilities: (N, C).
    """
    return classification_scorer(labels, probabilities).scores()


def check_classes(labels: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return labels (N,) int64 and probabilities (N, C) float64.

    Raises:
        InputError: the shapes do not fit, or a label is no class number.
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, dtype=np.float64)
    n_classes = probabilities.shape[-1] if probabilities.ndim == 2 else 0
    if labels.ndim != 1 or not n_classes or len(labels) != len(probabilities):
        raise InputError(
            f"labels {labels.shape} and probabilities {probabilities.shape} do not fit: "
            "give (N,) and (N, C)"
        )
    if len(labels) and not (labels.min() >= 0 and labels.max() < n_classes):
        raise InputError(
            f"labels reach from {labels.min()} to {labels.max()}: "
            f"give class numbers from 0 to {n_classes - 1}"
        )
    return labels.astype(np.int64), probabilities


def _tally(labels: np.ndarray, predicted: np.ndarray, n_classes: int) -> Tallies:
    return tally_classes(
        np.asarray(labels), np.asarray(predicted), n_classes, np.ones((1, len(labels)))
    )
