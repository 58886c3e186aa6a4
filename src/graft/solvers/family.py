"""A family: F problems over the same rows that differ only in which rows count.

The folds of a cross-validation are such a family. Solved together they share every pass over the
features: F * C columns in one matrix product cost far less than F products of C columns.

The objective of each problem f, with row weights v_if that sum to one over i, is

    sum_i v_if * loss(W_f x_i + b_f, t_i) + l2 / 2 * ||W_f||^2

with the bias left free.

Shapes: N rows, D width, F problems, P of them that count a part's rows, C classes; weight
(F, C, D), bias (F, C).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from graft.solvers.link import Link
from graft.solvers.parts import Part, parted
from graft.solvers.rows import Rows
from graft.solvers.targets import Targets

KEEP_BYTES = 2**26
FULL_CLASS_CURVATURE = 128  # above this C only the diagonal of a (C, C) curvature is kept
ABSENT = -1e30


@dataclass(frozen=True, eq=False)
class Family:
    """Hold F problems over shared rows.

    Args:
        rows: features (N, D).
        targets: (N,) or (N, C).
        link: the loss.
        weights: (N, F) float64, each column summing to one.
        offset: (F, C) added to the logits: a class without a row in problem f is switched off
            there by `ABSENT`, since a free bias would run to minus infinity; a label that every row
            of f has is switched on likewise. No step moves what is switched.
    """

    rows: Rows
    targets: Targets
    link: Link
    weights: Tensor
    offset: Tensor

    @property
    def n_problems(self) -> int:
        """Return F."""
        return self.weights.shape[1]

    @property
    def n_columns(self) -> int:
        """Return F * C, the columns of one matrix product."""
        return self.n_problems * self.targets.n_classes

    @property
    def moves(self) -> Tensor:
        """Return (F, C) which classes are learned; what is switched off or on is not."""
        return self.offset == 0

    def keeps(self, dtype: torch.dtype) -> bool:
        """Say whether (N, F, C) probabilities are small enough to be kept between products."""
        n_bytes = self.rows.n_rows * self.n_columns * dtype.itemsize
        return n_bytes <= max(KEEP_BYTES, self.rows.n_rows * self.rows.width * 2)

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """Return the rows in blocks, each with the problems that count them."""
        return parted(self.rows, self.weights, self.n_columns)

    def logits(self, part: Part, block: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Return (n, P, C) in the type of `block` (n, D), the features of a part."""
        weight, shift = part.own(weight), part.own(bias + self.offset)
        flat = weight.reshape(-1, weight.shape[-1]).to(block.dtype)
        z = torch.addmm(shift.reshape(-1).to(block.dtype), block, flat.T)
        return z.view(len(block), *shift.shape)

    def counts(self, part: Part, dtype: torch.dtype) -> Tensor:
        """Return the weights (n, P) with which the rows of a part count."""
        return part.own(self.weights[part.rows].T).T.to(dtype)


@dataclass(frozen=True, eq=False)
class Point:
    """Record a family at one weight and bias.

    Args:
        weight: (F, C, D).
        bias: (F, C).
        objective: (F,).
        gradient: (F, C, D + 1), the bias last.
        class_curvature: (F, C, C), or (F, C) where only the diagonal is kept: the mean over rows
            of the loss's second derivative.
        row_curvature: (N,) its trace for each row, summed over problems.
        probabilities: (N, P, C) in the type of the products and the order of the parts, or None
            where they are too large.
    """

    weight: Tensor
    bias: Tensor
    objective: Tensor
    gradient: Tensor
    class_curvature: Tensor
    row_curvature: Tensor
    probabilities: Tensor | None


def evaluate(
    family: Family, weight: Tensor, bias: Tensor, *, l2: float, keep: Tensor | None = None,
    dtype: torch.dtype = torch.float64,
) -> Point:  # fmt: skip
    """Return objective, gradient and curvature in one pass.

    Args:
        family: the problems.
        weight: (F, C, D).
        bias: (F, C).
        l2: the penalty.
        keep: (N, P, C) buffer that receives the probabilities.
        dtype: type within a block of rows; sums over blocks are always float64.
    """
    n_problems, n_classes = family.n_problems, family.targets.n_classes
    full = family.link.shift_free and n_classes <= FULL_CLASS_CURVATURE
    objective = weight.new_zeros(n_problems)
    slope, slope_bias = torch.zeros_like(weight), torch.zeros_like(bias)
    diagonal = torch.zeros_like(bias)
    outer = weight.new_zeros(n_problems, n_classes, n_classes) if full else None
    row_curvature = weight.new_zeros(family.rows.n_rows)
    narrow = weight.to(dtype)
    for part in family.parts:
        block = family.rows.block(part.rows, dtype)
        target = family.targets.block(part.rows)[0].to(dtype)
        v = family.counts(part, dtype)
        loss, p = family.link.loss(family.logits(part, block, narrow, bias), target)
        part.add(objective, (family.counts(part, torch.float64) * loss).sum(dim=0))
        if keep is not None:
            keep[part.place] = p
        curvature = family.link.curvature(p).mul_(v[..., None])
        part.add(diagonal, curvature.sum(dim=0, dtype=torch.float64))
        row_curvature[part.rows] = curvature.sum(dim=(1, 2)).double()
        if outer is not None:
            part.add(outer, (p * v[..., None]).permute(1, 2, 0) @ p.transpose(0, 1))
        residual = p.sub_(target[:, None]).mul_(v[..., None])
        part.add(slope_bias, residual.sum(dim=0, dtype=torch.float64))
        part.add(slope, (residual.flatten(1).T @ block).unflatten(0, p.shape[1:]))
    objective += l2 / 2 * weight.square().sum(dim=(1, 2))
    slope.add_(weight, alpha=l2)
    gradient = torch.cat([slope, slope_bias[..., None]], dim=-1)
    if outer is not None:
        outer = -outer
        outer.diagonal(dim1=1, dim2=2).copy_(diagonal)
    return Point(
        weight, bias, objective, gradient,
        diagonal if outer is None else outer, row_curvature, keep,
    )  # fmt: skip


def hessian_product(
    family: Family, point: Point, direction: Tensor, *, centre: Tensor, l2: float,
    dtype: torch.dtype,
) -> Tensor:  # fmt: skip
    """Return the Hessian at `point` times `direction`, both (F, C, D + 1), bias about `centre`.

    Args:
        family: the problems.
        point: where the Hessian is taken.
        direction: (F, C, D + 1) float64; its last entry is the bias of features minus `centre`.
        centre: (D,).
        l2: the penalty.
        dtype: type of the two matrix products; float32 proposes, float64 decides elsewhere.
    """
    weight = direction[..., :-1]
    shift = direction[..., -1] - weight @ centre
    narrow = weight.to(dtype)
    out, out_bias = torch.zeros_like(weight), torch.zeros_like(shift)
    for part in family.parts:
        block = family.rows.block(part.rows, dtype)
        if point.probabilities is not None:
            p = point.probabilities[part.place]
        else:
            p = family.link.probabilities(family.logits(part, block, point.weight, point.bias))
        columns = part.own(narrow).flatten(0, 1).T
        a = torch.addmm(part.own(shift).flatten().to(dtype), block, columns).view_as(p)
        r = family.link.curve(p, a).mul_(family.counts(part, dtype)[..., None])
        part.add(out, (r.flatten(1).T @ block).unflatten(0, p.shape[1:]))
        part.add(out_bias, r.sum(dim=0, dtype=torch.float64))
    out += l2 * weight - out_bias[..., None] * centre
    return torch.cat([out, out_bias[..., None]], dim=-1)
