"""Classification: one label of several for each example."""

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
from graft.model import Model
from graft.neighbours import nearest_mean
from graft.objectives.cross_entropy import cross_entropy
from graft.objectives.focal import focal_loss
from graft.records import Prediction
from graft.tasks.labelled import headed, table_stream, why_not_convex
from graft.tasks.streams import TableStream
from graft.tasks.task import ConvexProblem, Loss, Progress


@dataclass(frozen=True)
class Classify:
    """Predict one of `classes`.

    Args:
        classes: label names; their order is that of the outputs.
        head: `linear`, `mlp:256` or `cosine`.
        class_weights: one weight per class, or None for all alike.
        label_smoothing: share of each target spread over all classes.
        keep_head: keep the checkpoint's own head where its classes are exactly ours.
        focal: γ of the focal loss, or None for cross-entropy.
    """

    classes: tuple[str, ...]
    head: str = "linear"
    class_weights: tuple[float, ...] | None = None
    label_smoothing: float = 0.0
    keep_head: bool = True
    focal: float | None = None

    name: ClassVar[str] = "classify"
    metrics: ClassVar[str] = "classification"
    target: ClassVar[str] = "label"
    output: ClassVar[str] = "probabilities"
    problem: ClassVar[Problem] = "single_label_classification"

    @property
    def headline(self) -> str:
        """Return the metric that counts first."""
        return "accuracy"

    def build(self, backbone: Backbone) -> tuple[Model, None]:
        """Put a new head on the backbone, or the old one where its classes are exactly ours."""
        return headed(self, backbone), None

    def streams(self, table: Table, backbone: Backbone) -> dict[str, TableStream]:
        """Return the table as the one stream; rows without labels get class -1."""
        labels = table.labels()
        number = {name: i for i, name in enumerate(self.classes)}
        if labels is None:
            targets = np.full(len(table), -1, np.int64)
        else:
            unknown = next((i for i, x in enumerate(labels) if x not in number), None)
            if unknown is not None:
                raise unknown_label(table, unknown, labels[unknown], len(self.classes))
            targets = np.asarray([number[x] for x in labels], np.int64)
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
        """Return weighted cross-entropy, or focal loss, summed."""
        del state, progress
        logits = encoded["train"].float()
        weights = self.class_weights
        objective = cross_entropy if self.focal is None else partial(focal_loss, gamma=self.focal)
        losses, counts = objective(
            logits,
            batches["train"].targets[self.target],
            class_weights=None if weights is None else torch.tensor(weights, device=logits.device),
            label_smoothing=self.label_smoothing,
        )
        return Loss(losses.sum(), counts.sum())

    @property
    def why_not_convex(self) -> str:
        """Return why the head cannot be solved exactly, or an empty string."""
        return why_not_convex(self.focal)

    def convex(self, stream: TableStream) -> ConvexProblem:
        """Return multinomial logistic regression on the stream's labels, smoothed or not."""
        labels = stream.targets[self.target].numpy()
        n_classes, share = len(self.classes), self.label_smoothing
        targets = labels
        if share:
            targets = (1 - share) * np.eye(n_classes, dtype=np.float32)[labels] + share / n_classes
        weights = None
        if self.class_weights is not None:
            weights = np.asarray(self.class_weights)[labels]
        return ConvexProblem("softmax", targets, n_classes, weights, stream.groups)

    def predict(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return `probabilities` (n, C)."""
        return {self.output: torch.softmax(model(batch.inputs).float(), dim=-1)}

    def truth(self, stream: TableStream) -> np.ndarray:
        """Return the targets of the stream's rows."""
        return stream.targets[self.target].numpy()

    def untrained(
        self, features: np.ndarray, targets: np.ndarray, queries: np.ndarray
    ) -> np.ndarray:
        """Return probabilities by nearness to the mean of each class."""
        return nearest_mean(features, targets, queries, len(self.classes))

    def answers(self, outputs: np.ndarray) -> list[Prediction]:
        """Return for each row of probabilities (N, C) the most likely class."""
        found = []
        for row in outputs:
            label = self.classes[int(row.argmax())]
            by_class = {c: float(p) for c, p in zip(self.classes, row, strict=True)}
            found.append(Prediction(label, by_class, (label,)))
        return found

    def settled(self, model: Model) -> Classify:
        """Return the task as it is: the outputs are logits already."""
        del model
        return self


def unknown_label(table: Table, row: int, label: str, n_classes: int) -> DataError:
    """Return the error for a label that the model does not know."""
    origin = table.origin(row)
    return DataError(
        f"label {label!r} is none of the {n_classes} classes the model knows; correct it or drop "
        "the row",
        path=origin.path,
        row=origin.row,
        column=table.roles.label,
    )


def balanced_weights(labels: Mapping[str, int]) -> dict[str, float]:
    """Return for each class N / (C · n_c), so that every class weighs the same in sum.

    Args:
        labels: number of examples of each class.

    Source: King and Zeng 2001, "Logistic Regression in Rare Events Data".
    """
    n, c = sum(labels.values()), len(labels)
    return {name: n / (c * count) for name, count in labels.items()}
