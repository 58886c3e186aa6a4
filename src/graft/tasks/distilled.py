"""Distillation: a task whose rows also say what a teacher makes of them.

    L = (1 − α) · loss of the task + α · distillation        rows with labels
    L = distillation                                         rows without

    kind         the student's                     is brought to the teacher's
    logits       logits, softened by T             logits: KL(q‖p) · T²; numbers: squared error
    features     pooled features, projected        pooled features: squared error
    embedding    embedding, or pooled features     the same: one less the cosine

What the teacher says of a row is a target of the row, computed before training begins; of a picture
that varies it is what the teacher says of the plain picture.

Shapes: N rows, C outputs, D numbers that the teacher says of a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from graft.backbones.backbone import Backbone
from graft.batch import Batch
from graft.data.table import Table
from graft.model import Model
from graft.objectives.distillation import (
    cosine_distillation,
    sigmoid_distillation,
    softmax_distillation,
)
from graft.objectives.squared_error import squared_error
from graft.tasks.decorated import Decorated
from graft.tasks.labelled import table_stream
from graft.tasks.streams import TableStream
from graft.tasks.task import ConvexProblem, Loss, Progress

Kind = Literal["logits", "features", "embedding"]

SAID = "teacher"
"""Target of a row: what the teacher says of it, (N, D)."""
UNLABELLED = "unlabelled"
"""Stream of the rows without labels."""


class Beside(nn.Module):
    """Hold what trains beside the model.

    Args:
        own: what the task inside keeps, or None.
        projection: from the student's numbers to the teacher's, or None.
    """

    def __init__(self, own: nn.Module | None, projection: nn.Linear | None) -> None:
        super().__init__()
        self.own, self.projection = own, projection


@dataclass(frozen=True)
class Distilled(Decorated):
    """Learn a task, and beside it what a teacher answers.

    Args:
        task: what is predicted.
        kind: which of the teacher's numbers are learned.
        weight: α, between 0 and 1; at 1 the labels do not count.
        temperature: T of softened logits.
        width: D.
        spread: mean variance of the teacher's features, which becomes the unit of their error.

    Source: Hinton, Vinyals and Dean 2015, "Distilling the Knowledge in a Neural Network"; Romero
    et al. 2015, "FitNets: Hints for Thin Deep Nets", equation 3, of the last hidden layer and
    learned together with the rest instead of before it.
    """

    kind: Kind = "logits"
    weight: float = 0.5
    temperature: float = 1.0
    width: int = 1
    spread: float = 1.0

    @property
    def reads_features(self) -> bool:
        """Return whether pooled features are learned, and not what the head makes of them."""
        return self.kind == "features" or (self.kind == "embedding" and self.task.name != "embed")

    def build(self, backbone: Backbone) -> tuple[Model, Beside | None]:
        """Build the task's model; beside it a projection to the teacher's width, where needed.

        The model begins with the weights that it has without a teacher.
        """
        model, own = self.task.build(backbone)
        width = backbone.width if self.reads_features else getattr(model.head, "width", self.width)
        projection = None
        if self.kind == "features" or (self.kind == "embedding" and width != self.width):
            projection = nn.Linear(width, self.width)
            nn.init.orthogonal_(projection.weight)
            nn.init.zeros_(projection.bias)
        return model, None if own is None and projection is None else Beside(own, projection)

    def streams(self, table: Table, backbone: Backbone) -> dict[str, Any]:
        """Return the task's stream; of its items the teacher says nothing yet: zeros."""
        streams = self.task.streams(table, backbone)
        (stream,) = streams.values()
        say(stream, np.zeros((len(getattr(stream, "items", stream)), self.width), np.float32))
        return streams

    def unlabelled(self, table: Table, backbone: Backbone) -> TableStream:
        """Return a stream of rows whose only target is what the teacher says, zeros as yet."""
        said = np.zeros((len(table), self.width), np.float32)
        return table_stream(table, backbone, {SAID: said})["train"]

    def encode(self, model: nn.Module, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        """Return what the task encodes, `own`, and where they are learned `pooled` features."""
        if not self.reads_features:
            return {"own": self.task.encode(model, batch, progress)}
        features = model.backbone(batch.inputs)  # type: ignore[operator]
        return {"own": model.head(features), "pooled": features.pooled}  # type: ignore[operator]

    def loss(
        self,
        encoded: Mapping[str, Any],
        batches: Mapping[str, Batch],
        state: nn.Module | None,
        progress: Progress,
    ) -> Loss:
        """Return both losses, summed as the module's head says."""
        assert state is None or isinstance(state, Beside)
        own = {"train": encoded["train"]["own"]}
        loss = self.task.loss(own, batches, None if state is None else state.own, progress)
        total, count = (1 - self.weight) * loss.total, (1 - self.weight) * loss.count
        for name, weight in (("train", self.weight), (UNLABELLED, 1.0)):
            if name in encoded:
                found = self._distillation(encoded[name], batches[name].targets, state)
                total, count = total + weight * found.total, count + weight * found.count
        return Loss(total, count)

    def _distillation(
        self, encoded: Mapping[str, Tensor], targets: Mapping[str, Tensor], state: Beside | None
    ) -> Loss:
        found = encoded["pooled" if self.reads_features else "own"].float()
        if state is not None and state.projection is not None:
            found = state.projection(found).float()
        losses, weights = self._objective(found, targets[SAID])
        # of a pair both members are learned, and it counts once, as in the task's own loss
        n_roles = int(targets["role"].max()) + 1 if "role" in targets and len(losses) else 1
        return Loss(losses.sum() / n_roles, weights.sum() / n_roles)

    def _objective(self, found: Tensor, said: Tensor) -> tuple[Tensor, Tensor]:
        if self.kind == "embedding":
            return cosine_distillation(found, said)
        if self.kind == "features" or self.task.name == "regress":
            losses, weights = squared_error(found, said)
            return losses / self.spread, weights
        softened = softmax_distillation if self.task.name == "classify" else sigmoid_distillation
        return softened(found, said, temperature=self.temperature)

    def after_step(self, model: nn.Module, state: nn.Module | None, progress: Progress) -> None:
        """Do what the task does after a step."""
        after = getattr(self.task, "after_step", None)
        if after is not None:
            after(model, state.own if isinstance(state, Beside) else None, progress)

    @property
    def why_not_convex(self) -> str:
        """Return why the head cannot be solved exactly, or an empty string."""
        if not hasattr(self.task, "convex"):
            return f"{type(self.task).__name__} has no convex form"
        why = getattr(self.task, "why_not_convex", "")
        if why or self.kind != "logits" or self.task.name == "regress" or self.temperature == 1:
            return why
        return f"logits are softened by {self.temperature:g}; --distil-temperature 1 is solved"

    def convex(self, stream: Any) -> ConvexProblem | None:
        """Return the task's problem with targets between the label and the teacher's answer.

        A sum of cross-entropies to several targets is that to their mean, a sum of squares too but
        for a constant. Softened logits are taken at T = 1.

        Returns:
            None for rows without labels where the head has nothing to do with the teacher.
        """
        if self.kind != "logits":
            return self.task.convex(stream) if self.task.target in stream.targets else None
        said = self._answers(stream.targets[SAID])
        if self.task.target not in stream.targets:
            loss = {"classify": "softmax", "multilabel": "sigmoid", "regress": "squared"}
            return ConvexProblem(loss[self.task.name], said, len(self.task.classes))  # type: ignore[arg-type]
        return mixed(self.task.convex(stream), said, self.weight)

    def _answers(self, said: Tensor) -> np.ndarray:
        """Return the teacher's answers as a convex problem has its targets."""
        if self.task.name == "classify":
            return torch.softmax(said, dim=-1).numpy()
        return torch.sigmoid(said).numpy() if self.task.name == "multilabel" else said[:, 0].numpy()


def say(stream: Any, said: np.ndarray) -> None:
    """Let the items of a stream that `Distilled` made have what the teacher says of them, (N, D).

    Of pictures that vary it is what the teacher says of the plain ones.
    """
    items = getattr(stream, "items", stream)
    assert said.shape[0] == len(items)
    items.targets[SAID] = torch.from_numpy(np.array(said, np.float32))


def mixed(problem: ConvexProblem, said: np.ndarray, weight: float) -> ConvexProblem:
    """Return a problem whose rows want (1 − α) of their own target and α of another.

    Args:
        problem: of N rows, each weighing w.
        said: (N, C) or (N,), the other targets, each weighing 1.
        weight: α.
    """
    own = problem.targets
    if problem.loss == "softmax" and own.ndim == 1:
        own = np.eye(problem.n_classes, dtype=np.float32)[own]
    both = (1 - weight) * problem.row_weights + weight
    share = (weight / both).reshape(-1, *[1] * (own.ndim - 1))
    targets = (1 - share) * own + share * said
    return ConvexProblem(
        problem.loss,
        targets,
        problem.n_classes,
        None if problem.weights is None else both,
        problem.groups,
    )
