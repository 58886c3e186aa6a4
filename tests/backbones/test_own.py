"""A network of the user's own, declared in one call."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import graft
from graft.backbones.own import Arrays
from graft.engine.groups import locate
from graft.errors import ModelError
from graft.features import Features


class Net(nn.Module):
    """Registers its neck before its blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(5, 8)
        self.norm = nn.LayerNorm(8)
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))

    def forward(self, x):
        x = self.stem(x)
        for layer in self.layers:
            x = torch.relu(layer(x)) + x
        return self.norm(x)


def heights(backbone):
    return {found.place.name.split("net.")[1]: found.place.height for found in locate(backbone)}


EXPECTED = {
    "stem.weight": 0,
    "layers.0.weight": 1,
    "layers.1.weight": 2,
    "layers.2.weight": 3,
    "norm.weight": 4,
}


@pytest.mark.parametrize(
    "how",
    [
        {"blocks": "layers.*", "neck": ["norm"]},
        {"blocks": "layers.*", "neck": ["n*"]},
        {"blocks": ["layers.0", "layers.1", "layers.2"], "neck": ["norm"]},
        {"blocks": "layers.*", "example": {"x": torch.randn(2, 5)}},
    ],
)
def test_declared_in_one_call(how):
    backbone = graft.backbone(Net(), width=8, **how)
    found = heights(backbone)
    assert {name: found[name] for name in EXPECTED} == EXPECTED
    assert len(found) == len(list(backbone.parameters()))
    assert backbone.origin.source == "own"
    assert backbone.origin.family == backbone.origin.name == "Net"
    rows = backbone.processor.encode(np.random.rand(3, 5))
    features = backbone(backbone.processor.collate(rows))
    assert features.pooled.shape == (3, 8)


def test_without_neck_or_example_the_rest_is_stem():
    assert heights(graft.backbone(Net(), blocks="layers.*", width=8))["norm.weight"] == 0


def test_inputs_take_the_name_of_the_first_argument():
    net = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 8))
    backbone = graft.backbone(net, blocks="*", width=8)
    assert backbone.processor == Arrays("input")
    inputs = backbone.processor.collate(backbone.processor.encode(np.random.rand(3, 5)))
    assert backbone(inputs).pooled.shape == (3, 8)


def test_own_way_to_read():
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(5, 8)])

        def forward(self, x):
            return {"tokens": self.layers[0](x)}

    def read(net, inputs):
        return Features(pooled=net(**inputs)["tokens"].mean(1))

    example = {"x": torch.randn(2, 3, 5)}
    backbone = graft.backbone(Tokens(), blocks="layers.*", width=8, read=read, example=example)
    assert backbone(example).pooled.shape == (2, 8)


def test_fresh_makes_another():
    backbone = graft.backbone(Net(), blocks="layers.*", width=8, fresh=Net)
    assert isinstance(backbone.origin.fresh(), Net)
    assert graft.backbone(Net(), blocks="layers.*", width=8).origin.fresh is None


def test_faults_are_named():
    with pytest.raises(ModelError, match=r"no module of Net matches `block\.\*`.*stem, norm"):
        graft.backbone(Net(), blocks="block.*", width=8)
    with pytest.raises(ModelError, match="`encoder`"):
        graft.backbone(Net(), blocks=["layers.*", "encoder"], width=8)
    with pytest.raises(ModelError, match="`nrom`"):
        graft.backbone(Net(), blocks="layers.*", neck=["nrom"], width=8)
    with pytest.raises(ModelError, match=r"\(2, 8\) where \(N, 9\)"):
        graft.backbone(Net(), blocks="layers.*", width=9, example={"x": torch.randn(2, 5)})
    with pytest.raises(ModelError, match="leave out neck"):
        example = {"x": torch.randn(2, 5)}
        graft.backbone(Net(), blocks="layers.*", width=8, neck=["norm"], example=example)


def test_arrays():
    processor = Arrays("x", scale=0.5)
    rows = processor.encode([np.array([2, 4], np.uint8), [6.0, 8.0]])
    assert processor.collate(rows)["x"].tolist() == [[1, 2], [3, 4]]
    assert processor.collate(rows, without=frozenset({"x"})) == {}
    assert processor.length(rows[0]) == 0
    assert processor.key != Arrays("x").key
