"""Multi-label classification: any number of several labels for each example."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from graft.backbones.backbone import Backbone, Problem
from graft.batch import Batch
from graft.data.table import Table
from graft.errors import DataError
from graft.metrics.multilabel import decide
from graft.model import Model
from graft.neighbours import nearest_average
from graft.objectives.binary_cross_entropy import binary_cross_entropy
from graft.objectives.focal import binary_focal_loss
from graft.records import Prediction
from graft.tasks.classify import unknown_label
from graft.tasks.labelled import headed, labels_of, table_stream, why_not_convex
from graft.tasks.streams import TableStream
from graft.tasks.task import ConvexProblem, Loss, Progress


@dataclass(frozen=True)
class Multilabel:
    """Predict for each of `classes` whether it holds; a label does at a probability of 0.5.

    Args:
        classes: label names; their order is that of the outputs.
        head: `linear`, `mlp:256` or `cosine`.
        label_smoothing: share of each target that is moved to one half.
        focal: gamma of the focal loss, or None for cross-entropy.
        keep_head: keep the checkpoint's own head where its labels are exactly ours.
    """

    classes: tuple[str, ...]
    head: str = "linear"
    label_smoothing: float = 0.0
    keep_head: bool = True
    focal: float | None = None

    name: ClassVar[str] = "multilabel"
    metrics: ClassVar[str] = "multilabel"
    target: ClassVar[str] = "labels"
    output: ClassVar[str] = "probabilities"
    problem: ClassVar[Problem] = "multi_label_classification"

    @property
    def headline(self) -> str:
        """Return the metric that counts first."""
        return "micro_f1"

    def build(self, backbone: Backbone) -> tuple[Model, None]:
        """Put a new head on the backbone, or the old one where its labels are exactly ours."""
        return headed(self, backbone), None

    def streams(self, table: Table, backbone: Backbone) -> dict[str, TableStream]:
        """Return the table as the one stream; targets (N, C) of zeros and ones."""
        targets = np.zeros((len(table), len(self.classes)), np.float32)
        number = {name: i for i, name in enumerate(self.classes)}
        for row, labels in enumerate(table.label_lists() or ()):
            for label in labels or ():
                if label not in number:
                    raise unknown_label(table, row, label, len(self.classes))
                targets[row, number[label]] = 1
        return table_stream(table, backbone, {self.target: targets})

    def encode(self, model: nn.Module, batch: Batch, progress: Progress) -> Tensor:
        """Return logits (n, C)."""
        del progress
        return model(batch.inputs)

    def loss(
        self,
        encoded: Mapping[str, Any],
        batches: Mapping[str, Batch],
        state: nn.Module | None,
        progress: Progress,
    ) -> Loss:
        """Return sigmoid cross-entropy, or focal loss, summed over examples."""
        del state, progress
        objective = binary_cross_entropy
        if self.focal is not None:
            objective = partial(binary_focal_loss, gamma=self.focal)
        losses, counts = objective(
            encoded["train"].float(),
            batches["train"].targets[self.target],
            label_smoothing=self.label_smoothing,
        )
        return Loss(losses.sum(), counts.sum())

    @property
    def why_not_convex(self) -> str:
        """Return why the head cannot be solved exactly, or an empty string."""
        return why_not_convex(self.focal)

    def convex(self, stream: TableStream) -> ConvexProblem:
        """Return one logistic regression per label.

        Raises:
            DataError: every training row has some label, or none has it.
        """
        targets = stream.targets[self.target].numpy()
        shares = targets.mean(0)
        for name, share in zip(self.classes, shares, strict=True):
            if share in (0, 1):
                which = "every" if share else "no"
                raise DataError(f"{which} training row has the label {name!r}; add rows or drop it")
        if self.label_smoothing:
            targets = (1 - self.label_smoothing) * targets + self.label_smoothing / 2
        return ConvexProblem("sigmoid", targets, len(self.classes), None, stream.groups)

    def predict(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return `probabilities` (n, C), each label's own."""
        return {self.output: torch.sigmoid(model(batch.inputs).float())}

    def truth(self, stream: TableStream) -> np.ndarray:
        """Return the targets of the stream's rows."""
        return stream.targets[self.target].numpy()

    def untrained(
        self, features: np.ndarray, targets: np.ndarray, queries: np.ndarray
    ) -> np.ndarray:
        """Return for each label its share among the ten nearest training rows."""
        return nearest_average(features, targets, queries)

    def answers(self, outputs: np.ndarray) -> list[Prediction]:
        """Return for each row of probabilities (N, C) the labels that hold, or `[]` for none."""
        found = []
        for row, holds in zip(outputs, decide(outputs), strict=True):
            labels = labels_of(holds, self.classes)
            by_label = {c: float(p) for c, p in zip(self.classes, row, strict=True)}
            found.append(Prediction(";".join(labels) or "[]", by_label, labels))
        return found

    def settled(self, model: Model) -> Multilabel:
        """Return the task as it is: the outputs are logits already."""
        del model
        return self
