"""Predictions of a trained model over a stream, in its own order."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from graft.engine.replay import evaluating
from graft.tasks.task import Stream, Task

BATCH = 64


def predict_rows(model: nn.Module, task: Task, stream: Stream) -> dict[str, np.ndarray]:
    """Return the task's predictions for every row, each (N, …)."""
    order = np.arange(len(stream))
    if stream.lengths is not None:
        order = np.argsort(stream.lengths, kind="stable")
    device = next(model.parameters()).device
    parts: list[dict[str, np.ndarray]] = []
    with evaluating(model), torch.no_grad():
        for start in range(0, len(order), BATCH):
            batch = stream.batch(order[start : start + BATCH]).to(device)
            found = task.predict(model, batch)
            parts.append({k: v.cpu().numpy() for k, v in found.items()})
    back = np.argsort(order, kind="stable")
    names = parts[0] if parts else {}
    return {name: np.concatenate([p[name] for p in parts])[back] for name in names}
