"""Squared error, per example."""

from __future__ import annotations

from torch import Tensor


def squared_error(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return the squared error of each example, averaged over its outputs, and weights of one.

    Args:
        outputs: (N, …).
        targets: of the same shape.

    Returns:
        losses (N,) and weights (N,).
    """
    losses = (outputs - targets.to(outputs)).square().flatten(1).mean(1)
    return losses, losses.new_ones(len(losses))
