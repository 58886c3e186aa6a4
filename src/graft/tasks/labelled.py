"""What tasks on one labelled table share: the head's way in, the table as a stream.

    Classify, Multilabel, Regress ─┬─ headed        a new head, or the old one
                                   └─ table_stream  inputs encoded once, targets beside them

A task on a labelled table says besides what the engine asks (see `task.py`): `name` in `TASKS`,
`classes` (names of its outputs), `metrics` (its row of `graft.metrics.METRICS`), `headline` (the
metric that counts first), `target` (what it calls its targets in a batch), `output` (the one
prediction that metrics read), and how people read its answers.

Shapes: N examples, D feature width, C outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import nn

from graft.backbones.backbone import Backbone, Problem
from graft.batch import Batch
from graft.data.images import MAX_PIXELS, decode
from graft.data.table import Table
from graft.data.tuples import Tuples
from graft.heads import Linear, head
from graft.model import Model
from graft.records import Prediction
from graft.tasks.streams import TableStream
from graft.tasks.task import Task

Truth = np.ndarray | Tuples
"""(N,) or (N, C) targets; for embeddings (N,) class numbers, or who belongs to whom."""


class Labelled(Task, Protocol):
    """Say what a task on one labelled table adds to the engine's contract."""

    name: ClassVar[str]
    metrics: ClassVar[str]
    target: ClassVar[str]
    output: ClassVar[str]
    problem: ClassVar[Problem]

    @property
    def headline(self) -> str:
        """Return the metric that counts first."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the names of the C outputs."""
        ...

    @property
    def head(self) -> str:
        """Return which head it has, as `graft.heads.head` takes it."""
        ...

    def build(self, backbone: Backbone) -> tuple[Model, nn.Module | None]:
        """Put a head on a backbone; what is learned beside it comes second."""
        ...

    def streams(self, table: Table, backbone: Backbone) -> dict[str, TableStream]:
        """Return the table as the one stream, `train`; rows without targets get a blank."""
        ...

    def truth(self, stream: TableStream) -> Truth:
        """Return what metrics compare the outputs for a stream's items with."""
        ...

    def untrained(
        self, features: np.ndarray, targets: np.ndarray, queries: np.ndarray
    ) -> np.ndarray:
        """Return outputs for queries (M, D) from the features (N, D) of rows that are known."""
        ...

    def answers(self, outputs: np.ndarray) -> list[Prediction]:
        """Return what N outputs say, for people."""
        ...

    def settled(self, model: Model) -> Labelled:
        """Write into a trained model what only the task knew; return the task that reads it then.

        Another library that opens the model must find the right numbers in its outputs.
        """
        ...


def headed(task: Labelled, backbone: Backbone) -> Model:
    """Put a new head on the backbone, or the old one where its targets are exactly the task's."""
    new = head(task.head, backbone.width, len(task.classes))
    old = backbone.origin.old_head
    if keeps_head(task, backbone) and old is not None:
        assert isinstance(new, Linear)
        order = [backbone.origin.classes.index(c) for c in task.classes]
        with torch.no_grad():
            new.out.weight.copy_(old[0][order])
            new.out.bias.copy_(old[1][order])
    return Model(backbone, new)


def keeps_head(task: Labelled, backbone: Backbone) -> bool:
    """Return whether the checkpoint's own head predicts exactly the task's outputs."""
    origin = backbone.origin
    return (
        getattr(task, "keep_head", True)
        and task.head == "linear"
        and origin.old_head is not None
        and origin.problem == task.problem
        and sorted(origin.classes) == sorted(task.classes)
    )


def answered(task: Labelled, outputs: np.ndarray) -> np.ndarray:
    """Return what a task predicts, as its metrics read it, where its model gives outputs (N, C)."""
    given = torch.from_numpy(outputs)
    model: Any = lambda _: given  # noqa: E731
    return task.predict(model, Batch({}))[task.output].numpy()


def why_not_convex(focal: float | None) -> str:
    """Return why a head under a focal loss cannot be solved exactly; empty without one."""
    return "" if focal is None else "the focal loss is not convex"


def table_stream(
    table: Table, backbone: Backbone, targets: dict[str, np.ndarray]
) -> dict[str, TableStream]:
    """Return a table as the one stream of a step.

    Args:
        table: N examples.
        backbone: its processor encodes and collates.
        targets: by name, each (N, …).
    """
    is_image = table.roles.modality == "image"
    load: Callable[..., np.ndarray] | None = None
    if is_image:
        load = partial(decode, max_pixels=table.max_pixels or MAX_PIXELS)
    stream = TableStream(
        table.inputs(),
        backbone.processor,
        targets=targets,
        key=table.content_hash(),
        groups=_groups(table),
        load=load,
        has_lengths=not is_image,
        row_name=lambda row: str(table.origin(row)),
    )
    return {"train": stream}


def labels_of(row: np.ndarray, classes: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the labels that hold, where `row` (C,) is true."""
    return tuple(c for c, holds in zip(classes, row, strict=True) if holds)


def _groups(table: Table) -> np.ndarray | None:
    group = table.roles.group
    return None if group is None else np.asarray(table.column(group))
