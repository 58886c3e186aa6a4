"""Focal losses, per example: what is predicted well already counts for little."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

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


def binary_focal_loss(
    logits: Tensor, targets: Tensor, *, gamma: float = 2.0, label_smoothing: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Return the focal loss of each example, averaged over its labels, and weights of one.

    For a target t and a predicted probability p it is −t (1 − p)^γ log p − (1 − t) p^γ log(1 − p).

    Args:
        logits: (N, C).
        targets: (N, C) in [0, 1]: whether, or how surely, each label holds.
        gamma: γ ≥ 0; 0 is `binary_cross_entropy`.
        label_smoothing: share of each target that is moved to one half.

    Returns:
        losses (N,) and weights (N,).

    Source: Lin et al. 2017, equation 4, for soft targets too.
    """
    targets = (1 - label_smoothing) * targets.to(logits.dtype) + label_smoothing / 2
    yes, no = functional.logsigmoid(logits), functional.logsigmoid(-logits)
    tiny = torch.finfo(logits.dtype).tiny  # as above: a power of zero has no finite gradient
    holds = targets * torch.sigmoid(-logits).clamp_min(tiny) ** gamma * yes
    fails = (1 - targets) * torch.sigmoid(logits).clamp_min(tiny) ** gamma * no
    losses = -(holds + fails).mean(1)
    return losses, losses.new_ones(len(losses))
