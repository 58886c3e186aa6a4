"""The task contract, and the streams that feed it.

The engine calls, for each step and each stream, `encode`; then once `loss` on all that was encoded.
They are apart because what `encode` gives can be computed from stored tensors, in micro-batches,
or twice (gradient caching), while `loss` sees the whole step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import numpy as np
from torch import Tensor, nn

from graft.backbones.backbone import Backbone
from graft.batch import Batch


@dataclass(frozen=True)
class Progress:
    """Say where training stands: the step of the phase, how many there are, the epoch."""

    step: int = 0
    n_steps: int = 1
    epoch: int = 0


@dataclass(frozen=True)
class Loss:
    """Hold a sum of losses and the weight that it must be divided by.

    Args:
        total: scalar, with gradient.
        count: the summed weight (for plain losses the number of examples).
    """

    total: Tensor
    count: Tensor


@dataclass(frozen=True, eq=False)
class ConvexProblem:
    """What the convex phase solves on frozen features, for tasks whose loss is convex in the head.

    Args:
        loss: `softmax` for one class per example, `sigmoid` for labels, `squared` for numbers.
        targets: of the stream's rows: (N,) class numbers or (N, C) distributions for `softmax`,
            (N, C) in [0, 1] for `sigmoid`, (N,) numbers for `squared`.
        n_classes: C.
        weights: (N,) with which each row counts, or None for all alike.
        groups: (N,) rows of one group share a fold, or None.
    """

    loss: Literal["softmax", "sigmoid", "squared"]
    targets: np.ndarray
    n_classes: int
    weights: np.ndarray | None = None
    groups: np.ndarray | None = None

    def take(self, rows: np.ndarray) -> ConvexProblem:
        """Return the problem of some rows alone."""
        weights = None if self.weights is None else self.weights[rows]
        groups = None if self.groups is None else self.groups[rows]
        return replace(self, targets=self.targets[rows], weights=weights, groups=groups)

    @property
    def row_weights(self) -> np.ndarray:
        """Return (N,) with which each row counts."""
        return np.ones(len(self.targets)) if self.weights is None else self.weights

    def joined(self, other: ConvexProblem) -> ConvexProblem:
        """Return the problem of these rows and those of another, with targets of the same form."""
        assert (self.loss, self.n_classes) == (other.loss, other.n_classes)
        weights = groups = None
        if self.weights is not None or other.weights is not None:
            each = [
                np.ones(len(p.targets)) if p.weights is None else p.weights for p in (self, other)
            ]
            weights = np.concatenate(each)
        if self.groups is not None or other.groups is not None:
            groups = np.concatenate([_own_groups(self, "a"), _own_groups(other, "b")])
        targets = np.concatenate([self.targets, other.targets])
        return replace(self, targets=targets, weights=weights, groups=groups)


def _own_groups(problem: ConvexProblem, which: str) -> np.ndarray:
    """Return (N,) groups that no other problem has; a row without one is a group of its own."""
    groups = problem.groups
    names = range(len(problem.targets)) if groups is None else groups.tolist()
    return np.asarray([f"{which} {name}" for name in names])


class Stream(Protocol):
    """A source of examples: one labelled table, one unlabelled, one of pairs."""

    key: str
    """Identity of the inputs: equal keys mean equal inputs. Part of the key of feature stores."""
    lengths: np.ndarray | None
    """(N,) tokens of each example; None where all have one shape."""

    def __len__(self) -> int: ...

    def batch(
        self, rows: np.ndarray, *, length: int | None = None, without: frozenset[str] = frozenset()
    ) -> Batch:
        """Collate some examples, padded to `length` or the longest; leave out inputs `without`."""
        ...

    def bucket(self, length: int) -> int:
        """Round a length up to the shape at which frozen prefixes are computed."""
        ...


class Task(Protocol):
    """Say what is predicted.

    Besides these five a task may have `convex(stream) -> ConvexProblem`, if its loss is convex in a
    linear head (of several streams the problems are joined, and None is no part of it), and
    `why_not_convex: str` where its settings may make it none (empty otherwise);
    `after_step(model, state, progress)`, called when the weights have moved;
    `measure(outputs, streams) -> dict[str, float]`, which after every epoch scores what `predict`
    gives for each different item of the validation streams, by stream; `criterion(loss, scores) ->
    float`, the least of which makes the best epoch, where that is not the validation loss;
    `is_joint = True`, if the loss of a step
    is no sum over its examples (in-batch negatives): what it encodes is then computed in several
    passes and joined along the first dimension, and its loss sees targets and rows of the batches
    but no inputs; and `is_aligned = True`, if row i of every stream is the same example (a picture
    and its caption), so that a step takes the same rows of all of them. Else a further stream is
    drawn by itself, and begins anew when it ends.
    """

    def build(self, backbone: Backbone) -> tuple[nn.Module, nn.Module | None]:
        """Return the model, and what the task keeps beside it."""
        ...

    def streams(self, table: Any, backbone: Backbone) -> Mapping[str, Stream]:
        """Return what a step consumes; the first stream is the one an epoch counts."""
        ...

    def encode(self, model: nn.Module, batch: Batch, progress: Progress) -> Any:
        """Run the model on a batch of one stream; returns tensors in any structure."""
        ...

    def loss(
        self,
        encoded: Mapping[str, Any],
        batches: Mapping[str, Batch],
        state: nn.Module | None,
        progress: Progress,
    ) -> Loss:
        """Return the loss of what was encoded, by stream."""
        ...

    def predict(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        """Return predictions, each (n, …)."""
        ...
