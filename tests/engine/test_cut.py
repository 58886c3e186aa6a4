"""Laws of the cut: nothing below it trains, and as much as possible lies below."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from graft.backbones.backbone import Backbone, Chain, Origin
from graft.backbones.own import Arrays
from graft.engine.cut import find_cut
from graft.engine.feeds import find_feeds
from graft.engine.groups import locate, resolve, trainable
from graft.features import Features
from graft.heads import Linear
from graft.methods.plan import Rule
from graft.methods.select import blocks, everything, head, named, neck, norms, stem
from graft.model import Model
from graft.tasks.classify import Classify
from tests.engine.enemies import dense, noise, tied, two_towers
from tests.engine.specimens import model_of
from tests.engine.streams import ArrayStream
from tests.zoo import WARNINGS, ZOO

pytestmark = [pytest.mark.filterwarnings(w) for w in WARNINGS]

REST = Rule(everything(), None)


def cut_of(model: nn.Module, *selectors):
    rules = (*(Rule(s, 1.0) for s in selectors), REST)
    return find_cut(model, trainable(resolve(rules, locate(model))))


def below(model: nn.Module, cut) -> set[int]:
    return {id(p) for path in cut.below for p in model.get_submodule(path).parameters()}


@pytest.mark.parametrize("name", ZOO)
def test_nothing_below_trains_and_all_of_the_rest_is_above(name):
    model = model_of(ZOO[name])
    for selectors in ((head(),), (head(), neck()), (blocks(-1),), (blocks(-2),), (stem(),)):
        rules = (*(Rule(s, 1.0) for s in selectors), Rule(head(), 1.0), REST)
        groups = resolve(rules, locate(model))
        cut = find_cut(model, trainable(groups))
        under = below(model, cut)
        assert not under & {id(m.parameter) for m in trainable(groups)}
        one_chain = len(model.backbone.chains) == 1
        if one_chain and selectors != (stem(),):
            heights = [m.place.height for m in trainable(groups) if m.place.role == "backbone"]
            lowest = min(heights, default=99)
            parts = [p for part in model.backbone.chains[0].parts[:lowest] for p in part]
            expected = [f"backbone.net.{p}" for p in parts] if heights else ["backbone"]
            assert list(cut.below) == expected


def test_labels_say_where_the_cut_is():
    model = Model(dense(), Linear(8, 3))
    assert cut_of(model, head()).label == "above the backbone"
    assert cut_of(model, head(), blocks(-1)).label == "below block 2 of 3"
    assert cut_of(model, everything()).label == "nothing is frozen"
    assert not cut_of(model, everything())


def test_an_open_norm_low_down_lowers_the_cut():
    model = model_of(ZOO["bert"])
    cut = cut_of(model, head(), norms())
    assert not below(model, cut) & {
        id(m.parameter) for m in locate(model) if m.place.kind == "norm"
    }


def test_a_decoder_is_constant_only_while_its_encoder_is():
    model = model_of(ZOO["marian"])
    above = cut_of(model, head(), blocks(-1, chain="chain1"))
    assert any("encoder" in path for path in above.below)
    under = cut_of(model, head(), blocks(-1, chain="chain0"))
    assert under.below
    assert not any("decoder.layers" in path for path in under.below)


def test_towers_are_cut_each_for_itself():
    model = two_towers().model
    cut = cut_of(model, named("image.*"), named("*_head.*"))
    assert cut.below == ("text",)


def test_a_tied_weight_is_trained_with_its_lowest_place():
    model, _ = tied()
    cut = cut_of(model, blocks(0, 1), head())
    assert cut.below == ()


class TwoChains(nn.Module):
    """Two chains that share the weights of a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))
        self.right = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))
        self.right[1].weight = self.left[0].weight

    def forward(self, x):
        y = x
        for left, right in zip(self.left, self.right, strict=True):
            x, y = left(x).tanh(), right(y).tanh()
        return x * y


def test_a_weight_tied_to_another_chain_lowers_the_cut_of_both():
    chains = tuple(
        Chain(name, ((), *((f"{name}.{i}",) for i in range(3)), ())) for name in ("left", "right")
    )
    body = Backbone(
        TwoChains(),
        chains=chains,
        read=lambda net, inputs: Features(pooled=net(**inputs)),
        width=8,
        processor=Arrays(),
        modality="image",
        origin=Origin("own", "two", "two"),
    )
    model = Model(body, Linear(8, 3))
    rules = (Rule(head(), 1.0), Rule(blocks(0, 1, chain="left"), 1.0), REST)
    groups = resolve(rules, locate(model))
    cut = find_cut(model, trainable(groups))
    assert cut.below == ("backbone.net.right.0",)
    labels = {"label": torch.arange(12) % 3}
    stream = ArrayStream({"x": noise(12, 8)}, labels)
    feeds = find_feeds(model, None, Classify(tuple("abc")), groups, {"train": stream})
    assert feeds.replays, feeds.reason
