"""Chains found by watching one forward pass."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from graft.backbones.trace import find_modules, match_modules, trace_chains
from graft.errors import ModelError


class Body(nn.Module):
    """Registered in another order than called."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
        self.neck = nn.LayerNorm(4)
        self.between = nn.Linear(4, 4)
        self.stem = nn.Linear(4, 4)
        self.drop = nn.Dropout(0.1)
        self.shared = nn.Linear(4, 4)
        self.unused = nn.Linear(4, 4)
        self.loose = nn.Parameter(torch.zeros(4))

    def forward(self, x):
        x = self.shared(self.drop(self.stem(x))) + self.loose
        for i, block in enumerate(self.blocks):
            x = self.drop(block(x))
            if i == 1:
                x = self.between(x)
        return self.neck(self.shared(x))


def test_every_module_is_placed_by_when_it_is_first_called():
    net = Body()
    [chain] = trace_chains(net, lambda: net(torch.randn(2, 4)), [["blocks.*"]])
    stem, first, second, third, neck = map(set, chain.parts)
    assert stem == {"stem", "shared", "unused"}
    assert (first, second) == ({"blocks.0"}, {"blocks.1"})
    assert third == {"between", "blocks.2"}
    assert neck == {"neck"}
    assert chain.n_blocks == 3
    assert [chain.part_name(h) for h in (0, 1, 4)] == ["stem", "block 0", "neck"]


def test_modes_are_given_back_and_hooks_taken_off():
    net = Body().train()
    net.neck.eval()
    seen = []

    def forward():
        seen.append(net.training)
        assert not torch.is_grad_enabled()
        return net(torch.randn(2, 4))

    trace_chains(net, forward, [["blocks.*"]])
    assert seen == [False]
    assert net.training
    assert not net.neck.training
    assert not any(m._forward_pre_hooks for m in net.modules())
    with pytest.raises(ZeroDivisionError):
        trace_chains(net, lambda: 1 / 0, [["blocks.*"]])
    assert net.training
    assert not any(m._forward_pre_hooks for m in net.modules())


def test_blocks_are_ordered_by_their_calls():
    class Backwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))

        def forward(self, x):
            for layer in reversed(self.layers):
                x = layer(x)
            return x

    net = Backwards()
    [chain] = trace_chains(net, lambda: net(torch.randn(1, 4)), [["layers.*"]])
    assert chain.parts == ((), ("layers.2",), ("layers.1",), ("layers.0",), ())


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(*(nn.Linear(4, 4) for _ in range(2)))
        self.encoder_norm = nn.LayerNorm(4)
        self.decoder = nn.Sequential(*(nn.Linear(4, 4) for _ in range(2)))

    def forward(self, x):
        return self.decoder(self.encoder_norm(self.encoder(x)))


def test_two_chains():
    net = Pair()
    encoder, decoder = trace_chains(
        net,
        lambda: net(torch.randn(1, 4)),
        [["encoder.*"], ["decoder.*"]],
        names=("encoder", "decoder"),
        after=((), ("encoder",)),
    )
    assert encoder.parts == ((), ("encoder.0",), ("encoder.1",), ("encoder_norm",))
    assert decoder.parts == ((), ("decoder.0",), ("decoder.1",), ())
    assert decoder.after == ("encoder",)
    seen = decoder.prefixed("backbone.net")
    assert seen.parts[1] == ("backbone.net.decoder.0",)


def test_globs():
    net = Body()
    assert match_modules(net, "blocks.*") == ["blocks.0", "blocks.1", "blocks.2"]
    assert match_modules(net, "ne*") == ["neck"]
    assert match_modules(net, "blocks") == ["blocks"]
    assert match_modules(net, "blocks.*.*") == []
    assert find_modules(net, ["blocks.*", "blocks.1", "stem"])[-1] == "stem"
    assert len(find_modules(net, ["blocks.*", "blocks.1"])) == 3


def test_globs_that_match_nothing_or_overlap_are_refused():
    net = Body()
    with pytest.raises(ModelError, match=r"`layers\.\*`; its children are blocks"):
        trace_chains(net, lambda: None, [["blocks.*", "layers.*"]])
    with pytest.raises(ModelError, match=r"`blocks\.0` lies inside block `blocks`"):
        find_modules(net, ["blocks", "blocks.*"])
