"""Grey and many-channel pictures: the field's rule for the first convolution, and its identity."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from graft import heads
from graft.backbones import open_backbone
from graft.backbones.backbone import Origin
from graft.backbones.image_network import blank, image_backbone
from graft.backbones.image_processor import ImageProcessor
from graft.errors import ModelError
from graft.features import Features
from graft.surgery.channels import adapt_input_channels, adapt_weight, with_channels
from tests.backbones.images import SOURCES, logits_by_library, opened

QUICK = (
    "timm:vit",
    "timm:resnet",
    "timm:efficientnet",
    "torchvision:mobilenet_v3_small",
    "torchvision:squeezenet1_1",
    "transformers:vit",
    "transformers:resnet",
    "transformers:convnext",
)
ALL = [s if s in QUICK else pytest.param(s, marks=pytest.mark.slow) for s in SOURCES]


@pytest.mark.parametrize("n_channels", [1, 2, 3, 4, 6])
def test_rule_is_that_of_timm(n_channels):
    from timm.models._manipulate import adapt_input_conv

    weight = torch.randn(5, 3, 2, 2)
    torch.testing.assert_close(
        adapt_weight(weight, n_channels), adapt_input_conv(n_channels, weight)
    )


@pytest.mark.parametrize("source", ALL)
def test_grey_equals_the_same_picture_three_times(source):
    colour = opened(source)
    grey = with_channels(colour, 1).eval()
    assert grey.processor.n_channels == 1
    [(name, x)] = blank(grey.processor, 3).items()
    with torch.no_grad():
        found = grey({name: x}).pooled
        expected = colour({name: x.expand(-1, 3, -1, -1)}).pooled
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("source", ALL)
def test_many_channels_run_and_leave_the_original(source):
    colour = opened(source)
    before = {name: t.clone() for name, t in colour.state_dict().items()}
    many = with_channels(colour, 5).eval()
    assert many(blank(many.processor)).pooled.shape == (2, colour.width)
    assert colour.processor.n_channels == 3
    assert all(torch.equal(before[name], t) for name, t in colour.state_dict().items())
    fresh = many.origin.fresh()
    shapes = {name: p.shape for name, p in fresh.named_parameters()}
    assert shapes == {name: p.shape for name, p in many.net.named_parameters()}


@pytest.mark.parametrize(
    "source",
    [
        "timm:vit",
        "timm:resnet",
        "torchvision:mobilenet_v3_small",
        "transformers:vit",
        "transformers:resnet",
    ],
)
def test_grey_network_is_saved_as_such(source, tmp_path):
    grey = with_channels(opened(source), 1).eval()
    head = heads.Linear(grey.width, 3)
    grey.origin.save(tmp_path / "made", grey, head, ("a", "b", "c"))
    again = open_backbone(tmp_path / "made").eval()
    assert again.processor == grey.processor
    inputs = blank(grey.processor)
    weight, bias = again.origin.old_head
    with torch.no_grad():
        expected = head(grey(inputs))
        torch.testing.assert_close(again(inputs).pooled @ weight.T + bias, expected)
    fresh = again.origin.fresh()
    assert {n: p.shape for n, p in fresh.named_parameters()} == {
        n: p.shape for n, p in grey.net.named_parameters()
    }
    if not source.startswith("torchvision"):  # its functions know no other number of channels
        found = logits_by_library(source, tmp_path / "made", inputs)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


class TwoStems(nn.Module):
    """Read the picture twice, so that one adapted convolution is not enough."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Conv2d(3, 4, 1)
        self.right = nn.Conv2d(3, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.left(x) + self.right(x)).mean((2, 3))


def test_the_same_number_changes_nothing():
    backbone = opened("timm:resnet")
    assert with_channels(backbone, 3) is backbone


def test_networks_that_cannot_are_refused():
    with pytest.raises(ModelError, match="no convolution"):
        adapt_input_channels(nn.Linear(3, 3), 1)
    with pytest.raises(ModelError, match="grouped"):
        adapt_input_channels(nn.Conv2d(4, 4, 1, groups=4), 1)
    backbone = image_backbone(
        TwoStems(),
        processor=ImageProcessor((8, 8), 8, (0.5,) * 3, (0.5,) * 3),
        origin=Origin("own", "two stems", "own"),
        read=lambda net, inputs: Features(pooled=net(**inputs)),
    )
    with pytest.raises(ModelError, match="two stems: cannot read other channels"):
        with_channels(backbone, 1)
