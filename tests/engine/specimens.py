"""Wrap a specimen of the zoo as the engine sees it: a model with a backbone and a head."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from graft.backbones.backbone import Backbone, Origin
from graft.backbones.trace import trace_chains
from graft.batch import Batch
from graft.features import Features
from graft.heads import Linear
from tests.zoo import Specimen


class NoProcessor:
    key = "none"

    def encode(self, values: Any) -> Any:
        return values

    def collate(self, rows: Any, **_: Any) -> Any:
        return rows

    def length(self, row: Any) -> int:
        return 0

    def bucket(self, length: int) -> int:
        return length


class Classifier(nn.Module):
    """A backbone under a linear head."""

    def __init__(self, backbone: Backbone, n_outputs: int = 3) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = Linear(backbone.width, n_outputs)

    def forward(self, inputs: Any) -> Tensor:
        return self.head(self.backbone(inputs))


def batch(specimen: Specimen, n: int, length: int) -> Batch:
    inputs = specimen.inputs(n, length)
    mask = inputs.get("attention_mask")
    padded = 0 if mask is None else mask.shape[1]
    return Batch(inputs, {}, np.arange(n), padded)


def model_of(specimen: Specimen, seed: int = 0) -> Classifier:
    torch.manual_seed(seed)
    net = specimen.build()
    inputs = specimen.inputs(2, specimen.lengths[0])
    names = [f"chain{i}" for i in range(len(specimen.blocks))]
    chains = trace_chains(
        net,
        lambda: net(**inputs),
        specimen.blocks,
        names=names,
        after=[[names[j] for j in reads] for reads in specimen.after],
    )

    def read(net: nn.Module, inputs: Any) -> Features:
        return Features(pooled=specimen.output(net(**inputs), inputs))

    net.eval()
    with torch.no_grad():
        width = read(net, inputs).pooled.shape[1]
    return Classifier(
        Backbone(
            net,
            chains=chains,
            read=read,
            width=width,
            processor=NoProcessor(),
            modality=specimen.modality,
            origin=Origin("zoo", specimen.name, specimen.name),
        )
    )
