"""Every block's output is pooled as its layout asks, or left out with a reason."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from graft.backbones.image_network import blank
from graft.backbones.outlets import find_outlets, first_tensor, pool
from graft.backbones.own import backbone
from graft.features import Features
from tests.backbones import images, texts


def outputs(source, inputs):
    """Return what each outlet gives, by block."""
    found = find_outlets(source, inputs).found
    seen = {}
    hooks = [
        source.net.get_submodule(o.path).register_forward_hook(
            lambda _m, _a, output, o=o: seen.update({o.block: pool(source, o, output, inputs)})
        )
        for o in found
    ]
    with torch.no_grad():
        source.eval()(inputs)
    for hook in hooks:
        hook.remove()
    return found, seen


@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_the_last_block_of_a_text_network_gives_its_features(name):
    source = texts.opened(name)
    _, seen = outputs(source, texts.inputs_of(source))
    torch.testing.assert_close(seen[2], texts.features(source))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["t5", "modernbert", "mpnet", "distilbert", "roberta", "deberta"])
def test_the_last_block_gives_the_features_in_other_families(name):
    test_the_last_block_of_a_text_network_gives_its_features(name)


def test_padding_does_not_count():
    source = texts.opened("bert")
    together = texts.inputs_of(source)
    alone = texts.inputs_of(source, texts.TEXTS[1:2])
    _, seen = outputs(source, together)
    _, one = outputs(source, {k: v.repeat(2, 1) for k, v in alone.items()})
    torch.testing.assert_close(seen[0][1], one[0][0], atol=1e-5, rtol=1e-4)


def test_a_classification_class_is_averaged_over_its_tokens():
    source = texts.opened("bert-classifier")
    inputs = texts.inputs_of(source)
    found, seen = outputs(source, inputs)
    assert [o.layout for o in found] == ["texts"] * 3
    with torch.no_grad():
        states = source.net.base_model(**inputs, output_hidden_states=True).hidden_states[-1]
    mask = inputs["attention_mask"].unsqueeze(-1)
    torch.testing.assert_close(seen[2], (states * mask).sum(1) / mask.sum(1))


def test_a_block_that_runs_several_times_is_left_out():
    source = texts.opened("albert")
    found = find_outlets(source, texts.inputs_of(source))
    assert not found.found
    assert "runs 3 times" in found.left_out[0]


@pytest.mark.parametrize(
    ("name", "layout"), [("timm:vit", "tokens"), ("timm:resnet", "maps"), ("timm:swin", "last")]
)
def test_layouts_of_pictures(name, layout):
    source = images.opened(name)
    found, seen = outputs(source, blank(source.processor))
    assert found
    for outlet in found:
        assert layout in outlet.layout
        assert seen[outlet.block].shape == (2, outlet.width)


class Maps(nn.Module):
    """Give maps (N, 6, H, W), or with channels last, from pictures of any shape."""

    def __init__(self, *, last: bool, n: int = 6) -> None:
        super().__init__()
        self.last = last
        self.conv = nn.Conv2d(3, n, 1)

    def forward(self, x):
        x = self.conv(x)
        return x.permute(0, 2, 3, 1) if self.last else x


class Net(nn.Module):
    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x):
        return self.block(x).flatten(1)[:, :5]


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("shape", [(8, 8), (4, 10)])
def test_channels_are_told_from_pixels(last, shape):
    source = backbone(Net(Maps(last=last)), blocks=["block"], width=5)
    x = torch.randn(2, 3, *shape)
    [outlet], seen = outputs(source, {"x": x})
    with torch.no_grad():
        expected = source.net.block.conv(x).mean((2, 3))
    assert outlet.width == 6
    torch.testing.assert_close(seen[0], expected)


def test_as_many_channels_as_pixels_leave_a_doubt():
    source = backbone(Net(Maps(last=False)), blocks=["block"], width=5)
    found = find_outlets(source, {"x": torch.randn(2, 3, 6, 6)})
    assert not found.found
    assert "which axis" in found.left_out[0]


def test_rows_that_are_no_examples_are_left_out():
    class Windows(nn.Module):
        def forward(self, x):
            return x.repeat(2, 1)

    net = nn.Sequential(nn.Linear(3, 5), Windows())
    source = backbone(
        net, blocks=["1"], width=5, read=lambda net, inputs: Features(net(inputs["input"])[:2])
    )
    assert "row per example" in find_outlets(source, {"input": torch.randn(2, 3)}).left_out[0]


def test_the_first_tensor_of_what_a_block_returns():
    x = torch.zeros(2)
    for output in (x, (x, None), [x, 3], {"last_hidden_state": x}):
        assert first_tensor(output) is x
    for output in ((), (None, x), {}, SimpleNamespace(a=x)):
        assert first_tensor(output) is None
