"""Regression: a number for each example."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from graft.backbones.backbone import Backbone, Problem
from graft.batch import Batch
from graft.data.table import Table
from graft.errors import InputError
from graft.heads import Linear
from graft.model import Model
from graft.neighbours import nearest_average
from graft.objectives.squared_error import squared_error
from graft.records import Prediction
from graft.tasks.labelled import headed, keeps_head, table_stream
from graft.tasks.streams import TableStream
from graft.tasks.task import ConvexProblem, Loss, Progress


@dataclass(frozen=True)
class Regress:
    """Predict a number.

    While it trains, the model's output is the number less `mean`, over `std`, so that rates mean
    the same whatever the unit; `settled` then writes both into the head.

    Args:
        classes: the one name of what is predicted.
        head: `linear` or `mlp:256`.
        mean: of the training rows' numbers.
        std: of the training rows' numbers, positive.
        keep_head: go on from the checkpoint's own head where it predicts the same thing.

    Raises:
        InputError: the head is `cosine`, whose scores have no unit.
    """

    classes: tuple[str, ...]
    head: str = "linear"
    mean: float = 0.0
    std: float = 1.0
    keep_head: bool = True

    name: ClassVar[str] = "regress"
    metrics: ClassVar[str] = "regression"
    target: ClassVar[str] = "number"
    output: ClassVar[str] = "predictions"
    problem: ClassVar[Problem] = "regression"

    def __post_init__(self) -> None:
        if self.head.partition(":")[0] == "cosine":
            raise InputError("a cosine head has no unit to predict numbers in; use linear or mlp")

    @property
    def headline(self) -> str:
        """Return the metric that counts first."""
        return "r2"

    def build(self, backbone: Backbone) -> tuple[Model, None]:
        """Put a new head on the backbone, or the old one, brought to mean 0 and deviation 1."""
        model = headed(self, backbone)
        if keeps_head(self, backbone) and isinstance(model.head, Linear):
            _scale(model.head.out, 1 / self.std, -self.mean / self.std)
        return model, None

    def streams(self, table: Table, backbone: Backbone) -> dict[str, TableStream]:
        """Return the table as the one stream; a row without a number gets NaN."""
        numbers = table.numbers()
        if numbers is None:
            numbers = np.full(len(table), np.nan)
        return table_stream(table, backbone, {self.target: numbers})

    def encode(self, model: nn.Module, batch: Batch, progress: Progress) -> Tensor:
        """Return standardised numbers (n, 1)."""
        del progress
        return model(batch.inputs)

    def loss(
        self,
        encoded: Mapping[str, Any],
        batches: Mapping[str, Batch],
        state: nn.Module | None,
        progress: Progress,
    ) -> Loss:
        """Return the squared error in units of the training rows' variance, summed."""
        del state, progress
        targets = (batches["train"].targets[self.target] - self.mean) / self.std
        losses, counts = squared_error(encoded["train"].float(), targets[:, None])
        return Loss(losses.sum(), counts.sum())

    def convex(self, stream: TableStream) -> ConvexProblem:
        """Return ridge regression on the standardised numbers."""
        numbers = stream.targets[self.target].numpy()
        return ConvexProblem("squared", (numbers - self.mean) / self.std, 1, None, stream.groups)

    def predict(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return `predictions` (n,), in the unit of the data."""
        outputs = model(batch.inputs).double().squeeze(-1)
        return {self.output: outputs * self.std + self.mean}

    def truth(self, stream: TableStream) -> np.ndarray:
        """Return the targets of the stream's rows."""
        return stream.targets[self.target].numpy()

    def untrained(
        self, features: np.ndarray, targets: np.ndarray, queries: np.ndarray
    ) -> np.ndarray:
        """Return the mean of the ten nearest training rows."""
        return nearest_average(features, targets, queries)

    def answers(self, outputs: np.ndarray) -> list[Prediction]:
        """Return each number, written out with the nine digits that a float32 can have."""
        return [Prediction(f"{value:.9g}", {}, (), float(value)) for value in outputs]

    def settled(self, model: Model) -> Regress:
        """Bring the head's last layer to the unit of the data; return the task that then reads it.

        Whoever opens the model finds the numbers themselves in its output.
        """
        _scale(model.head.out, self.std, self.mean)  # type: ignore[arg-type]
        return replace(self, mean=0.0, std=1.0)


def _scale(layer: nn.Linear, factor: float, shift: float) -> None:
    """Change a linear layer in place so that it gives `factor` times what it gave, plus `shift`."""
    with torch.no_grad():
        layer.weight.mul_(factor)
        layer.bias.mul_(factor).add_(shift)
