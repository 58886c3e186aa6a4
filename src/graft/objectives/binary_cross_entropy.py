"""Sigmoid cross-entropy of several labels, per example."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def binary_cross_entropy(
    logits: Tensor, targets: Tensor, *, label_smoothing: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Return the loss of each example, averaged over its labels, and weights of one.

    Args:
        logits: (N, C).
        targets: (N, C) in [0, 1]: whether, or how surely, each label holds.
        label_smoothing: share ε of each target that is moved to one half.

    Returns:
        losses (N,) and weights (N,).
    """
    targets = targets.to(logits.dtype)
    if label_smoothing:
        targets = (1 - label_smoothing) * targets + label_smoothing / 2
    losses = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(1)
    return losses, losses.new_ones(len(losses))
