"""The convex phase: the head solved exactly on frozen features and written into the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce

import numpy as np
import torch
from torch import nn

from graft.data.split import folds
from graft.engine.feeds import PhaseFeeds
from graft.engine.prefix import Prefix
from graft.engine.processes import assign
from graft.engine.views import n_numbers
from graft.errors import InputError
from graft.heads import Linear
from graft.methods.plan import Convex
from graft.phase_records import ConvexRecord
from graft.solvers import (
    Search,
    Solution,
    fit_logistic,
    fit_multilabel,
    ridge_path,
    search_l2,
    search_ridge,
)
from graft.tasks.task import ConvexProblem, Stream, Task

SMALLEST_FOLD = 2


def why_not_convex(task: Task, model: nn.Module, feeds: PhaseFeeds) -> str:
    """Return why the head cannot be solved exactly, or an empty string."""
    if not hasattr(task, "convex"):
        return f"{type(task).__name__} has no convex form"
    if reason := getattr(task, "why_not_convex", ""):
        return reason
    if not isinstance(getattr(model, "head", None), Linear):
        return "only a linear head has a convex form"
    if not feeds.replays or any(len(r.taps) != 1 for r in feeds.replays.values()):
        return feeds.reason or "the head reads more than pooled features"
    return ""


def solve_head(
    model: nn.Module,
    task: Task,
    streams: Mapping[str, Stream],
    prefixes: Mapping[str, Prefix],
    by: Convex,
    seed: int,
) -> ConvexRecord:
    """Solve the head on the pooled features of all streams and write it into the model."""
    problem, features = _of_all_streams(task, streams, prefixes)
    if by.l2 == "cv":
        solution = search(features, problem, by.n_folds, seed).solution
        chosen_by = f"{by.n_folds}-fold cross-validation on training rows"
    else:
        solution, chosen_by = _fit(features, problem, float(by.l2)), "given"
    head = model.head
    assert isinstance(head, Linear)
    assign(head.out.weight, solution.weight)
    assign(head.out.bias, solution.bias)
    return ConvexRecord(
        solution.l2,
        chosen_by,
        solution.objective,
        solution.converged,
        solution.n_iterations,
        solution.message,
    )


@torch.autocast("cpu", enabled=False)
def search(features: np.ndarray, problem: ConvexProblem, n_folds: int, seed: int) -> Search:
    """Choose l2 by cross-validation and solve, in full precision under autocast too.

    Args:
        features: (N, D).
        problem: what to solve on them.
        n_folds: of the cross-validation; fewer where there are fewer rows or groups.
        seed: of the folds.
    """
    return search_on(features, problem, folds_of(problem, n_folds, seed))


def folds_of(problem: ConvexProblem, n_folds: int, seed: int) -> np.ndarray:
    """Return the fold (N,) of each row: the same for any features of the same problem.

    Raises:
        InputError: no fold could be scored.
    """
    folds = _folds(problem, n_folds, seed)
    if problem.groups is not None and _tears_classes(problem, folds):
        raise InputError(
            "l2 cannot be chosen on whole groups: each class lies in one of them; pass --l2, or "
            "leave out --group"
        )
    return folds


def search_on(
    features: np.ndarray,
    problem: ConvexProblem,
    folds: np.ndarray,
    *,
    l2s: Sequence[float] | None = None,
    patience: int = 5,
) -> Search:
    """Choose l2 on given folds (N,) and solve.

    Args:
        features: (N, D).
        problem: what to solve on them.
        folds: (N,) number of each row's fold.
        l2s: penalties to try; those that suit the features unless given.
        patience: smaller penalties tried after the best one; a closed form tries all.
    """
    if problem.loss == "squared":
        return search_ridge(
            features, problem.targets, folds=folds, l2s=l2s, sample_weights=problem.weights
        )
    return search_l2(
        features,
        problem.targets,
        folds=folds,
        l2s=l2s,
        loss=problem.loss,
        sample_weights=problem.weights,
        n_classes=problem.n_classes if problem.loss == "softmax" else None,
        patience=patience,
    )


def _tears_classes(problem: ConvexProblem, folds: np.ndarray) -> bool:
    """Return whether no fold has a row of a class that is also outside of it."""
    if problem.loss != "softmax":
        return False
    labels = problem.targets if problem.targets.ndim == 1 else problem.targets.argmax(1)
    return len(set(zip(labels.tolist(), folds.tolist(), strict=True))) == len(set(labels.tolist()))


@torch.autocast("cpu", enabled=False)
def _fit(features: np.ndarray, problem: ConvexProblem, l2: float) -> Solution:
    weights = problem.weights
    if problem.loss == "squared":
        return ridge_path(features, problem.targets, l2s=[l2], sample_weights=weights)[0]
    if problem.loss == "sigmoid":
        return fit_multilabel(features, problem.targets, l2=l2, sample_weights=weights)
    return fit_logistic(
        features, problem.targets, l2=l2, sample_weights=weights, n_classes=problem.n_classes
    )


def _of_all_streams(
    task: Task, streams: Mapping[str, Stream], prefixes: Mapping[str, Prefix]
) -> tuple[ConvexProblem, np.ndarray]:
    """Return the problem of all streams that have a part in it, and their features, (N, D)."""
    problems: list[ConvexProblem] = []
    features: list[np.ndarray] = []
    for name, stream in streams.items():
        problem: ConvexProblem | None = task.convex(stream)  # type: ignore[attr-defined]
        if problem is not None:
            problems.append(_of_all_views(problem, stream))
            features.append(prefixes[name].vectors())
    if len(problems) == 1:
        return problems[0], features[0]
    return reduce(ConvexProblem.joined, problems), np.concatenate(features)


def _of_all_views(problem: ConvexProblem, stream: Stream) -> ConvexProblem:
    """Return the problem for every view of each row, those of one row in one fold."""
    n_views = n_numbers(stream) // max(1, len(stream))
    if n_views == 1:
        return problem
    groups = np.arange(len(stream)) if problem.groups is None else problem.groups
    weights = None if problem.weights is None else np.tile(problem.weights, n_views)
    targets = np.concatenate([problem.targets] * n_views)
    return replace(problem, targets=targets, weights=weights, groups=np.tile(groups, n_views))


def _folds(problem: ConvexProblem, n_folds: int, seed: int) -> np.ndarray:
    labels = problem.targets
    if problem.loss == "softmax" and labels.ndim > 1:
        labels = labels.argmax(1)
    elif problem.loss == "sigmoid":
        labels = (labels > 0.5).astype(np.int64)
    n_units = len(labels) if problem.groups is None else len(set(problem.groups.tolist()))
    return folds(labels, max(SMALLEST_FOLD, min(n_folds, n_units)), seed, problem.groups)
