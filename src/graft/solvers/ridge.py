"""Ridge regression: every penalty from one decomposition.

The objective is  1/2 sum_i s_i ||W x_i + b - y_i||^2 / sum_i s_i + l2 / 2 * ||W||^2, the bias left
free; scikit-learn's `Ridge` minimises the same with alpha = l2 * sum_i s_i.

With features and targets centred, W = Y^T X (X^T X / N + l2 I)^-1 / N, and one eigenbasis of the
covariance, or of the space of the rows if these are fewer than the columns, serves all l2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from graft.errors import DataError, InputError
from graft.solvers.logistic import check_l2
from graft.solvers.rows import Rows, as_tensor, read_rows
from graft.solvers.solution import Solution
from graft.solvers.targets import read_row_weights


@dataclass(frozen=True, eq=False)
class _Moments:
    """Hold what ridge needs of the data.

    `vectors` (D, R) and `values` (R,) decompose the covariance; `cross` (T, D) is that of targets
    with features; `mean` (D,), `mean_target` (T,).
    """

    mean: Tensor
    mean_target: Tensor
    vectors: Tensor
    values: Tensor
    cross: Tensor


def ridge_path(
    features: Tensor | np.ndarray,
    targets: Tensor | np.ndarray,
    l2s: Sequence[float],
    *,
    sample_weights: Tensor | np.ndarray | None = None,
) -> tuple[Solution, ...]:
    """Solve ridge regression for every l2 from one decomposition.

    Args:
        features: (N, D).
        targets: (N,) or (N, T) real values.
        l2s: positive penalties, in any order.
        sample_weights: (N,) not negative.

    Returns:
        One solution per l2, with weight (T, D) and bias (T,). Each has had one step of iterative
        refinement against the data, so its gradient is that of a float64 solution.

    Raises:
        InputError: a shape or a penalty is wrong.
        DataError: a row is not finite.
    """
    rows = read_rows(features)
    values = read_values(targets, n_rows=rows.n_rows, device=rows.device)
    weights = read_row_weights(sample_weights, n_rows=rows.n_rows, device=rows.device)
    for l2 in l2s:
        check_l2(l2)
    return solve_ridge(rows, values, weights / weights.sum(), l2s)


def read_values(targets: Tensor | np.ndarray, *, n_rows: int, device: torch.device) -> Tensor:
    """Return targets (N, T) float64.

    Raises:
        InputError: the shape is wrong.
        DataError: a row is not finite.
    """
    values = as_tensor(targets).to(device, torch.float64)
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or len(values) != n_rows or values.shape[1] == 0:
        raise InputError(f"targets must have shape ({n_rows},) or ({n_rows}, T)")
    wrong = ~torch.isfinite(values).all(dim=1)
    if bool(wrong.any()):
        raise DataError("the target is not finite", row=int(torch.nonzero(wrong)[0]) + 1)
    return values


def solve_ridge(
    rows: Rows, targets: Tensor, weights: Tensor, l2s: Sequence[float]
) -> tuple[Solution, ...]:
    """Return one solution per l2; `targets` (N, T) and `weights` (N,), summing to one, are read."""
    moments = _moments(rows, targets, weights)
    penalty = torch.tensor(list(l2s), dtype=torch.float64, device=rows.device)[:, None, None]
    weight = _shrink(moments, moments.cross.expand(len(penalty), -1, -1), penalty)
    _, slope = _residual_pass(rows, targets, weights, moments, weight)
    weight = weight - _shrink(moments, slope + penalty * weight, penalty)
    loss, slope = _residual_pass(rows, targets, weights, moments, weight)
    slope = slope + penalty * weight
    objective = loss + penalty[:, 0, 0] / 2 * weight.square().sum(dim=(1, 2))
    bias = moments.mean_target - weight @ moments.mean
    return tuple(
        Solution(
            weight=weight[i].clone(),
            bias=bias[i].clone(),
            l2=float(l2),
            objective=float(objective[i]),
            gradient_norm=float(slope[i].norm()),
            gap=0.0,
            n_iterations=0,
            n_products=0,
            converged=True,
            message="closed form",
        )
        for i, l2 in enumerate(l2s)
    )


def _moments(rows: Rows, targets: Tensor, weights: Tensor) -> _Moments:
    """Return weighted moments in one pass; with N < D from the rows, fewer than D^2 numbers."""
    mean_target = weights @ targets
    centred = targets - mean_target
    total = torch.zeros_like(rows.mean)
    for span in rows.spans():
        total += weights[span] @ (rows.block(span, torch.float64) - rows.mean)
    mean = rows.mean + total
    wide = rows.n_rows < rows.width
    gram = mean.new_zeros(0 if wide else rows.width, rows.width)
    cross = mean.new_zeros(targets.shape[1], rows.width)
    pieces = []
    for span in rows.spans():
        root = weights[span].sqrt()[:, None]
        block = (rows.block(span, torch.float64) - mean) * root
        cross += (centred[span] * root).T @ block
        if wide:
            pieces.append(block)
        else:
            gram += block.T @ block
    if wide:
        span_of_rows, triangle = torch.linalg.qr(torch.cat(pieces).T)
        values, turn = torch.linalg.eigh(triangle @ triangle.T)
        vectors = span_of_rows @ turn
    else:
        values, vectors = torch.linalg.eigh(gram)
    return _Moments(mean, mean_target, vectors, values.clamp(min=0), cross)


def _shrink(moments: _Moments, right: Tensor, penalty: Tensor) -> Tensor:
    """Return `right` (L, T, D) times the inverse of covariance plus penalty (L, 1, 1)."""
    inner = right @ moments.vectors
    out = (inner / (moments.values + penalty)) @ moments.vectors.T
    if moments.vectors.shape[0] == moments.vectors.shape[1]:
        return out
    return out + (right - inner @ moments.vectors.T) / penalty


def _residual_pass(
    rows: Rows, targets: Tensor, weights: Tensor, moments: _Moments, weight: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the loss (L,) and its gradient (L, T, D) at centred `weight` (L, T, D)."""
    n_l2, n_targets, width = weight.shape
    flat = weight.reshape(-1, width)
    loss = weight.new_zeros(n_l2)
    slope = torch.zeros_like(flat)
    for span in rows.spans(len(flat)):
        block = rows.block(span, torch.float64) - moments.mean
        residual = (block @ flat.T).view(-1, n_l2, n_targets)
        residual -= (targets[span] - moments.mean_target)[:, None]
        v = weights[span]
        loss += 0.5 * v @ residual.square().sum(dim=2)
        slope += (residual * v[:, None, None]).view(len(v), -1).T @ block
    return loss, slope.view_as(weight)
