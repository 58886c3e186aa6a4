"""Predictions of a trained model over a stream, in its own order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from graft.batch import Batch
from graft.data.doctor.rows import empty_texts
from graft.data.table import Table
from graft.engine.ahead import Ahead, default_workers
from graft.engine.order import passes
from graft.engine.replay import evaluating
from graft.features import Features
from graft.model import Model
from graft.records import Prediction
from graft.tasks.labelled import Labelled
from graft.tasks.task import Stream, Task


def predict_rows(
    model: nn.Module, task: Task, stream: Stream, *, n_workers: int | None = None
) -> dict[str, np.ndarray]:
    """Return the task's predictions for every row, each (N, …).

    Args:
        n_workers: threads that read ahead; one a core unless given.
    """
    return _over_rows(model, stream, lambda batch: task.predict(model, batch), n_workers)


def answers(model: Model, task: Labelled, table: Table) -> list[Prediction]:
    """Return what a model says of each row of a table, for people."""
    stream = task.streams(table, model.backbone)["train"]
    return task.answers(predict_rows(model, task, stream)[task.output]) if len(stream) else []


def answers_to(
    model: Model, task: Labelled, values: Sequence[Any] | str, *, max_pixels: int | None = None
) -> list[Prediction | None]:
    """Return what a model says of each value in memory, None of a text that shows nothing.

    Args:
        values: as `Table.of_values` takes them.
        max_pixels: of the largest picture that is read; the usual limit unless given.

    Raises:
        InputError: a value is no text, or no path of a picture that can be read.
    """
    table = replace(Table.of_values(values, model.backbone.modality), max_pixels=max_pixels)
    empty = empty_texts(table) if model.backbone.modality == "text" else {}
    kept = [i for i in range(len(table)) if i not in empty]
    found = dict(zip(kept, answers(model, task, table.take(kept)), strict=True))
    return [found.get(i) for i in range(len(table))]


def predict_and_embed(
    model: Model, task: Task, stream: Stream, rows: np.ndarray, *, n_workers: int | None = None
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return the task's predictions for every row, and from the same pass features of some.

    Args:
        rows: (K,) numbers of the rows whose pooled features (K, D) are kept, in float32.
    """
    wanted, kept = set(rows.tolist()), {}
    pooled: list[Tensor] = []

    def compute(batch: Batch) -> Mapping[str, Tensor]:
        pooled.clear()
        found = task.predict(model, batch)
        vectors = zip(batch.rows.tolist(), pooled[0].float().cpu().numpy(), strict=True)
        kept.update((row, vector) for row, vector in vectors if row in wanted)
        return found

    def watch(_module: nn.Module, _inputs: Any, features: Any) -> None:
        pooled.append(features.pooled)

    handle = model.backbone.register_forward_hook(watch)
    try:
        found = _over_rows(model, stream, compute, n_workers)
    finally:
        handle.remove()
    return found, np.stack([kept[row] for row in rows.tolist()])


def feature_rows(backbone: nn.Module, stream: Stream) -> np.ndarray:
    """Return the pooled features (N, D) of every row, in float32."""

    def pooled(batch: Batch) -> dict[str, Tensor]:
        return {"pooled": backbone(batch.inputs).pooled.float()}

    return _over_rows(backbone, stream, pooled, None)["pooled"]


def head_rows(head: nn.Module, features: np.ndarray) -> np.ndarray:
    """Return what a head gives for pooled features (N, D), in float32."""
    device = next((p.device for p in head.parameters()), torch.device("cpu"))
    with evaluating(head), torch.no_grad():
        pooled = torch.tensor(features, device=device).float()
        return head(Features(pooled=pooled)).float().cpu().numpy()


def _over_rows(
    model: nn.Module,
    stream: Stream,
    compute: Callable[[Batch], Mapping[str, Tensor]],
    n_workers: int | None,
) -> dict[str, np.ndarray]:
    """Run batches of similar length in eval mode; returns what was computed in the rows' order."""
    device = next(model.parameters()).device
    parts: list[dict[str, np.ndarray]] = []
    n_workers = default_workers() if n_workers is None else n_workers
    cuts = passes(stream, np.arange(len(stream)), device)
    if not cuts:
        return {}
    with evaluating(model), torch.no_grad(), Ahead(n_workers) as ahead:
        for rows in ahead.over(stream, cuts):
            batch = stream.batch(rows).to(device)
            parts.append({k: v.cpu().numpy() for k, v in compute(batch).items()})
    back = np.argsort(np.concatenate(cuts))
    return {name: np.concatenate([p[name] for p in parts])[back] for name in parts[0]}
