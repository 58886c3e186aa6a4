"""Read targets, hard or soft, and the weights of rows and classes.

Everything ends as the two things the solver needs: target rows t (n, C), and one mass per row.
A class weight multiplies the target's entries; what it adds to a row beyond sum one moves into
the row's mass, so that hard and one-hot targets, weighted or not, are the same problem.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from graft.errors import DataError, InputError
from graft.solvers.rows import as_tensor

ClassWeights = Sequence[float] | Tensor | np.ndarray | Literal["balanced"] | None
SPAN = 2**16


@dataclass(frozen=True, eq=False)
class Targets:
    """Hold checked targets.

    Args:
        values: (N,) int64 classes, or (N, C) non-negative targets.
        n_classes: C.
        class_weights: (C,) float64, or None for all ones.
        exclusive: a row is a distribution over classes; else each entry stands alone.
    """

    values: Tensor
    n_classes: int
    class_weights: Tensor | None = None
    exclusive: bool = True

    def block(self, span: slice | Tensor) -> tuple[Tensor, Tensor]:
        """Return targets (n, C) float64 and the mass of each row (n,) float64."""
        values = self.values[span]
        ones = torch.ones(len(values), dtype=torch.float64, device=values.device)
        if values.ndim == 1:
            target = ones.new_zeros(len(values), self.n_classes)
            target.scatter_(1, values[:, None], 1.0)
            return target, ones if self.class_weights is None else self.class_weights[values]
        target = values.to(torch.float64)
        if not self.exclusive:
            return target, ones
        target = target / target.sum(dim=1, keepdim=True)
        if self.class_weights is None:
            return target, ones
        target = target * self.class_weights
        mass = target.sum(dim=1)
        return target / mass.clamp(min=1e-300)[:, None], mass

    def masses(self, weights: Tensor) -> Tensor:
        """Return the sum of targets per class and problem (F, C), rows weighted (N, F)."""
        total = weights.new_zeros(weights.shape[1], self.n_classes)
        for start in range(0, len(self.values), SPAN):
            span = slice(start, start + SPAN)
            target, mass = self.block(span)
            total += (weights[span] * mass[:, None]).T @ target
        return total

    def row_masses(self) -> Tensor:
        """Return the mass of every row (N,) float64."""
        spans = (slice(s, s + SPAN) for s in range(0, len(self.values), SPAN))
        return torch.cat([self.block(span)[1] for span in spans])


def read_targets(
    targets: Tensor | np.ndarray,
    *,
    n_rows: int,
    device: torch.device,
    class_weights: ClassWeights = None,
    n_classes: int | None = None,
) -> Targets:
    """Check targets of a softmax problem.

    Args:
        targets: (N,) integer classes from 0, or (N, C) distributions.
        n_rows: the N that the features have.
        device: where the features are.
        class_weights: (C,) positive, or "balanced" for N / (C * rows of the class).
        n_classes: C; the largest class plus one unless given.

    Raises:
        InputError: a shape or a weight is wrong.
        DataError: a row's target is not a class or not a distribution.
    """
    values = as_tensor(targets).to(device)
    if len(values) != n_rows:
        raise InputError(f"{n_rows} rows of features but {len(values)} targets")
    if values.ndim == 1:
        if values.is_floating_point() or values.is_complex() or values.dtype == torch.bool:
            raise InputError(
                f"targets of shape (N,) must be integer classes, not {values.dtype}: "
                "use ridge_path for real-valued targets"
            )
        values = values.to(torch.int64)
        top = int(values.max())
        n_classes = top + 1 if n_classes is None else n_classes
        wrong = (values < 0) | (values >= n_classes)
    elif values.ndim == 2:
        wrong = _not_finite_or_negative(values) | (values.sum(dim=1, dtype=torch.float64) <= 0)
        if n_classes is not None and n_classes != values.shape[1]:
            raise InputError(f"{n_classes} classes but targets of width {values.shape[1]}")
        n_classes = values.shape[1]
    else:
        raise InputError(f"targets must have shape (N,) or (N, C), not {tuple(values.shape)}")
    if bool(wrong.any()):
        row = int(torch.nonzero(wrong)[0])
        raise DataError(
            f"the target is neither a class in 0..{n_classes - 1} nor a distribution", row=row + 1
        )
    if n_classes < 2:
        raise InputError("there is only one class: a classifier needs at least two")
    plain = Targets(values, n_classes)
    if class_weights is None:
        return plain
    if isinstance(class_weights, str):
        if class_weights != "balanced":
            raise InputError(f"class_weights is {class_weights!r}: give numbers or 'balanced'")
        counts = plain.masses(torch.ones(n_rows, 1, dtype=torch.float64, device=device))[0]
        weights = n_rows / (n_classes * counts.clamp(min=1e-300))
    else:
        weights = torch.as_tensor(class_weights, dtype=torch.float64, device=device)
    if weights.shape != (n_classes,) or not bool(((weights > 0) & weights.isfinite()).all()):
        raise InputError(f"class_weights must be {n_classes} positive finite numbers")
    return Targets(values, n_classes, weights)


def read_labels(targets: Tensor | np.ndarray, *, n_rows: int, device: torch.device) -> Targets:
    """Check targets (N, C) in [0, 1] of a multi-label problem.

    Raises:
        InputError: the shape is wrong.
        DataError: a row has an entry outside [0, 1].
    """
    values = as_tensor(targets).to(device)
    if values.ndim != 2 or len(values) != n_rows or values.shape[1] == 0:
        raise InputError(f"targets must have shape ({n_rows}, C), not {tuple(values.shape)}")
    wrong = _not_finite_or_negative(values) | (values > 1).any(dim=1)
    if bool(wrong.any()):
        row = int(torch.nonzero(wrong)[0])
        raise DataError("a multi-label target lies outside [0, 1]", row=row + 1)
    return Targets(values, values.shape[1], exclusive=False)


def read_row_weights(
    sample_weights: Tensor | np.ndarray | None, *, n_rows: int, device: torch.device
) -> Tensor:
    """Return weights (N,) float64, ones unless given.

    Raises:
        InputError: the shape is wrong or nothing has weight.
        DataError: a weight is negative or not finite.
    """
    if sample_weights is None:
        return torch.ones(n_rows, dtype=torch.float64, device=device)
    weights = as_tensor(sample_weights).to(device, torch.float64)
    if weights.shape != (n_rows,):
        raise InputError(f"sample_weights must have shape ({n_rows},), not {tuple(weights.shape)}")
    wrong = ~(weights.isfinite() & (weights >= 0))
    if bool(wrong.any()):
        row = int(torch.nonzero(wrong)[0])
        raise DataError("the sample weight is negative or not finite", row=row + 1)
    if not bool(weights.any()):
        raise InputError("all sample weights are zero")
    return weights


def _not_finite_or_negative(values: Tensor) -> Tensor:
    """Return which rows (N,) have an entry that is no probability."""
    return (~torch.isfinite(values) | (values < 0)).any(dim=1)
