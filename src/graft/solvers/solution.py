"""What a solver returns."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Solution:
    """Record a linear map with how it was reached: `scores = features @ weight.T + bias`.

    Args:
        weight: (C, D) float64.
        bias: (C,) float64; of a softmax its mean is zero, since only differences matter.
        l2: the penalty that it solves.
        objective: mean loss plus penalty, at this weight and bias.
        gradient_norm: Euclidean norm of the objective's gradient over weight and bias.
        gap: estimate of how far the objective lies above its minimum, as a share of itself.
        n_iterations: Newton steps taken (0 for a closed form).
        n_products: products with the Hessian, each two passes over the features.
        converged: the tolerance was met.
        message: why the solver stopped, for people.
    """

    weight: Tensor
    bias: Tensor
    l2: float
    objective: float
    gradient_norm: float
    gap: float
    n_iterations: int
    n_products: int
    converged: bool
    message: str
