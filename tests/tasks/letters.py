"""A tiny backbone that reads letters, for tests of tasks."""

from __future__ import annotations

import dataclasses

from torch import nn

import graft
from graft.backbones.own import Arrays


@dataclasses.dataclass(frozen=True)
class Letters(Arrays):
    """Turn a text into the numbers of its first two letters."""

    def encode(self, values):
        return super().encode([[ord(c) - 96.0 for c in v[:2]] for v in values])

    def length(self, row):
        return 2


def backbone(**origin):
    net = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 4))
    made = graft.backbone(
        net, blocks="*", width=4, processor=Letters("input"), modality="text", name="letters"
    )
    made.origin = dataclasses.replace(made.origin, **origin)
    return made
