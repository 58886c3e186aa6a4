"""Multinomial and multi-label logistic regression on frozen features, solved exactly.

The objective is mean cross-entropy plus `l2 / 2 * ||W||^2`, the bias left free:

    sum_i s_i * loss(W x_i + b, t_i) / sum_i s_i  +  l2 / 2 * ||W||^2

where s_i is the sample weight times the class weight of the row's target. scikit-learn's
`LogisticRegression` minimises the same with C = 1 / (l2 * sum_i s_i), which is 1 / (l2 * N)
without weights. (With two classes it keeps one weight vector instead of two opposite ones, and the
same minimum has C = 2 / (l2 * N).)
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from graft.errors import DataError, InputError
from graft.solvers.family import Family
from graft.solvers.link import Sigmoid, Softmax
from graft.solvers.newton import Minimum, minimise
from graft.solvers.rows import read_rows
from graft.solvers.solution import Solution
from graft.solvers.targets import (
    ClassWeights,
    read_labels,
    read_row_weights,
    read_targets,
)


def fit_logistic(
    features: Tensor | np.ndarray,
    targets: Tensor | np.ndarray,
    *,
    l2: float,
    class_weights: ClassWeights = None,
    sample_weights: Tensor | np.ndarray | None = None,
    n_classes: int | None = None,
    start: Solution | None = None,
    tolerance: float = 1e-8,
    max_iterations: int = 100,
) -> Solution:
    """Fit softmax regression to its one minimum.

    Args:
        features: (N, D) float32 tensor, array or memory map; computed on where they live.
        targets: (N,) integer classes, or (N, C) distributions (their rows are normalised).
        l2: penalty on the weight, positive.
        class_weights: (C,) positive, or "balanced".
        sample_weights: (N,) not negative.
        n_classes: C, where it is not the largest class plus one.
        start: a solution nearby.
        tolerance: on the last Newton step, in the Hessian's norm, relative to the root of twice
            the objective: the objective is then within about its square of the minimum.
        max_iterations: Newton steps at most.

    Returns:
        weight (C, D), bias (C,), and how they were reached.

    Raises:
        InputError: a shape or a setting is wrong.
        DataError: a row is not finite, or a class has no row.

    >>> x = torch.tensor([[-2.0], [-1.0], [1.0], [2.0]])
    >>> solution = fit_logistic(x, torch.tensor([0, 0, 1, 1]), l2=0.1)
    >>> solution.converged, (x.double() @ solution.weight.T + solution.bias).argmax(1).tolist()
    (True, [0, 0, 1, 1])
    """
    rows = read_rows(features)
    known = read_targets(
        targets, n_rows=rows.n_rows, device=rows.device, class_weights=class_weights,
        n_classes=n_classes,
    )  # fmt: skip
    weights = read_row_weights(sample_weights, n_rows=rows.n_rows, device=rows.device)
    weights = (weights * known.row_masses())[:, None]
    refuse_empty(known.masses(weights)[0])
    family = single(Family(rows, known, Softmax(), weights, weights.new_zeros(0)))
    return _fit(family, l2, start, tolerance, max_iterations)


def fit_multilabel(
    features: Tensor | np.ndarray,
    targets: Tensor | np.ndarray,
    *,
    l2: float,
    sample_weights: Tensor | np.ndarray | None = None,
    start: Solution | None = None,
    tolerance: float = 1e-8,
    max_iterations: int = 100,
) -> Solution:
    """Fit one independent logistic regression per column of `targets`, all in the same passes.

    The loss of a row is the sum over its C labels of the binary cross-entropy.

    Args:
        features: (N, D).
        targets: (N, C) in [0, 1].
        l2: as in `fit_logistic`, and so are the others.
        sample_weights: (N,).
        start: a solution nearby.
        tolerance: on the last Newton step.
        max_iterations: Newton steps at most.

    Raises:
        InputError: a shape or a setting is wrong.
        DataError: a row is not finite, or a label is always or never there.
    """
    rows = read_rows(features)
    known = read_labels(targets, n_rows=rows.n_rows, device=rows.device)
    weights = read_row_weights(sample_weights, n_rows=rows.n_rows, device=rows.device)[:, None]
    present = known.masses(weights)[0]
    refuse_empty(present)
    refuse_empty(weights.sum() - present, "row without it")
    family = single(Family(rows, known, Sigmoid(), weights, weights.new_zeros(0)))
    return _fit(family, l2, start, tolerance, max_iterations)


def single(family: Family) -> Family:
    """Return `family` with weights that sum to one and no class switched off."""
    weights = family.weights / family.weights.sum(dim=0)
    offset = weights.new_zeros(weights.shape[1], family.targets.n_classes)
    return Family(family.rows, family.targets, family.link, weights, offset)


def refuse_empty(masses: Tensor, what: str = "row") -> None:
    """Raise DataError naming the classes of `masses` (C,) that are zero."""
    empty = torch.nonzero(masses <= 0)[:, 0].tolist()
    if empty:
        names = ", ".join(map(str, empty[:8])) + (", …" if len(empty) > 8 else "")
        raise DataError(f"class {names} has no {what}: drop the class or add rows of it")


def check_l2(l2: float) -> None:
    """Raise InputError unless `l2` is positive and finite."""
    if not (math.isfinite(l2) and l2 > 0):
        raise InputError(
            f"l2 is {l2}: it must be positive, or separable data have no solution; try 1e-6"
        )


def to_solution(minimum: Minimum, index: int, *, l2: float, shift_free: bool) -> Solution:
    """Return problem `index` of a family as a record of its own."""
    point = minimum.point
    bias = point.bias[index].clone()
    if shift_free:
        bias -= bias.mean()
    return Solution(
        weight=point.weight[index].clone(),
        bias=bias,
        l2=l2,
        objective=float(point.objective[index]),
        gradient_norm=float(point.gradient[index].norm()),
        gap=float(minimum.gap[index]),
        n_iterations=minimum.n_iterations,
        n_products=minimum.n_products,
        converged=bool(minimum.converged[index]),
        message=minimum.message,
    )


def _fit(
    family: Family, l2: float, start: Solution | None, tolerance: float, max_iterations: int
) -> Solution:
    check_l2(l2)
    if max_iterations < 1 or not tolerance > 0:
        raise InputError("max_iterations must be at least 1 and tolerance positive")
    shape = (1, family.targets.n_classes, family.rows.width)
    weight, bias = family.weights.new_zeros(shape), family.weights.new_zeros(shape[:2])
    if start is not None:
        if start.weight.shape != shape[1:]:
            raise InputError(f"start has shape {tuple(start.weight.shape)}, not {shape[1:]}")
        weight, bias = weight + start.weight.to(weight), bias + start.bias.to(bias)
    minimum = minimise(
        family, weight, bias, l2=l2, tolerance=tolerance, max_iterations=max_iterations
    )
    return to_solution(minimum, 0, l2=l2, shift_free=family.link.shift_free)
