"""Which rows are held out from which problem of a family, and what they are answered."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from graft.errors import InputError
from graft.solvers.family import ABSENT, Family
from graft.solvers.newton import Minimum
from graft.solvers.rows import Rows
from graft.solvers.targets import Targets


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Hold what is scored.

    Args:
        rows: N of them.
        targets: theirs.
        weights: (N, F) with which each row counts for a problem, zero where it was trained on.
        problem: (N,) int64 the problem that did not see the row.
        n_unscored: rows that no problem can be scored on.
    """

    rows: Rows
    targets: Targets
    weights: Tensor
    problem: Tensor
    n_unscored: int


def score(
    family: Family, held_out: HeldOut, minimum: Minimum
) -> tuple[tuple[float, ...], float, float]:
    """Return held-out loss per fold, over all folds, and accuracy."""
    total = family.weights.new_zeros(family.n_problems)
    right = family.weights.new_zeros(())
    point = minimum.point
    for span in held_out.rows.spans(family.targets.n_classes):
        target, _ = held_out.targets.block(span)
        problem = held_out.problem[span]
        z = _own(held_out.rows, span, problem, point.weight, point.bias + family.offset)
        v = held_out.weights[span].gather(1, problem[:, None])[:, 0]
        if family.link.shift_free:
            hit = (z.argmax(dim=1) == target.argmax(dim=1)).to(z.dtype)
        else:
            hit = ((z > 0) == (target > 0.5)).to(z.dtype).mean(dim=1)
        loss = family.link.loss(z[:, None], target)[0][:, 0]
        # no scattered sum: on a GPU its order is nobody's
        total += torch.stack([(v * loss * (problem == f)).sum() for f in range(len(total))])
        right += (v * hit).sum()
    weight = held_out.weights.sum(dim=0)
    return (
        tuple((total / weight.clamp(min=1e-300)).tolist()),
        float(total.sum() / weight.sum()),
        float(right / weight.sum()),
    )


def by_folds(everything: Family, weights: Tensor, folds: Tensor) -> tuple[Family, HeldOut]:
    """Return one problem per fold, trained on the other folds, and the rows that score it."""
    rows, targets = everything.rows, everything.targets
    if folds.shape != (rows.n_rows,) or folds.is_floating_point():
        raise InputError(f"folds must be ({rows.n_rows},) integers, not {tuple(folds.shape)}")
    ids = torch.unique(folds.to(rows.device))
    if len(ids) < 2:
        raise InputError("cross-validation needs at least two folds")
    inside = folds.to(rows.device)[:, None] == ids
    train = torch.where(inside, 0.0, weights[:, None])
    scored = torch.where(inside, weights[:, None], 0.0)
    masses = targets.masses(train)
    never = masses <= 0
    always = torch.zeros_like(never)
    if not targets.exclusive:
        always = train.sum(dim=0)[:, None] - masses <= 0
    offset = torch.where(never, ABSENT, 0.0) - torch.where(always, ABSENT, 0.0)
    unscored = torch.zeros_like(inside)
    if bool((never | always).any()):
        for span in rows.spans(targets.n_classes):
            target, _ = targets.block(span)
            unscored[span] = target @ never.T.to(target.dtype) > 0
            if not targets.exclusive:
                unscored[span] |= (1 - target) @ always.T.to(target.dtype) > 0
    scored = torch.where(unscored, 0.0, scored)
    if not bool(scored.any()):
        raise InputError(
            "no fold can be scored: outside of each fold its classes have no row; give a penalty, "
            "or folds that share out every class"
        )
    family = Family(rows, targets, everything.link, train / train.sum(dim=0), offset.double())
    problem = inside.to(torch.int64).argmax(dim=1)
    return family, HeldOut(rows, targets, scored, problem, int((unscored & inside).sum()))


def held_out_scores(rows: Rows, problem: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return the scores (N, C) of each row by the problem that did not see it.

    Args:
        rows: N of them.
        problem: (N,) int64.
        weight: (F, C, D).
        bias: (F, C).
    """
    found = weight.new_zeros(rows.n_rows, bias.shape[1])
    for span in rows.spans(bias.shape[1]):
        found[span] = _own(rows, span, problem[span], weight, bias)
    return found


def _own(rows: Rows, span: slice, problem: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return the scores (n, C) of each row of a span by its own problem (n,)."""
    block = rows.block(span, weight.dtype)
    found = weight.new_zeros(len(block), bias.shape[1])
    for f in torch.unique(problem).tolist():
        own = problem == f
        found[own] = torch.addmm(bias[f], block[own], weight[f].T)
    return found
