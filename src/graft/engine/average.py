"""A moving average of the weights that a phase trains.

    shadow ← d · shadow + (1 − d) · weights        after each applied step t = 0, 1, 2 …
    d = min(decay, (1 + t) / (10 + t))             so that the first steps do not linger

Averaged are the parameters that train and the running statistics that move with them; counts, and
what a task moves by itself, stay as they are. What is sharded is averaged shard by shard.

Source: Polyak and Juditsky 1992; the warm-up is that of TensorFlow's ExponentialMovingAverage, and
averaging the statistics too that of timm's ModelEmaV3.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from graft.engine.processes import like


@dataclass
class Average:
    """Hold the averages of some live tensors.

    Args:
        live: the tensors that training changes, by name.
        decay: of the average, in (0, 1).
        shadow: the averages, sharded as the live tensors are.
        n_updates: how many steps they have seen.
    """

    live: Mapping[str, Tensor]
    decay: float
    shadow: dict[str, Tensor]
    n_updates: int = 0

    def update(self) -> None:
        """Move the averages towards the live tensors; called after each applied step."""
        decay = min(self.decay, (1 + self.n_updates) / (10 + self.n_updates))
        with torch.no_grad():
            for name, tensor in self.live.items():
                self.shadow[name].lerp_(tensor.detach(), 1 - decay)
        self.n_updates += 1

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Put the averages into the live tensors inside the context."""
        kept = _copies(self.live)
        self.write()
        try:
            yield
        finally:
            _write(self.live, kept)

    def write(self) -> None:
        """Put the averages into the live tensors for good."""
        _write(self.live, self.shadow)


def begin_average(
    live: Mapping[str, Tensor], decay: float, *, n_updates: int, saved: Mapping[str, Tensor]
) -> Average:
    """Return an average that begins at the live tensors, or where a checkpoint left it.

    Args:
        live: tensors to average; those that hold whole numbers are left out.
        saved: whole averages by name, from a checkpoint; empty to begin.
    """
    floats = {name: t for name, t in live.items() if t.is_floating_point()}
    if not saved:
        return Average(floats, decay, _copies(floats), n_updates)
    assert saved.keys() == floats.keys()
    shadow = {name: like(saved[name], tensor).clone() for name, tensor in floats.items()}
    return Average(floats, decay, shadow, n_updates)


def _copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def _write(live: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for name, tensor in live.items():
            tensor.copy_(tensors[name])
