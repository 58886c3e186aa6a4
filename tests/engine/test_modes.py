"""Which modules stand in training mode, and whose running statistics move."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import graft
from graft.engine.groups import locate, resolve, set_trainable
from graft.engine.modes import set_modes
from graft.methods.adapters import bias, norms_only, residual
from graft.methods.body import full, last
from graft.methods.heads import probe
from graft.surgery.inserting import insert
from graft.tasks.classify import Classify


class Net(nn.Module):
    """Two blocks of a convolution and a batch normalisation."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.Dropout(0.1))
                for _ in range(2)
            )
        )

    def forward(self, x):
        return self.blocks(x).mean((2, 3))


def in_modes_of(plan):
    net = Net()
    model, _ = Classify(("a", "b")).build(graft.backbone(net, blocks="blocks.*", width=3))
    [phase] = plan.phases
    for surgery in phase.insert:
        sites = surgery.sites(net, ["blocks.0", "blocks.1"], lambda: net(torch.zeros(1, 3, 4, 4)))
        insert(net, surgery, sites)
    set_trainable(resolve(phase.rules, locate(model)))
    set_modes(model)
    return net


@pytest.mark.parametrize(
    ("plan", "moving"),
    [
        (full(2), [True, True]),
        (last(2, n=1), [False, True]),
        (norms_only(2), [False, False]),
        (bias(2), [False, False]),
        (residual(2), [False, False]),
        (probe(2), [False, False]),
    ],
    ids=["full", "last", "norms", "bias", "residual", "probe"],
)
def test_statistics_move_where_kernels_of_the_network_train(plan, moving):
    net = in_modes_of(plan)
    assert [block[1].training for block in net.blocks] == moving
    before = [block[1].running_mean.clone() for block in net.blocks]
    net(torch.randn(4, 3, 5, 5))
    after = [block[1].running_mean for block in net.blocks]
    assert [not torch.equal(a, b) for a, b in zip(before, after, strict=True)] == moving


def test_dropout_is_on_where_anything_trains():
    assert [block[2].training for block in in_modes_of(norms_only(2)).blocks] == [True, True]
    assert [block[2].training for block in in_modes_of(last(2, n=1)).blocks] == [False, True]
