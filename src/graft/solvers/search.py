"""Choose the penalty by what it does on rows that were held out.

All folds are one `Family`, which walks down the path of penalties (`path.py`) and shares every pass
over the features. The final fit on all rows starts from the mean of the folds' solutions at the
chosen penalty, where that is better than zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from graft.errors import InputError
from graft.solvers.family import Family, evaluate
from graft.solvers.held_out import HeldOut, by_folds, held_out_scores
from graft.solvers.link import Sigmoid, Softmax
from graft.solvers.logistic import check_l2, refuse_empty, single, to_solution
from graft.solvers.newton import minimise
from graft.solvers.path import Walk
from graft.solvers.rows import Rows, as_tensor, read_rows
from graft.solvers.solution import Solution
from graft.solvers.targets import (
    ClassWeights,
    Targets,
    read_labels,
    read_row_weights,
    read_targets,
)

N_L2S = 25
LOWEST, HIGHEST = 1e-6, 1e2


@dataclass(frozen=True, eq=False)
class Search:
    """Record a search for the penalty.

    Args:
        l2s: the penalties tried, descending.
        losses: mean held-out loss of each, over all held-out rows by their weight.
        fold_losses: the same per fold, (len(l2s), F).
        accuracies: share of held-out rows (of labels, for multi-label) that are right, by weight.
        chosen: index of the smallest mean loss.
        at_edge: the choice is the first or last of `l2s`, although the grid was extended.
        converged: every fit of the path met its tolerance.
        n_unscored: held-out rows of a class that their fold's training rows lack, or without a
            label that all of these have; they count in no loss.
        n_products: products with the Hessian over the whole path.
        chosen_on: "folds" or "validation".
        solution: the fit at the chosen penalty: on all rows with folds, on the training rows
            with a validation set.
        held_out: (N, C) scores of each held-out row at the chosen penalty, by a fit that did not
            see it: logits, or the numbers that a regression predicts.
    """

    l2s: tuple[float, ...]
    losses: tuple[float, ...]
    fold_losses: tuple[tuple[float, ...], ...]
    accuracies: tuple[float, ...]
    chosen: int
    at_edge: bool
    converged: bool
    n_unscored: int
    n_products: int
    chosen_on: Literal["folds", "validation"]
    solution: Solution
    held_out: Tensor

    @property
    def l2(self) -> float:
        """Return the chosen penalty."""
        return self.l2s[self.chosen]


def search_l2(
    features: Tensor | np.ndarray,
    targets: Tensor | np.ndarray,
    *,
    folds: Tensor | np.ndarray | None = None,
    validation: tuple[Tensor | np.ndarray, Tensor | np.ndarray] | None = None,
    l2s: Sequence[float] | None = None,
    loss: Literal["softmax", "sigmoid"] = "softmax",
    class_weights: ClassWeights = None,
    sample_weights: Tensor | np.ndarray | None = None,
    n_classes: int | None = None,
    patience: int | None = 5,
    tolerance: float = 1e-8,
) -> Search:
    """Choose l2 on held-out loss along a warm-started path, then fit.

    Args:
        features: (N, D).
        targets: (N,) or (N, C), as `fit_logistic` or, for "sigmoid", `fit_multilabel` takes them.
        folds: (N,) integer fold of each row; rows of one group must share a fold.
        validation: features and targets to choose on instead; they are never trained on.
        l2s: penalties to try; 25 from 1e-6 to 1e2 times the mean variance of a feature unless
            given. The grid is extended while its edge is the best.
        loss: "softmax" for one class per row, "sigmoid" for labels.
        class_weights: (C,) or "balanced"; they weigh held-out rows as well. Softmax alone.
        sample_weights: (N,); they weigh held-out rows as well.
        n_classes: C, where it is not the largest class plus one.
        patience: end the path after so many penalties in a row that are worse than the best, or
            after two if every fold says so of both; None tries all.
        tolerance: of the final fit.

    Raises:
        InputError: a shape or a setting is wrong.
        DataError: a row is not finite, or a class has no row to train on.
    """
    if folds is not None and validation is not None:
        raise InputError("give either folds or a validation set, not both")
    rows = read_rows(features)
    weights = read_row_weights(sample_weights, n_rows=rows.n_rows, device=rows.device)
    known = _read(targets, rows, loss, class_weights, n_classes)
    weights = weights * known.row_masses()
    link = Softmax() if loss == "softmax" else Sigmoid()
    everything = single(Family(rows, known, link, weights[:, None], weights.new_zeros(0)))
    _refuse_unlearnable(known, weights)
    if folds is not None:
        family, held_out = by_folds(everything, weights, as_tensor(folds))
    elif validation is not None:
        family, held_out = everything, _validate(everything, validation, loss)
    else:
        raise InputError("give either folds or a validation set")
    grid = penalty_grid(rows, l2s)
    walk = Walk(family, held_out, patience)
    walk.down(grid)
    chosen = walk.best
    start = walk.starts[chosen]
    minimum = minimise(
        everything, *middle(everything, *start, l2=walk.l2s[chosen]), l2=walk.l2s[chosen],
        tolerance=tolerance, max_iterations=100, warm=walk.conditioning,
    )  # fmt: skip
    return Search(
        l2s=tuple(walk.l2s),
        losses=tuple(walk.losses),
        fold_losses=tuple(walk.fold_losses),
        accuracies=tuple(walk.accuracies),
        chosen=chosen,
        at_edge=chosen in (0, len(walk.l2s) - 1),
        converged=walk.converged,
        n_unscored=held_out.n_unscored,
        n_products=walk.n_products,
        chosen_on="folds" if validation is None else "validation",
        solution=to_solution(minimum, 0, l2=walk.l2s[chosen], shift_free=link.shift_free),
        held_out=held_out_scores(
            held_out.rows, held_out.problem, start[0], start[1] + family.offset
        ),
    )


def middle(everything: Family, weight: Tensor, bias: Tensor, *, l2: float) -> tuple[Tensor, Tensor]:
    """Return the mean of solutions (F, C, D) and (F, C), or zero where that is a better start."""
    middle = weight.mean(dim=0, keepdim=True), bias.mean(dim=0, keepdim=True)
    zero = torch.zeros_like(middle[0]), torch.zeros_like(middle[1])
    better = evaluate(everything, *middle, l2=l2).objective
    # A mean that is not finite compares as false.
    return middle if bool(better <= evaluate(everything, *zero, l2=l2).objective) else zero


def _validate(
    everything: Family,
    validation: tuple[Tensor | np.ndarray, Tensor | np.ndarray],
    loss: Literal["softmax", "sigmoid"],
) -> HeldOut:
    """Return a validation set as rows that score the one problem."""
    rows = read_rows(validation[0])
    if rows.width != everything.rows.width:
        raise InputError(f"validation features have width {rows.width}: {everything.rows.width}")
    targets = everything.targets
    known = _read(validation[1], rows, loss, targets.class_weights, targets.n_classes)
    weights = known.row_masses()[:, None]
    only = torch.zeros(rows.n_rows, dtype=torch.int64, device=rows.device)
    return HeldOut(rows, known, weights, only, 0)


def _read(
    targets: Tensor | np.ndarray, rows: Rows, loss: Literal["softmax", "sigmoid"],
    class_weights: ClassWeights, n_classes: int | None,
) -> Targets:  # fmt: skip
    """Return checked targets for `loss`."""
    if loss == "softmax":
        return read_targets(
            targets, n_rows=rows.n_rows, device=rows.device, class_weights=class_weights,
            n_classes=n_classes,
        )  # fmt: skip
    if loss != "sigmoid":
        raise InputError(f"loss is {loss!r}: expected 'softmax' or 'sigmoid'")
    if class_weights is not None:
        raise InputError("class_weights weigh classes that exclude each other: drop them here")
    return read_labels(targets, n_rows=rows.n_rows, device=rows.device)


def _refuse_unlearnable(targets: Targets, weights: Tensor) -> None:
    """Refuse classes without a row, and labels that every row has."""
    masses = targets.masses(weights[:, None])[0]
    refuse_empty(masses)
    if not targets.exclusive:
        refuse_empty(weights.sum() - masses, "row without it")


def penalty_grid(rows: Rows, l2s: Sequence[float] | None) -> list[float]:
    """Return penalties in descending order."""
    if l2s is None:
        scale = float(rows.variance.mean()) or 1.0
        return (scale * np.geomspace(HIGHEST, LOWEST, N_L2S)).tolist()
    for l2 in l2s:
        check_l2(l2)
    if len(l2s) == 0:
        raise InputError("l2s is empty: give at least one penalty")
    return sorted({float(l2) for l2 in l2s}, reverse=True)
