"""The convex phase: the head solved exactly on frozen features and written into the model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import nn

from graft.data.split import folds
from graft.engine.feeds import PhaseFeeds
from graft.engine.prefix import Prefix
from graft.engine.processes import assign
from graft.engine.views import n_numbers
from graft.heads import Linear
from graft.methods.plan import Convex
from graft.records import ConvexRecord
from graft.solvers import fit_logistic, fit_multilabel, search_l2
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
    if len(feeds.replays) != 1 or any(len(r.taps) != 1 for r in feeds.replays.values()):
        return feeds.reason or "the head reads more than pooled features"
    return ""


def solve_head(
    model: nn.Module, task: Task, stream: Stream, prefix: Prefix, by: Convex, seed: int
) -> ConvexRecord:
    """Solve the head on the stream's pooled features and write it into the model."""
    problem: ConvexProblem = _of_all_views(task.convex(stream), stream)  # type: ignore[attr-defined]
    features = _features(stream, prefix)
    is_softmax = problem.loss == "softmax"
    n_classes = problem.n_classes if is_softmax else None
    chosen_by = "given"
    if by.l2 == "cv":
        found = search_l2(
            features,
            problem.targets,
            folds=_folds(problem, by.n_folds, seed),
            loss=problem.loss,
            sample_weights=problem.weights,
            n_classes=n_classes,
        )
        solution = found.solution
        chosen_by = f"{by.n_folds}-fold cross-validation on training rows"
    elif is_softmax:
        solution = fit_logistic(
            features,
            problem.targets,
            l2=float(by.l2),
            sample_weights=problem.weights,
            n_classes=n_classes,
        )
    else:
        solution = fit_multilabel(
            features, problem.targets, l2=float(by.l2), sample_weights=problem.weights
        )
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


def _features(stream: Stream, prefix: Prefix) -> np.ndarray:
    """Return (N, D) pooled features, memory-mapped where they are stored."""
    n = n_numbers(stream)
    if prefix.store is not None and prefix.store.is_complete:
        return prefix.store.array(0).reshape(n, -1)
    tensors = prefix.compute(np.arange(n))[0]
    return torch.stack(tensors).float().cpu().numpy().reshape(n, -1)


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
    if labels.ndim > 1:
        labels = labels.argmax(1)
    n_units = len(labels) if problem.groups is None else len(set(problem.groups.tolist()))
    return folds(labels, max(SMALLEST_FOLD, min(n_folds, n_units)), seed, problem.groups)
