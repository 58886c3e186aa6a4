"""A network of the user's own, declared in one call."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import graft
from graft.backbones.image_processor import ImageProcessor
from graft.backbones.own import Arrays
from graft.engine.groups import locate
from graft.errors import InputError, ModelError
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
    assert backbone.processor.arrays == Arrays("input")
    assert backbone.processor.pictures.input_name == "input"
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


# --- pictures ---------------------------------------------------------------------------------


def small_net(n_channels=3):
    return nn.Sequential(
        nn.Conv2d(n_channels, 4, 3), nn.Conv2d(4, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )


def pictures(*sizes, n_channels=3):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, n_channels), dtype=np.uint8) for size in sizes]


def pooled(backbone, values):
    return backbone(backbone.processor.collate(backbone.processor.encode(values))).pooled


@pytest.mark.parametrize("n_channels", [1, 3])
@pytest.mark.parametrize("size", [None, 16, (12, 20)])
def test_decoded_pictures_are_resized_and_scaled(size, n_channels):
    options = {} if size is None else {"image_size": size}
    own = graft.backbone(small_net(n_channels), blocks=["0", "1"], width=8, **options)
    values = pictures((40, 31), (18, 50), n_channels=3)
    found = own.processor.collate(own.processor.encode(values))
    side = size or 224
    expected = (side, side) if isinstance(side, int) else side
    assert found["input"].shape == (2, n_channels, *expected)
    assert found["input"].min() >= -1
    assert found["input"].max() <= 1
    half = (0.5,) * n_channels
    by_hand = ImageProcessor(expected, side, half, half, input_name="input")
    assert torch.equal(found["input"], by_hand.collate(by_hand.encode(values))["input"])
    assert pooled(own, values).shape == (2, 8)
    assert own.modality == "image"
    grey = pictures((40, 31), n_channels=1)
    assert pooled(own, grey).shape == (1, 8)


def test_arrays_are_taken_as_they_are_unless_a_size_is_given():
    own = graft.backbone(small_net(), blocks=["0", "1"], width=8)
    values = np.random.rand(2, 3, 9, 9)
    found = own.processor.collate(own.processor.encode(values))["input"]
    torch.testing.assert_close(found, torch.from_numpy(values).float())
    own = graft.backbone(small_net(), blocks=["0", "1"], width=8, image_size=16)
    with pytest.raises(InputError, match="uint8"):
        own.processor.encode(values)


def test_pictures_and_arrays_do_not_mix():
    processor = graft.backbone(small_net(), blocks=["0", "1"], width=8).processor
    rows = processor.encode([*pictures((9, 9)), np.zeros((3, 9, 9))])
    with pytest.raises(InputError, match="one kind"):
        processor.collate(rows)
    assert processor.collate(rows[:1], without=frozenset({"input"})) == {}


def test_processor_key_follows_the_size():
    def key(**options):
        return graft.backbone(small_net(), blocks=["0", "1"], width=8, **options).processor.key

    assert len({key(), key(image_size=224), key(image_size=64), key(image_size=(64, 32))}) == 4


def test_a_size_beside_a_processor_is_refused():
    with pytest.raises(ModelError, match="leave out image_size"):
        graft.backbone(
            small_net(), blocks=["0", "1"], width=8, processor=Arrays("input"), image_size=64
        )


def test_a_folder_of_pictures_trains_an_own_network(tmp_path):
    from PIL import Image

    for label, shade in (("dark", 40), ("light", 200)):
        (tmp_path / "data" / label).mkdir(parents=True)
        for i, picture in enumerate(pictures(*[(20 + n, 31 - n) for n in range(8)])):
            pixels = (picture // 5 + shade).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / label / f"{i}.png")
    own = graft.backbone(small_net(), blocks=["0", "1"], width=8, image_size=16)
    run = graft.train(tmp_path / "data", model=own, method="probe", out=tmp_path / "run")
    assert run.record.classes == ("dark", "light")


@pytest.mark.parametrize("width", [7, 9])
def test_a_wrong_width_is_named_when_first_run(width):
    own = graft.backbone(small_net(), blocks=["0", "1"], width=width)
    with pytest.raises(ModelError, match=rf"\(1, 8\) where \(N, {width}\).*correct width="):
        pooled(own, pictures((20, 20)))
