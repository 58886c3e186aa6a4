"""The two convex losses on logits: softmax (one class per row) and sigmoid (each class alone).

A link is pointwise: it sees logits of a block, never features or weights.

Shapes: n rows of a block, F problems solved together, C classes; z, p and a are (n, F, C).
"""

from __future__ import annotations

from typing import ClassVar, Protocol

import torch
from torch import Tensor


class Link(Protocol):
    """Say what a loss on logits must provide."""

    shift_free: ClassVar[bool]  # adding one number to all logits of a row changes nothing

    def loss(self, z: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss (n, F) and probabilities p; its derivative in z is p - t."""
        ...

    def probabilities(self, z: Tensor) -> Tensor:
        """Return p alone."""
        ...

    def curve(self, p: Tensor, a: Tensor) -> Tensor:
        """Return the second derivative at p applied to a."""
        ...

    def curvature(self, p: Tensor) -> Tensor:
        """Return the diagonal of the second derivative."""
        ...


class Softmax:
    """Cross-entropy of softmax(z) against a distribution t."""

    shift_free: ClassVar[bool] = True

    def loss(self, z: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return -sum_c t_c log p_c and p."""
        log_p = torch.log_softmax(z, dim=-1)
        loss = -(log_p * t[:, None]).sum(dim=-1)
        return loss, log_p.exp_()

    def probabilities(self, z: Tensor) -> Tensor:
        """Return softmax(z)."""
        return torch.softmax(z, dim=-1)

    def curve(self, p: Tensor, a: Tensor) -> Tensor:
        """Return (diag(p) - p p^T) a."""
        mean = torch.linalg.vecdot(p, a)
        return (a - mean[..., None]).mul_(p)

    def curvature(self, p: Tensor) -> Tensor:
        """Return p (1 - p)."""
        return p * (1 - p)


class Sigmoid:
    """Sum over classes of the binary cross-entropy of sigmoid(z_c) against t_c in [0, 1]."""

    shift_free: ClassVar[bool] = False

    def loss(self, z: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return sum_c log(1 + exp z_c) - t_c z_c and p."""
        # logaddexp, not softplus, which turns linear beyond 20 and is off by 2e-9 there.
        loss = (torch.logaddexp(z, z.new_zeros(())) - z * t[:, None]).sum(dim=-1)
        return loss, torch.sigmoid(z)

    def probabilities(self, z: Tensor) -> Tensor:
        """Return sigmoid(z)."""
        return torch.sigmoid(z)

    def curve(self, p: Tensor, a: Tensor) -> Tensor:
        """Return p (1 - p) a."""
        return self.curvature(p).mul_(a)

    def curvature(self, p: Tensor) -> Tensor:
        """Return p (1 - p)."""
        return p * (1 - p)
