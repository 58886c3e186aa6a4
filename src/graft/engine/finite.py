"""Steps that are not finite: noticed before they are applied, undone, and named."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from graft.data.faults import LONGEST_LINE, shorten_path
from graft.engine.processes import is_shard, whole
from graft.errors import Diverged
from graft.tasks.task import Stream

MOST_BAD_STEPS = 3
N_NAMED = 3


class Statistics:
    """Remember what a forward pass moves, so that a step can be undone: running statistics.

    Args:
        module: whose normalisation layers in training mode count.
    """

    def __init__(self, module: nn.Module) -> None:
        self.live = running_statistics(module)
        self._before = [buffer.clone() for buffer in self.live]

    def put_back(self) -> None:
        """Give the buffers the values that they had."""
        with torch.no_grad():
            for buffer, value in zip(self.live, self._before, strict=True):
                buffer.copy_(value)


def running_statistics(module: nn.Module) -> list[Tensor]:
    """Return the buffers of normalisation layers in training mode: a forward pass moves them."""
    return [
        buffer
        for norm in module.modules()
        if norm.training and isinstance(norm, _NormBase)
        for buffer in norm.buffers(recurse=False)
    ]


def scale_and_clip(parameters: Sequence[nn.Parameter], scale: float, clip: float | None) -> float:
    """Multiply gradients by `scale`, clip them to a norm, and return the norm before clipping."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    # tensors that are sharded and tensors that are not cannot stand in one list
    kinds = [[g for g in gradients if is_shard(g) == kind] for kind in (False, True)]
    kinds = [kind for kind in kinds if kind]
    norms = [float(whole(torch.nn.utils.get_total_norm(kind))) for kind in kinds]
    norm = scale * math.hypot(*norms)
    if clip is not None and norm > clip:
        scale *= clip / norm
    for kind in kinds:
        torch._foreach_mul_(kind, scale)
    return norm


def ends_finite(epoch: Mapping[str, Any]) -> bool:
    """Return whether an epoch applied a step, and left a loss that is a number."""
    losses = (epoch["train_loss"], epoch["validation_loss"])
    return all(loss is None or math.isfinite(loss) for loss in losses)


def diverged(phase: str, step: int, rate: float, stream: Stream, rows: np.ndarray) -> Diverged:
    """Return the error that names the step, its peak rate and the first of its rows."""
    names = [row_name(stream, int(row)) for row in rows[:N_NAMED]]
    begin = (
        f"phase `{phase}` stopped at step {step}: the loss was not finite {MOST_BAD_STEPS} times, "
    )
    begin += f"rate {rate:.2g}, rows "
    end = "; lower the rate, or look at these rows"
    room = (LONGEST_LINE - len(begin) - len(end)) // max(1, len(names)) - 2
    return Diverged(begin + ", ".join(shorten_path(name, max(room, 8)) for name in names) + end)


def row_name(stream: Stream, row: int) -> str:
    """Return what people call a row of a stream: its place in a file, or its number."""
    named = getattr(stream, "row_name", None)
    return str(row) if named is None else named(row)
