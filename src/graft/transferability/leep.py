"""LEEP: how well a checkpoint's own classes, as it predicts them, tell the classes of new rows.

The source head gives probabilities theta(x) over its Z classes. With P(y | z) estimated from the
rows themselves, the score is the mean log of sum_z P(y_i | z) theta(x_i)_z: the log-likelihood of
the labels under a classifier that needs no training. It is at most 0.

Source: Nguyen, Hassner, Seeger and Archambeau 2020, "LEEP: A New Measure to Evaluate
Transferability of Learned Representations", equations 1 and 2.
"""

from __future__ import annotations

import numpy as np


def leep(source: np.ndarray, labels: np.ndarray) -> float:
    """Return the log expected empirical prediction.

    Args:
        source: (N, Z) probabilities of the source head's classes.
        labels: (N, C) zeros and ones. Classes exclude each other where each row has one; else the
            score is the mean over the labels, each against the rest.
    """
    source, labels = np.asarray(source, np.float64), np.asarray(labels, np.float64)
    if (labels.sum(1) == 1).all():
        return _of_classes(source, labels)
    pairs = (np.stack([column, 1 - column], axis=1) for column in labels.T)
    return float(np.mean([_of_classes(source, pair) for pair in pairs]))


def _of_classes(source: np.ndarray, labels: np.ndarray) -> float:
    joint = labels.T @ source  # (C, Z), N times P(y, z)
    mass = joint.sum(0)
    given = np.divide(joint, mass, out=np.zeros_like(joint), where=mass > 0)
    expected = np.einsum("nc,nc->n", labels, source @ given.T)
    return float(np.log(np.maximum(expected, np.finfo(np.float64).tiny)).mean())
