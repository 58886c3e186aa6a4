"""A batch: what one step of one stream consumes.

Shapes: n examples; `length` is the padded number of tokens or samples, 0 where there is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Hold the inputs and targets of some examples.

    Args:
        inputs: what the network takes by keyword, each (n, …).
        targets: what the objective takes; the task knows their names.
        rows: (n,) numbers of the examples in their stream.
        length: padded length of the inputs.
    """

    inputs: Mapping[str, Tensor]
    targets: Mapping[str, Tensor] = field(default_factory=dict)
    rows: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    length: int = 0

    @property
    def n(self) -> int:
        return len(self.rows)

    def with_inputs(self, inputs: Mapping[str, Tensor]) -> Batch:
        """Return the same batch with other inputs."""
        return replace(self, inputs=inputs)

    def to(self, device: torch.device | str) -> Batch:
        """Return the batch on another device."""
        return replace(self, inputs=_to(self.inputs, device), targets=_to(self.targets, device))


def _to(tensors: Mapping[str, Any], device: torch.device | str) -> dict[str, Any]:
    return {name: t.to(device) if isinstance(t, Tensor) else t for name, t in tensors.items()}
