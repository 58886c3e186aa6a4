"""Predicting and evaluating with the model of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graft.artifact import load_artifact
from graft.data.check import usable
from graft.data.faults import refuse
from graft.data.readers import read
from graft.data.table import Table
from graft.engine.predict import predict_rows
from graft.errors import InputError, ModelError
from graft.metrics.classification import classification_metrics
from graft.model import Model
from graft.tasks.classify import Classify
from graft.tasks.streams import TableStream


@dataclass(frozen=True)
class Prediction:
    """A label with the probability of every class."""

    label: str
    probabilities: dict[str, float]


def predict(folder: str | Path, values: Sequence[Any]) -> list[Prediction]:
    """Predict with the model of a run: labels of texts, or of paths to images."""
    model, task = load_artifact(_model_folder(folder))
    table = Table.of_values(values, model.backbone.modality)
    stream = task.streams(table, model.backbone)["train"]
    if not len(stream):
        return []
    probabilities = predict_rows(model, task, stream)["probabilities"]
    return [
        Prediction(
            task.classes[int(row.argmax())],
            {c: float(p) for c, p in zip(task.classes, row, strict=True)},
        )
        for row in probabilities
    ]


def evaluate(
    folder: str | Path, data: str | Path, **roles: str | None
) -> tuple[dict[str, float], int]:
    """Evaluate the model of a run on labelled data; returns metrics and the number of rows."""
    model, task = load_artifact(_model_folder(folder))
    table, findings = usable(read(data, **roles))  # type: ignore[arg-type]
    refuse(findings)
    if table.labels() is None:
        raise InputError(f"{data}: no label column to evaluate on; name it with --label")
    return _evaluate(model, task, task.streams(table, model.backbone)["train"]), len(table)


def _evaluate(model: Model, task: Classify, stream: TableStream) -> dict[str, float]:
    probabilities = predict_rows(model, task, stream)["probabilities"]
    return classification_metrics(stream.targets["label"].numpy(), probabilities)


def _model_folder(folder: str | Path) -> Path:
    folder = Path(folder)
    if not folder.is_dir():
        raise ModelError(f"{folder}: no such folder; point at a run")
    return folder / "model" if (folder / "model").is_dir() else folder
