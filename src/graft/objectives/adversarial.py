"""Gradient reversal: what lies above learns to tell two domains apart, what lies below to hide it.

One backward pass trains both: the domain classifier by its own gradient, the features by the same
gradient with its sign turned.

Source: Ganin and Lempitsky 2015, "Unsupervised Domain Adaptation by Backpropagation"; Ganin et al.
2016, "Domain-Adversarial Training of Neural Networks", section 4.2.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor


class _Reversed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float) -> Tensor:
        ctx.scale = scale
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return -ctx.scale * gradients[0], None


def reversed_gradient(x: Tensor, scale: float) -> Tensor:
    """Return a tensor as it is, whose gradient goes back as −scale times itself.

    Args:
        x: of any shape.
        scale: λ; 0 lets no gradient through.

    Source: Ganin et al. 2016, equations 16 and 17.

    >>> x = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> reversed_gradient(3 * x, 0.5).sum().backward()
    >>> x.grad
    tensor([-1.5000, -1.5000])
    """
    return _Reversed.apply(x, scale)  # type: ignore[return-value]


def reversal_scale(done: float, *, gamma: float = 10.0) -> float:
    """Return λ(p) = 2 / (1 + exp(−γ p)) − 1, which rises from 0 to nearly 1.

    At the beginning the domain classifier knows nothing, and its gradient is noise.

    Args:
        done: p, the share of training that is done, 0 to 1.
        gamma: γ; the authors took 10 without tuning it.

    Source: Ganin et al. 2016, section 5.2.

    >>> [round(reversal_scale(p), 3) for p in (0.0, 0.1, 0.5, 1.0)]
    [0.0, 0.462, 0.987, 1.0]
    """
    return 2 / (1 + math.exp(-gamma * done)) - 1
