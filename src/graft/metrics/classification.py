"""Metrics of classification.

Shapes: N examples, C classes; labels (N,) are class numbers, probabilities (N, C).
"""

from __future__ import annotations

import numpy as np

TINY = 1e-15


def confusion(labels: np.ndarray, predicted: np.ndarray, n_classes: int) -> np.ndarray:
    """Return (C, C) counts: rows are true classes, columns predicted ones."""
    flat = np.bincount(labels * n_classes + predicted, minlength=n_classes * n_classes)
    return flat.reshape(n_classes, n_classes)


def accuracy(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Return the share of examples that are right."""
    return float((labels == predicted).mean())


def balanced_accuracy(labels: np.ndarray, predicted: np.ndarray, n_classes: int) -> float:
    """Return the mean recall over the classes that occur."""
    counts = confusion(labels, predicted, n_classes)
    present = counts.sum(1) > 0
    return float((np.diag(counts)[present] / counts.sum(1)[present]).mean())


def macro_f1(labels: np.ndarray, predicted: np.ndarray, n_classes: int) -> float:
    """Return the mean F1 over the classes that occur among labels or predictions."""
    counts = confusion(labels, predicted, n_classes)
    total = counts.sum(0) + counts.sum(1)
    present = total > 0
    return float((2 * np.diag(counts)[present] / total[present]).mean())


def log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the mean negative log-probability of the true class."""
    chosen = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.clip(chosen, TINY, 1)).mean())


def classification_metrics(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Return all of them by name."""
    n_classes = probabilities.shape[1]
    predicted = probabilities.argmax(1)
    return {
        "accuracy": accuracy(labels, predicted),
        "balanced_accuracy": balanced_accuracy(labels, predicted, n_classes),
        "macro_f1": macro_f1(labels, predicted, n_classes),
        "log_loss": log_loss(labels, probabilities),
    }
