"""Forgetting, measured: what the network could do before, asked again after every epoch.

A head that answers the old question stays as it is while the body below it trains. Where the
checkpoint's own head knows all the classes, that is the one; else a linear probe is solved on the
untouched features of some of the rows. Other rows are measured.

Under a fixed head two things look alike: features that are lost, and features that have only
moved. So at the end a head is solved on the trained features anew.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from graft.engine.predict import feature_rows, head_rows
from graft.engine.solve import search
from graft.engine.start import backbone_fingerprint
from graft.heads import Linear
from graft.job import Job
from graft.labelled_job import labelled_task
from graft.metrics import scorer_of
from graft.model import Model
from graft.recipe import Recipe
from graft.records import RememberedRecord
from graft.remember_job import OldRows
from graft.tasks.labelled import Labelled, answered
from graft.tasks.regress import Regress
from graft.tasks.streams import TableStream

MOST_MEASURED, MOST_SOLVED = 1_000, 5_000
"""Rows that are measured after each epoch, and rows that a head is solved on, evenly drawn."""
N_FOLDS = 5


@dataclass(eq=False)
class Remembered:
    """Measure what a network still can do; called with the model that trains.

    Args:
        name: of the data.
        task: their question.
        known: rows on which a head is solved.
        measured: rows that are measured.
        own: the checkpoint's own head, where it answers.
        seed: of the folds by which a penalty is chosen.
    """

    name: str
    task: Labelled
    known: TableStream
    measured: TableStream
    own: Linear | None
    seed: int

    def begin(self, model: Model) -> None:
        """Solve the head on the untouched network, unless it has its own, and measure that."""
        self.head = self.own or self._solved(model)
        self.weights = backbone_fingerprint(model)
        self.before = self.last = self._score(self.head, model)

    def __call__(self, model: nn.Module) -> float:
        """Return the metric under the fixed head; features that stand still are not asked twice."""
        assert isinstance(model, Model)
        weights = backbone_fingerprint(model)
        if weights != self.weights:
            self.weights, self.last = weights, self._score(self.head, model)
        return self.last

    def record(self, model: Model) -> RememberedRecord:
        """Return what is left at the end, under the fixed head and one that is solved anew."""
        return RememberedRecord(
            self.name,
            self.task.headline,
            len(self.measured),
            "a probe" if self.own is None else "its own head",
            self.before,
            self(model),
            self._score(self._solved(model), model),
        )

    def _solved(self, model: Model) -> Linear:
        features = feature_rows(model.backbone, self.known)
        problem = self.task.convex(self.known)  # type: ignore[attr-defined]
        solution = search(features, problem, N_FOLDS, self.seed).solution
        return _linear(solution.weight, solution.bias)

    def _score(self, head: Linear, model: Model) -> float:
        outputs = answered(self.task, head_rows(head, feature_rows(model.backbone, self.measured)))
        scores = scorer_of(self.task.metrics)(self.task.truth(self.measured), outputs).scores()
        return scores[self.task.headline]


def remembering(job: Job) -> Remembered | None:
    """Return what measures forgetting, ready and with its figure before training; None unasked."""
    rows = job.old_rows
    if rows is None:
        return None
    task, head = _question(job, rows)
    splits = rows.splits
    held = splits.test if len(splits.test) else splits.validation
    known, measured = (
        task.streams(rows.table.take(_drawn(some, most)), job.backbone)["train"]
        for some, most in ((splits.train, MOST_SOLVED), (held, MOST_MEASURED))
    )
    found = Remembered(rows.name, task, known, measured, head, job.recipe.seed)
    found.begin(job.model)  # type: ignore[arg-type]
    return found


def _drawn(rows: np.ndarray, most: int) -> np.ndarray:
    """Return some rows, evenly drawn, or all where they are few."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), most)).astype(np.int64))]


def _question(job: Job, rows: OldRows) -> tuple[Any, Linear | None]:
    """Return the task of the old rows, and the checkpoint's own head where it knows their classes.

    Of a head that knows more classes than the rows have, theirs alone are asked for.
    """
    task: Any = labelled_task(Recipe(data=rows.name), rows.table, rows.splits)
    origin = job.backbone.origin
    is_known = origin.problem == task.problem and set(task.classes) <= set(origin.classes)
    if not is_known or origin.old_head is None:
        return task, None
    if isinstance(task, Regress):  # the head predicts the numbers themselves
        task = replace(task, mean=0.0, std=1.0)
    order = [origin.classes.index(c) for c in task.classes]
    return task, _linear(*(t[order] for t in origin.old_head))


def _linear(weight: torch.Tensor, bias: torch.Tensor) -> Linear:
    """Return a head of given weight (C, D) and bias (C,)."""
    with torch.random.fork_rng(devices=[]):
        head = Linear(weight.shape[1], len(weight))
    with torch.no_grad():
        head.out.weight.copy_(weight)
        head.out.bias.copy_(bias)
    return head
