"""Laws of what surgery puts in, over every network of the zoo: identity, merge, remove, copies."""

from __future__ import annotations

import copy
import functools

import pytest
import torch
from torch import nn

from graft.errors import InputError, ModelError
from graft.surgery.bottleneck import Bottleneck
from graft.surgery.inserting import insert, inserted, is_mergeable, merge, remove
from graft.surgery.lora import LoRA
from graft.surgery.residual import Residual
from tests.engine.specimens import batch, model_of
from tests.zoo import WARNINGS, ZOO

pytestmark = [pytest.mark.filterwarnings(w) for w in WARNINGS]

SURGERIES = {
    "houlsby": Bottleneck(4),
    "pfeiffer": Bottleneck(4, "pfeiffer"),
    "beside": Bottleneck(4, "parallel"),
    "parallel": Residual("parallel"),
    "series": Residual("series"),
    "lora": LoRA(2),
}
CONVOLUTIONAL = {
    *("resnet", "mobilenet-v2", "efficientnet", "timm-resnet", "timm-mobilenet-v2", "squeezenet"),
    *("timm-mobilenet-v3", "timm-efficientnet", "torchvision-resnet", "torchvision-mobilenet-v2"),
    *("torchvision-mobilenet-v3", "plain-cnn"),
}
BOTH = {"convnext", "timm-convnext", "rt-detr"}
NEITHER = {"flat-dense"}
"""Networks without a stream of tokens and without wide convolutions; all have matrices."""


@functools.cache
def opened(name: str) -> nn.Module:
    return model_of(ZOO[name]).eval()


def output(model: nn.Module, name: str) -> torch.Tensor:
    with torch.no_grad():
        return model(batch(ZOO[name], 3, ZOO[name].lengths[0]).inputs)


def blocks_of(model) -> list[str]:
    parts = [part for chain in model.backbone.chains for part in chain.parts[1:-1]]
    return [path for part in parts for path in part]


def sites_of(model, surgery, name):
    return surgery.sites(model.backbone.net, blocks_of(model), lambda: output_of_grad(model, name))


def output_of_grad(model, name):
    return model(batch(ZOO[name], 3, ZOO[name].lengths[0]).inputs)


def stirred(model) -> None:
    """Give what was put in numbers as training might."""
    torch.manual_seed(1)
    for _, child in inserted(model):
        for parameter in child.parameters():
            nn.init.normal_(parameter, std=0.05)


def belongs(surgery, name: str) -> bool:
    if isinstance(surgery, LoRA):
        return True
    if name in NEITHER:
        return False
    if isinstance(surgery, Residual):
        return name in CONVOLUTIONAL | BOTH
    return name not in CONVOLUTIONAL


@pytest.mark.parametrize("kind", SURGERIES)
@pytest.mark.parametrize("name", ZOO)
def test_laws(name, kind):
    surgery = SURGERIES[kind]
    if not belongs(surgery, name):
        with pytest.raises(InputError, match="choose"):
            sites_of(opened(name), surgery, name)
        return
    model = copy.deepcopy(opened(name))
    before, state = output(model, name), {k: t.clone() for k, t in model.state_dict().items()}
    insert(model.backbone.net, surgery, sites_of(model, surgery, name))
    assert torch.equal(output(model, name), before), "not the identity where it was put in"
    assert all(child.is_identity for _, child in inserted(model))
    assert state.keys() < model.state_dict().keys(), "a pretrained tensor has another name"

    stirred(model)
    changed = output(model, name)
    assert not torch.allclose(changed, before, atol=1e-6)
    for path, child in inserted(model):
        was = copy.deepcopy(child.state_dict())
        for parameter in child.parameters():
            nn.init.zeros_(parameter)
        assert not torch.equal(output(model, name), changed), f"{path} is not run"
        child.load_state_dict(was)

    twin = copy.deepcopy(model)
    if is_mergeable(model):
        merge(twin)
        size = changed.abs().max()
        torch.testing.assert_close(output(twin, name), changed, atol=1e-5 * float(size), rtol=1e-5)
        assert twin.state_dict().keys() == state.keys()
    else:
        with pytest.raises(ModelError, match="not linear"):
            merge(twin)
    assert torch.equal(output(model, name), changed), "a copy is not by itself"

    remove(model)
    assert torch.equal(output(model, name), before)
    after = model.state_dict()
    assert after.keys() == state.keys()
    assert all(torch.equal(after[k], t) for k, t in state.items())


BRANCHES = {
    "bert": 8,
    "distilbert": 8,
    "gpt2": 8,
    "t5": 3 * 2 + 3 * 3,
    "marian": 3 * 2 + 3 * 3,
    "wav2vec2": 8,
    "whisper": 3 * 2 + 3 * 3,
    "vit": 8,
    "dinov2": 8,
    "swin": 8,
    "timm-vit": 8,
    "timm-swin": 8,
    "convnext": 4,
    "clip": 12,
}
"""Branches that join the stream: two a block, three where a decoder also reads its encoder."""


@pytest.mark.parametrize("name", BRANCHES)
def test_every_branch_of_a_transformer_is_found(name):
    model = opened(name)
    everywhere = sites_of(model, Bottleneck(4), name)
    last = sites_of(model, Bottleneck(4, "pfeiffer"), name)
    expected = BRANCHES[name]
    found = [s.host for s in everywhere if "downsample" not in s.host]
    assert len(found) == expected, found
    assert {s.host for s in last} <= {s.host for s in everywhere}


def test_twice_is_refused():
    model = copy.deepcopy(opened("bert"))
    sites = sites_of(model, LoRA(2), "bert")
    insert(model.backbone.net, LoRA(2), sites)
    with pytest.raises(ModelError, match="already"):
        insert(model.backbone.net, LoRA(2), sites)


def test_two_kinds_stand_side_by_side():
    model = copy.deepcopy(opened("bert"))
    net, before = model.backbone.net, output(model, "bert")
    for surgery in (LoRA(2), Bottleneck(4)):
        insert(net, surgery, sites_of(model, surgery, "bert"))
    assert torch.equal(output(model, "bert"), before)
    assert not is_mergeable(model)
    with pytest.raises(ModelError, match="bottleneck"):
        merge(model)
    assert {child.surgery.name for _, child in inserted(model)} == {"lora", "bottleneck"}


@pytest.mark.parametrize("placement", ["parallel", "series"])
@pytest.mark.parametrize("size", [32, 33])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 2)])
def test_a_convolution_that_pads_as_tensorflow_is_wide_too(kernel, stride, size, placement):
    from timm.layers import Conv2dSame

    torch.manual_seed(0)
    net = nn.Sequential(Conv2dSame(4, 6, kernel, stride=stride), nn.ReLU())
    given = torch.randn(2, 4, size, size)
    surgery = Residual(placement)
    sites = surgery.sites(net, ["0"], lambda: net(given.requires_grad_()))
    insert(net, surgery, sites)
    for _, child in inserted(net):
        nn.init.normal_(child.alpha.weight, std=0.5)
    with torch.no_grad():
        beside = net(given)
        merge(net)
        torch.testing.assert_close(net(given), beside, atol=1e-5, rtol=1e-5)


def test_what_finds_no_place_beside_adapters_says_so():
    model = copy.deepcopy(opened("bert"))
    insert(model.backbone.net, Bottleneck(4), sites_of(model, Bottleneck(4), "bert"))
    with pytest.raises(InputError, match="already"):
        sites_of(model, Bottleneck(2), "bert")
