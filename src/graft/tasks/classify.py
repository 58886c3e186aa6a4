"""Classification: one label of several for each example."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from graft.backbones.backbone import Backbone
from graft.batch import Batch
from graft.data.images import decode
from graft.data.table import Table
from graft.errors import DataError
from graft.heads import Linear, head
from graft.model import Model
from graft.objectives.cross_entropy import cross_entropy
from graft.objectives.focal import focal_loss
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

    @property
    def why_not_convex(self) -> str:
        """Say why the head cannot be solved exactly; empty where it can."""
        return "" if self.focal is None else "the focal loss is not convex"

    def build(self, backbone: Backbone) -> tuple[Model, None]:
        """Put a new head on the backbone, or the old one where its targets are exactly ours."""
        new = head(self.head, backbone.width, len(self.classes))
        if self.keeps_head(backbone):
            assert backbone.origin.old_head is not None and isinstance(new, Linear)
            weight, bias = backbone.origin.old_head
            order = [backbone.origin.classes.index(c) for c in self.classes]
            with torch.no_grad():
                new.out.weight.copy_(weight[order])
                new.out.bias.copy_(bias[order])
        return Model(backbone, new), None

    def keeps_head(self, backbone: Backbone) -> bool:
        """Return whether the checkpoint's own head predicts exactly our classes."""
        origin = backbone.origin
        return (
            self.keep_head
            and self.head == "linear"
            and origin.old_head is not None
            and sorted(origin.classes) == sorted(self.classes)
        )

    def streams(self, table: Table, backbone: Backbone) -> dict[str, TableStream]:
        """Return the table as the one stream; rows without labels get class -1."""
        labels = table.labels()
        number = {name: i for i, name in enumerate(self.classes)}
        if labels is None:
            targets = np.full(len(table), -1, np.int64)
        else:
            unknown = next((i for i, x in enumerate(labels) if x not in number), None)
            if unknown is not None:
                origin = table.origin(unknown)
                raise DataError(
                    f"label {labels[unknown]!r} is none of the {len(self.classes)} classes the "
                    "model knows; correct it or drop the row",
                    path=origin.path,
                    row=origin.row,
                    column=table.roles.label,
                )
            targets = np.asarray([number[x] for x in labels], np.int64)
        is_image = table.roles.modality == "image"
        stream = TableStream(
            table.inputs(),
            backbone.processor,
            targets={"label": targets},
            key=table.content_hash(),
            groups=_groups(table),
            load=decode if is_image else None,
            has_lengths=not is_image,
        )
        return {"train": stream}

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
            batches["train"].targets["label"],
            class_weights=None if weights is None else torch.tensor(weights, device=logits.device),
            label_smoothing=self.label_smoothing,
        )
        return Loss(losses.sum(), counts.sum())

    def convex(self, stream: TableStream) -> ConvexProblem:
        """Return multinomial logistic regression on the stream's labels, smoothed or not."""
        labels = stream.targets["label"].numpy()
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
        return {"probabilities": torch.softmax(model(batch.inputs).float(), dim=-1)}


def _groups(table: Table) -> np.ndarray | None:
    group = table.roles.group
    return None if group is None else np.asarray(table.column(group))


def balanced_weights(labels: Mapping[str, int]) -> dict[str, float]:
    """Return for each class N / (C · n_c), so that every class weighs the same in sum.

    Args:
        labels: number of examples of each class.

    Source: King and Zeng 2001, "Logistic Regression in Rare Events Data".
    """
    n, c = sum(labels.values()), len(labels)
    return {name: n / (c * count) for name, count in labels.items()}
