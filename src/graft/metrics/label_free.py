"""What predictions say of themselves, where no label is known."""

from __future__ import annotations

import numpy as np


def information(probabilities: np.ndarray) -> float:
    """Return how much the predictions tell of the classes: H(mean p) − mean H(p), in nats.

    It is large where each prediction is sure and all classes are predicted, and zero where all
    rows get the same answer. It takes rare classes to be missed, so it ranks models of the same
    rows, and says little of rows that hold few of the classes.

    Args:
        probabilities: (N, C), each row with the sum one.

    Returns:
        0 to log C; NaN without rows.

    Source: Bridle et al. 1991, "Unsupervised Classifiers, Mutual Information and 'Phantom
    Targets'", as the mutual information of input and prediction; held beside other validators of
    adaptation in Musgrave et al. 2022, "Three New Validators and a Large-Scale Benchmark Ranking
    for Unsupervised Domain Adaptation".

    >>> round(information(np.eye(2)), 3), information(np.full((2, 2), 0.5))
    (0.693, 0.0)
    """
    if not len(probabilities):
        return float("nan")
    rows = np.asarray(probabilities, np.float64)
    return float(_entropy(rows.mean(0)) - _entropy(rows).mean())


def _entropy(shares: np.ndarray) -> np.ndarray:
    """Return −Σ p log p over the last axis; 0 log 0 is 0."""
    logs = np.log(np.where(shares > 0, shares, 1.0))
    return -(shares * logs).sum(-1)
