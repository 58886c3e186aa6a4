"""Laws of groups: every parameter in exactly one, tied ones once, at their lowest place."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from graft.engine.groups import locate, resolve, set_trainable, trainable
from graft.errors import InputError
from graft.methods.plan import Rule
from graft.methods.select import biases, blocks, everything, head, named, neck, norms, state, stem
from tests.engine.enemies import Tied, tied
from tests.engine.specimens import model_of
from tests.zoo import WARNINGS, ZOO

pytestmark = [pytest.mark.filterwarnings(w) for w in WARNINGS]


def names(rules, model, beside=None) -> list[set[str]]:
    groups = resolve(rules, locate(model, beside))
    return [{m.place.name for m in g.members} for g in groups]


@pytest.mark.parametrize("name", ZOO)
def test_every_parameter_has_one_place(name):
    model = model_of(ZOO[name])
    located = locate(model)
    assert len({id(m.parameter) for m in located}) == len(located)
    assert {id(m.parameter) for m in located} == {id(p) for p in model.parameters()}
    assert len({m.place.name for m in located}) == len(located)
    for item in located:
        assert (
            dict(model.named_parameters(remove_duplicate=False))[item.place.name] is item.parameter
        )
        assert (item.place.role == "head") == item.place.name.startswith("head.")
        if item.place.role == "backbone":
            assert 0 <= item.place.height <= item.place.n_blocks + 1


@pytest.mark.parametrize("name", ZOO)
def test_stem_blocks_neck_and_head_are_everything(name):
    model = model_of(ZOO[name])
    rules = [Rule(s, 1.0) for s in (head(), stem(), blocks(0), neck(), everything())]
    *parts, rest = names(rules, model)
    assert not rest
    assert parts[2]
    assert sum(map(len, parts)) == len(list(model.parameters()))


def test_the_first_rule_that_matches_wins():
    model, _ = tied()
    first, second, rest = names(
        [Rule(blocks(-1), 1.0), Rule(biases(), 2.0), Rule(everything(), None)], model
    )
    assert first == {"backbone.net.layers.3.weight", "backbone.net.layers.3.bias"}
    assert "head.out.bias" in second
    assert not any(n.endswith("bias") for n in rest)


def test_a_tied_parameter_stands_once_at_its_lowest_place():
    model, _ = tied()
    places = {m.place.name: m.place for m in locate(model)}
    assert "backbone.net.tie.weight" not in places
    assert places["backbone.net.layers.0.weight"].height == 1
    assert places["backbone.net.tie.bias"].height == places["backbone.net.tie.bias"].n_blocks + 1


def test_t5_counts_its_shared_embedding_once_and_lowest():
    model = model_of(ZOO["t5"])
    shared = model.backbone.net.shared.weight
    [item] = [m for m in locate(model) if m.parameter is shared]
    assert (item.place.chain, item.place.height) == ("chain0", 0)


def test_an_uncovered_parameter_is_refused_by_name():
    model, _ = tied()
    with pytest.raises(InputError, match=r"no rule covers backbone\.net\.layers\.0\.weight"):
        resolve(
            [Rule(head(), 1.0), Rule(named("*.bias"), 1.0), Rule(blocks(1), 1.0)], locate(model)
        )


def test_uncovered_state_is_refused_by_name():
    model, _ = tied()
    with pytest.raises(InputError, match=r"state\.weight"):
        resolve([Rule(head(), 1.0), Rule(named("backbone*"), 1.0)], locate(model, nn.Linear(2, 2)))


@pytest.mark.parametrize("rate", [None, 0.0])
def test_all_frozen_is_refused(rate):
    model, _ = tied()
    with pytest.raises(InputError, match="give some rule a rate"):
        resolve([Rule(everything(), rate)], locate(model))


def test_a_rate_for_nobody_is_refused():
    model, _ = tied()
    with pytest.raises(InputError, match="give some rule a rate"):
        resolve([Rule(state(), 1.0), Rule(everything(), None)], locate(model))


def test_set_trainable_is_exactly_the_groups_with_a_rate():
    model, _ = tied()
    groups = resolve(
        [Rule(head(), 1.0), Rule(neck(), 0.0), Rule(everything(), None)], locate(model)
    )
    set_trainable(groups)
    assert {id(m.parameter) for m in trainable(groups)} == {
        id(p) for p in model.parameters() if p.requires_grad
    }
    assert model.head.out.weight.requires_grad
    assert model.backbone.net.tie.bias.requires_grad
    assert not model.backbone.net.layers[3].weight.requires_grad


def test_norms_and_biases_are_told_from_weights():
    model = model_of(ZOO["resnet"])
    kinds = {m.place.name: m.place.kind for m in locate(model)}
    of_norms = {
        f"{path}.{n}"
        for path, module in model.named_modules()
        if isinstance(module, nn.BatchNorm2d)
        for n, _ in module.named_parameters()
    }
    assert {n for n, kind in kinds.items() if kind == "norm"} == of_norms
    assert kinds["head.out.bias"] == "bias"
    assert kinds["head.out.weight"] == "weight"
    assert names([Rule(norms(), 1.0), Rule(everything(), None)], model)[0] == of_norms


def test_a_parameter_shared_by_model_and_state_is_the_models():
    model, _ = tied()
    beside = nn.Module()
    beside.mine = nn.Parameter(torch.zeros(1))
    beside.theirs = model.head.out.weight
    found = [m.place.name for m in locate(model, beside)]
    assert "state.mine" in found
    assert "state.theirs" not in found
    assert isinstance(model.backbone.net, Tied)
