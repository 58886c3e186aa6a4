"""Softmax focal loss, per example: what is predicted well already counts for little."""

from __future__ import annotations

import torch
from torch import Tensor

from graft.objectives.cross_entropy import shares_and_weights


def focal_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    gamma: float = 2.0,
    class_weights: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Return the loss of each example and the weight with which it counts.

    For a target distribution q and predicted probabilities p it is
    −Σ_c q_c (1 − p_c)^γ log p_c, times the example's weight.

    Args:
        logits: (N, C).
        targets: (N,) class numbers, or (N, C) distributions.
        gamma: γ ≥ 0; 0 is cross-entropy, 2 what the authors found best.
        class_weights: (C,), as for `cross_entropy`.
        label_smoothing: share of the target spread evenly over all classes.

    Returns:
        losses (N,), already weighted, and weights (N,).

    Source: Lin et al. 2017, "Focal Loss for Dense Object Detection", equation 5, with a softmax
    over classes in the place of their sigmoid, and summed over a soft target's classes.
    """
    shares, weights = shares_and_weights(logits, targets, class_weights, label_smoothing)
    # a class without a share may have the logit -inf, as in `cross_entropy`
    logs = torch.log_softmax(logits, dim=-1).masked_fill(shares == 0, 0)
    # where p rounds to 1 the power's gradient would be infinite, and infinity · 0 is NaN
    missed = (-torch.expm1(logs)).clamp_min(torch.finfo(logs.dtype).tiny)
    return -(shares * missed**gamma * logs).sum(-1) * weights, weights
