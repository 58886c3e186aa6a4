"""Choose the penalty of ridge regression on held-out squared error, one decomposition per fold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from graft.errors import InputError
from graft.solvers.held_out import held_out_scores
from graft.solvers.path import MAX_EXTENSIONS
from graft.solvers.ridge import read_values, solve_ridge
from graft.solvers.rows import Rows, as_tensor, read_rows
from graft.solvers.search import Search, penalty_grid
from graft.solvers.solution import Solution
from graft.solvers.targets import read_row_weights


def search_ridge(
    features: Tensor | np.ndarray,
    targets: Tensor | np.ndarray,
    *,
    folds: Tensor | np.ndarray | None = None,
    validation: tuple[Tensor | np.ndarray, Tensor | np.ndarray] | None = None,
    l2s: Sequence[float] | None = None,
    sample_weights: Tensor | np.ndarray | None = None,
) -> Search:
    """Choose l2 of ridge regression on held-out error, then solve for it.

    Args:
        features: (N, D).
        targets: (N,) or (N, T) real values.
        folds: (N,) integer fold of each row.
        validation: features and targets to choose on instead.
        l2s: penalties to try; as in `search_l2` unless given, and extended by three decades to
            either side, which costs next to nothing here.
        sample_weights: (N,); they weigh held-out rows as well.

    Returns:
        A search whose losses are half the mean squared error and whose accuracies are empty.

    Raises:
        InputError: a shape or a setting is wrong.
        DataError: a row is not finite.
    """
    if folds is not None and validation is not None:
        raise InputError("give either folds or a validation set, not both")
    rows = read_rows(features)
    values = read_values(targets, n_rows=rows.n_rows, device=rows.device)
    weights = read_row_weights(sample_weights, n_rows=rows.n_rows, device=rows.device)
    grid = penalty_grid(rows, l2s)
    if len(grid) > 1:
        ratio = (grid[-1] / grid[0]) ** (1 / (len(grid) - 1))
        powers = range(1, MAX_EXTENSIONS + 1)
        grid = [grid[0] / ratio**k for k in reversed(powers)] + grid
        grid += [grid[-1] * ratio**k for k in powers]
    paths, columns, held_weights = [], [], []
    if folds is not None:
        ids = as_tensor(folds).to(rows.device)
        if ids.shape != (rows.n_rows,) or ids.is_floating_point() or len(ids.unique()) < 2:
            raise InputError(f"folds must be ({rows.n_rows},) integers with two folds or more")
        for fold in ids.unique():
            train = torch.where(ids == fold, 0.0, weights)
            held = torch.where(ids == fold, weights, 0.0)
            paths.append(solve_ridge(rows, values, train / train.sum(), grid))
            columns.append(_score(rows, values, held, paths[-1]))
            held_weights.append(held.sum())
        other, problem = rows, torch.searchsorted(ids.unique(), ids)
    elif validation is not None:
        other = read_rows(validation[0])
        known = read_values(validation[1], n_rows=other.n_rows, device=other.device)
        if other.width != rows.width or known.shape[1] != values.shape[1]:
            raise InputError("the validation set has another width than the training set")
        held = torch.ones(other.n_rows, dtype=torch.float64, device=other.device)
        paths.append(solve_ridge(rows, values, weights / weights.sum(), grid))
        columns.append(_score(other, known, held, paths[-1]))
        held_weights.append(held.sum())
        problem = torch.zeros(other.n_rows, dtype=torch.int64, device=rows.device)
    else:
        raise InputError("give either folds or a validation set")
    per_fold = torch.stack(columns, dim=1)
    shares = torch.stack(held_weights)
    losses = (per_fold @ (shares / shares.sum())).tolist()
    chosen = losses.index(min(losses))
    weight = torch.stack([path[chosen].weight for path in paths])
    bias = torch.stack([path[chosen].bias for path in paths])
    return Search(
        l2s=tuple(grid),
        losses=tuple(losses),
        fold_losses=tuple(tuple(row) for row in per_fold.tolist()),
        accuracies=(),
        chosen=chosen,
        at_edge=chosen in (0, len(grid) - 1),
        converged=True,
        n_unscored=0,
        n_products=0,
        chosen_on="folds" if validation is None else "validation",
        solution=solve_ridge(rows, values, weights / weights.sum(), grid[chosen : chosen + 1])[0],
        held_out=held_out_scores(other, problem, weight, bias),
    )


def _score(rows: Rows, targets: Tensor, weights: Tensor, solutions: Sequence[Solution]) -> Tensor:
    """Return half the mean squared error of each solution (L,) on rows of weight (N,)."""
    total = weights.new_zeros(len(solutions))
    weight = torch.stack([s.weight for s in solutions])
    bias = torch.stack([s.bias for s in solutions])
    flat = weight.reshape(-1, rows.width)
    for span in rows.spans(len(flat)):
        block = rows.block(span, torch.float64)
        scores = torch.addmm(bias.reshape(-1), block, flat.T).view(len(block), *bias.shape)
        errors = (scores - targets[span][:, None]).square().sum(dim=2)
        total += 0.5 * weights[span] @ errors
    return total / weights.sum().clamp(min=1e-300)
