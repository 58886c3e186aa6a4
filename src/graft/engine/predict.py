"""Predictions of a trained model over a stream, in its own order."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from graft.engine.ahead import Ahead, default_workers
from graft.engine.replay import evaluating
from graft.tasks.task import Stream, Task

BATCH = 64


def predict_rows(
    model: nn.Module, task: Task, stream: Stream, *, n_workers: int | None = None
) -> dict[str, np.ndarray]:
    """Return the task's predictions for every row, each (N, …).

    Args:
        n_workers: threads that read ahead; one a core unless given.
    """
    order = np.arange(len(stream))
    if stream.lengths is not None:
        order = np.argsort(stream.lengths, kind="stable")
    device = next(model.parameters()).device
    parts: list[dict[str, np.ndarray]] = []
    n_workers = default_workers() if n_workers is None else n_workers
    cuts = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
    with evaluating(model), torch.no_grad(), Ahead(n_workers) as ahead:
        for rows in ahead.over(stream, cuts):
            batch = stream.batch(rows).to(device)
            found = task.predict(model, batch)
            parts.append({k: v.cpu().numpy() for k, v in found.items()})
    back = np.argsort(order, kind="stable")
    names = parts[0] if parts else {}
    return {name: np.concatenate([p[name] for p in parts])[back] for name in names}
