"""What estimating needs to measure fairly: a model left as it was, bytes, lines, stand-ins."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from graft.tasks.task import ConvexProblem

ROWS_PER_CLASS = 3
CLASS_DISTANCE = 1.2


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Put buffers, modes, flags and random numbers back at the end, and drop gradients."""
    buffers = [(b, b.clone()) for b in model.buffers()]
    modes = [(m, m.training) for m in model.modules()]
    flags = [(p, p.requires_grad) for p in model.parameters()]
    with torch.random.fork_rng():
        try:
            yield
        finally:
            with torch.no_grad():
                for buffer, value in buffers:
                    buffer.copy_(value)
            for module, training in modes:
                module.training = training
            for parameter, needed in flags:
                parameter.requires_grad_(needed)
                parameter.grad = None


def kept_bytes(model: nn.Module, run: Callable[[], Any]) -> int:
    """Return the bytes that autograd keeps for the backward pass of `run`, weights aside."""
    own = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        alive = run()  # held until all is counted, or storages would be given out anew
    del alive
    return sum(kept.values())


@dataclass(frozen=True)
class Line:
    """Hold seconds as a straight line over units (rows × padded length)."""

    fixed: float
    per_unit: float

    def total(self, units: np.ndarray) -> float:
        """Return the seconds of several batches, given the units of each."""
        return self.fixed * len(units) + self.per_unit * float(units.sum())


def fit_line(units: Sequence[float], seconds: Sequence[float]) -> Line:
    """Fit a line through measured points; neither of its parts is negative.

    >>> fit_line([1, 2], [3.0, 5.0])
    Line(fixed=1.0, per_unit=2.0)
    """
    x, y = np.asarray(units, np.float64), np.asarray(seconds, np.float64)
    spread = float(((x - x.mean()) ** 2).sum())
    slope = float(((x - x.mean()) * (y - y.mean())).sum() / spread) if spread else 0.0
    fixed = float(y.mean() - slope * x.mean())
    if slope <= 0 or not spread:
        return Line(float(y.mean()), 0.0)
    if fixed < 0:
        return Line(0.0, float(y.sum() / x.sum()))
    return Line(fixed, slope)


def like_real(
    vectors: np.ndarray, problem: ConvexProblem, n: int
) -> tuple[np.ndarray, ConvexProblem]:
    """Return n rows that are as hard to solve as real ones, every class among them.

    Few vectors are at hand, so they are drawn again and again, blurred, and moved by their class.
    """
    random = np.random.default_rng(0)
    targets = problem.targets[_dealt(problem, n)]
    scale = vectors.std(0, keepdims=True)
    features = vectors[random.integers(0, len(vectors), n)]
    features = features + 0.5 * scale * random.standard_normal(features.shape)
    labels = targets if targets.ndim == 1 else targets.argmax(1)
    places = np.unique(labels, return_inverse=True)[1]
    moves = random.standard_normal((places.max() + 1, vectors.shape[1]))
    # about two standard deviations between classes, whatever the width: neither noise nor apart
    features = features + CLASS_DISTANCE / np.sqrt(moves.shape[1]) * scale * moves[places]
    loss, n_classes = problem.loss, problem.n_classes
    return features.astype(np.float32), ConvexProblem(loss, targets, n_classes)


def _dealt(problem: ConvexProblem, n: int) -> np.ndarray:
    """Return n rows in which each class comes as early as possible."""
    targets = problem.targets
    if problem.loss == "squared":
        return np.arange(n)
    labels = targets if targets.ndim == 1 else targets.argmax(1)
    order = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[order], labels[order])
    rank = np.empty(len(labels), np.int64)
    rank[order] = np.arange(len(labels)) - starts
    first = np.argsort(np.where(rank < ROWS_PER_CLASS, rank, ROWS_PER_CLASS), kind="stable")
    return first[:n]
