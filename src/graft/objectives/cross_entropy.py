"""Softmax cross-entropy, per example."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def cross_entropy(
    logits: Tensor,
    targets: Tensor,
    *,
    class_weights: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Return the loss of each example and the weight with which it counts.

    Args:
        logits: (N, C).
        targets: (N,) class numbers, or (N, C) distributions.
        class_weights: (C,); the weight of an example is that of its class, or the mean over its
            distribution, and the mean loss is the weighted sum over the summed weights.
        label_smoothing: share ε of the target spread evenly over all classes
            (Szegedy et al. 2016, section 7). It does not change the example's weight, where torch
            weighs each class that it smooths over by that class's own.

    Returns:
        losses (N,), already weighted, and weights (N,).
    """
    shares, weights = shares_and_weights(logits, targets, class_weights, label_smoothing)
    # where a class has no share its logit may be -inf, and 0 · inf would be NaN
    logs = torch.log_softmax(logits, dim=-1).masked_fill(shares == 0, 0)
    return -(shares * logs).sum(-1) * weights, weights


def shares_and_weights(
    logits: Tensor, targets: Tensor, class_weights: Tensor | None, label_smoothing: float
) -> tuple[Tensor, Tensor]:
    """Return each class's share (N, C) of the targets, smoothed, and each example's weight (N,)."""
    n_classes = logits.shape[-1]
    if targets.ndim == 1:
        shares = functional.one_hot(targets, n_classes).to(logits.dtype)
    else:
        shares = targets.to(logits.dtype)
    if class_weights is None:
        weights = logits.new_ones(len(logits))
    else:
        weights = shares @ class_weights.to(logits)
    if label_smoothing:
        shares = (1 - label_smoothing) * shares + label_smoothing / n_classes
    return shares, weights
