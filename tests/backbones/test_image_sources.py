"""The backbone contract, over every image source: features, order, replay, old logits, saving."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from graft import heads
from graft.backbones import open_backbone
from graft.backbones.image_network import blank, find_blocks
from graft.backbones.image_processor import ImageProcessor, with_n_channels
from graft.backbones.transformers_preprocessor import described
from graft.batch import Batch
from graft.engine.cut import find_cut
from graft.engine.groups import locate
from graft.engine.modes import set_modes
from graft.engine.probe import find_replay
from graft.errors import InputError, ModelError, UnknownName
from tests.backbones.images import (
    HEAVY_SOURCES,
    LABELS,
    SOURCES,
    given,
    logits_by_library,
    opened,
    saved,
)
from tests.engine.specimens import Classifier
from tests.engine.test_replay import freeze_below

HEAVY = [pytest.param(s, marks=pytest.mark.slow) for s in HEAVY_SOURCES]
ALL = [*SOURCES, *HEAVY]
# The library's own class has a linear layer at its end, whether or not the file holds one.
WITH_LINEAR_END = [
    *(s for s in SOURCES if "squeezenet" not in s and "dinov3" not in s),
    *HEAVY,
]


@pytest.fixture(autouse=True)
def _quiet_library():
    from transformers.utils import logging

    logging.disable_progress_bar()


def snapshot(net: nn.Module) -> dict[str, torch.Tensor]:
    return {name: t.clone() for name, t in net.state_dict().items()}


@pytest.mark.parametrize("source", ALL)
def test_contract(source):
    backbone = open_backbone(given(source)[0]).eval()
    inputs = blank(backbone.processor, 3)
    with torch.no_grad():
        pooled, again = backbone(inputs).pooled, backbone(inputs).pooled
    assert pooled.shape == (3, backbone.width)
    assert torch.isfinite(pooled).all()
    assert torch.equal(pooled, again)
    assert not torch.allclose(pooled[0], pooled[1], atol=1e-3), "the network is dead"
    check_order(backbone)
    check_replay(backbone)


def check_order(backbone):
    [chain] = backbone.chains
    paths = [path for part in chain.parts for path in part]
    assert len(paths) == len(set(paths))
    assert not any(a != b and a.startswith(f"{b}.") for a in paths for b in paths)
    assert chain.n_blocks >= 2
    assert all(len(part) >= 1 for part in chain.parts[1:-1])
    heights = {place.place.name: place.place.height for place in locate(backbone)}
    assert heights.keys() == {name for name, _ in backbone.named_parameters()}
    per_block = [list(heights.values()).count(h) for h in range(1, chain.n_blocks + 1)]
    assert all(per_block)
    assert sum(per_block) > len(heights) / 2, "most parameters stand outside the blocks"


def check_replay(backbone):
    model = Classifier(backbone)
    batches = [Batch(blank(backbone.processor, n), {}, np.arange(n)) for n in (2, 3)]
    for n_open in (-1, 1):
        freeze_below(model, n_open)
        cut = find_cut(model, [m for m in locate(model) if m.parameter.requires_grad])
        replay = find_replay(
            model,
            cut,
            lambda b: model(b.inputs),
            (batches[0], batches[1]),
            set_modes=lambda: set_modes(model),
        )
        assert replay.taps
        assert backbone.processor.input_name in replay.unread


@pytest.mark.parametrize("source", ALL)
def test_never_built_on_old_logits(source):
    whole, backbone = given(source)[1], opened(source)
    outputs = {p.shape[0] for p in backbone.net.parameters() if p.ndim > 1}
    assert 5 not in outputs, "a layer of five outputs, the old classes, is still there"
    if "headless" in source or "squeezenet" in source:
        assert backbone.origin.old_head is None
        assert backbone.origin.classes == ()
        return
    weight, bias = backbone.origin.old_head
    assert weight.shape == (5, backbone.width)
    assert backbone.origin.classes == LABELS
    inputs = blank(backbone.processor, 3)
    with torch.no_grad():
        expected = whole(**inputs)
        found = backbone(inputs).pooled @ weight.T + bias
    torch.testing.assert_close(found, getattr(expected, "logits", expected), atol=1e-5, rtol=1e-5)


def test_squeezenet_is_read_before_its_scores():
    whole, backbone = given("torchvision:squeezenet1_1")[1], opened("torchvision:squeezenet1_1")
    inputs = blank(backbone.processor, 3)
    with torch.no_grad():
        expected = whole.features(inputs["x"]).mean((2, 3))
        torch.testing.assert_close(backbone(inputs).pooled, expected)


@pytest.mark.parametrize("source", WITH_LINEAR_END)
def test_saved_folder_opens_in_its_library(source, tmp_path):
    backbone = opened(source)
    head = heads.Linear(backbone.width, 3)
    nn.init.normal_(head.out.bias)
    before, names = snapshot(backbone), list(backbone.net.state_dict())
    what = backbone.origin.save(tmp_path / "made", backbone, head, ("ant", "bee", "cat"))
    assert "body only" not in what
    after = snapshot(backbone)
    assert names == list(backbone.net.state_dict())
    assert all(torch.equal(before[name], after[name]) for name in before)
    inputs = blank(backbone.processor, 3)
    with torch.no_grad():
        expected = head(backbone(inputs))
    found = logits_by_library(source, tmp_path / "made", inputs)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    again = open_backbone(tmp_path / "made").eval()
    assert again.origin.classes == ("ant", "bee", "cat")
    torch.testing.assert_close(again.origin.old_head[0], head.out.weight.detach())
    assert again.processor == backbone.processor


@pytest.mark.parametrize("source", SOURCES)
def test_body_under_another_head_is_saved_alone(source, tmp_path):
    backbone = opened(source)
    head = heads.head("cosine", backbone.width, 3)
    what = backbone.origin.save(tmp_path / "made", backbone, head, ("a", "b", "c"))
    assert what.endswith("(body only)")
    again = open_backbone(tmp_path / "made").eval()
    assert again.origin.old_head is None
    assert again.origin.classes == ()
    inputs = blank(backbone.processor, 3)
    with torch.no_grad():
        found, expected = again(inputs).pooled, backbone(inputs).pooled
    # kernels add up in an order that may follow from where the weights lie in memory
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("source", [s for s in SOURCES if s.startswith("transformers:")])
def test_body_saved_alone_opens_as_a_body_in_transformers(source, tmp_path):
    from transformers import AutoModel

    backbone = opened(source)
    head = heads.head("mlp:7", backbone.width, 3)
    what = backbone.origin.save(tmp_path / "made", backbone, head, ("a", "b", "c"))
    assert what.startswith("AutoModel")
    assert "tensors between" not in what
    config = json.loads((tmp_path / "made" / "config.json").read_text(encoding="utf-8"))
    assert "id2label" not in config
    assert not any("ForImageClassification" in name for name in config["architectures"])
    options = {"add_pooling_layer": False} if "add_pooling_layer" in what else {}
    body, report = AutoModel.from_pretrained(tmp_path / "made", output_loading_info=True, **options)
    assert not report["missing_keys"]
    assert type(body).__name__ == config["architectures"][0]
    ours = backbone.net.state_dict()
    is_alone = type(body) is type(backbone.net)
    prefix = "" if is_alone else f"{backbone.net.base_model_prefix}."
    theirs = {prefix + name: t for name, t in body.state_dict().items()}
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    again = open_backbone(tmp_path / "made")
    linear = heads.Linear(again.width, 3)
    if not is_alone:
        assert again.origin.save(tmp_path / "whole", again, linear, ("a", "b", "c")) == (
            "AutoModelForImageClassification"
        )
        assert "graft_body_of" not in (tmp_path / "whole" / "config.json").read_text("utf-8")


def test_body_saved_alone_opens_as_a_body_in_timm_and_torchvision(tmp_path):
    import timm
    import torchvision.models
    from safetensors.torch import load_file

    def saved_body(source):
        backbone, folder = opened(source), tmp_path / source.replace(":", "-")
        head = heads.head("cosine", backbone.width, 3)
        what = backbone.origin.save(folder, backbone, head, ("a", "b", "c"))
        inputs = blank(backbone.processor, 3)
        with torch.no_grad():
            return folder, what, inputs, backbone(inputs).pooled

    folder, _, inputs, expected = saved_body("timm:resnet")
    with torch.no_grad():
        found = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()(**inputs)
    torch.testing.assert_close(found, expected)
    folder, what, inputs, expected = saved_body("torchvision:mobilenet_v3_small")
    assert "classifier.3 set to nn.Identity()" in what
    net = torchvision.models.mobilenet_v3_small()
    net.classifier[3] = nn.Identity()
    net.load_state_dict(load_file(folder / "model.safetensors"), strict=True)
    with torch.no_grad():
        torch.testing.assert_close(net.eval()(**inputs), expected)


@pytest.fixture
def calls(monkeypatch):
    """Cut the network off; return the hosts that were asked for."""
    import socket

    asked = []

    def refuse(host, *_, **__):
        asked.append(host)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return asked


@pytest.mark.parametrize("name", ["timm:test_resnet", "torchvision:squeezenet1_1", "test_resnet"])
def test_random_weights_need_no_network(name, calls):
    backbone = open_backbone(name, random=True)
    assert backbone.origin.old_head is None
    assert not calls


@pytest.mark.parametrize("source", ["transformers:vit", "timm:resnet", "torchvision:squeezenet1_1"])
def test_random_weights_need_no_weights(source, calls, tmp_path):
    saved(source, tmp_path)
    (tmp_path / "model.safetensors").unlink()
    backbone = open_backbone(tmp_path, random=True)
    assert backbone.chains == opened(source).chains
    assert not calls


@pytest.mark.parametrize(
    "name", ["no/such", "no-such", "text:no/such", "image:no/such", "timm:test_resnet"]
)
def test_an_absent_hub_is_asked_once(name, calls, capfd, tmp_path, monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(ModelError, match="not reached"):
        open_backbone(name)
    assert 1 <= len(calls) <= 2
    assert "Retrying" not in "".join(capfd.readouterr())
    assert not huggingface_hub.constants.HF_HUB_OFFLINE


@pytest.mark.parametrize("source", SOURCES)
def test_fresh_has_the_same_names_and_other_weights(source):
    folder, backbone = given(source)[0], opened(source)
    other = backbone.origin.fresh()
    ours = dict(backbone.net.named_parameters())
    theirs = dict(other.named_parameters())
    assert {n: p.shape for n, p in ours.items()} == {n: p.shape for n, p in theirs.items()}
    matrices = [n for n, p in ours.items() if p.ndim > 1]
    assert not any(torch.equal(ours[n], theirs[n]) for n in matrices)
    random = open_backbone(folder, random=True)
    assert random.origin.old_head is None
    assert not torch.equal(dict(random.net.named_parameters())[matrices[0]], ours[matrices[0]])
    assert random.chains == backbone.chains


def test_names_are_checked():
    with pytest.raises(UnknownName, match="resnet18"):
        open_backbone("torchvision:resnet81", random=True)
    with pytest.raises(ModelError, match="timm model no_such_net"):
        open_backbone("timm:no_such_net", random=True)


@pytest.mark.parametrize("source", ["timm:resnet", "torchvision:squeezenet1_1", "transformers:vit"])
def test_only_safetensors_are_read(source, tmp_path):
    saved(source, tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match="run `graft convert`"):
        open_backbone(tmp_path)


def test_a_file_that_lacks_weights_is_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    saved("transformers:vit", tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    lost = next(name for name in tensors if ".1." in name)
    del tensors[lost]
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="not in its file"):
        open_backbone(tmp_path)


def test_mobilenet_of_transformers_is_mended():
    backbone = opened("transformers:mobilenet-v2")
    norms = [m for m in backbone.net.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {m.momentum for m in norms} == {0.1}
    assert backbone.net.dropout.p == pytest.approx(0.2)
    assert any("momentum" in note for note in backbone.origin.notes)
    assert {
        m.momentum for m in backbone.origin.fresh().modules() if isinstance(m, nn.BatchNorm2d)
    } == {0.1}


def test_absent_preprocessor_is_noted(tmp_path):
    saved("transformers:vit", tmp_path)
    (tmp_path / "preprocessor_config.json").unlink()
    backbone = open_backbone(tmp_path)
    assert backbone.processor.mean == (0.5, 0.5, 0.5)
    assert any("preprocessor_config" in note for note in backbone.origin.notes)


def test_blocks_of_unknown_networks():
    def layer() -> nn.Module:
        return nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU())

    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = layer()
            self.middle = nn.Sequential(*(layer() for _ in range(4)))

    assert find_blocks(Own()) == [f"middle.{i}" for i in range(4)]


# --- processor --------------------------------------------------------------------------------

PROCESSOR = ImageProcessor((8, 8), 10, (0.5, 0.4, 0.3), (0.2, 0.25, 0.3))


def picture(height=20, width=30, n_channels=3):
    shape = (height, width, n_channels)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def test_processor_agrees_with_torchvision():
    from PIL import Image
    from torchvision.transforms import v2

    expected = v2.Compose(
        [
            v2.Resize(10),
            v2.CenterCrop(8),
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(PROCESSOR.mean, PROCESSOR.std),
        ]
    )
    for size in ((20, 30), (31, 17), (8, 8)):
        pixels = picture(*size)
        rows = PROCESSOR.encode([pixels, Image.fromarray(pixels)])
        found = PROCESSOR.collate(rows)["x"]
        assert found.shape == (2, 3, 8, 8)
        assert rows[0]["pixels"].dtype == np.uint8
        for image in found:
            torch.testing.assert_close(image, expected(Image.fromarray(pixels)))


@pytest.mark.parametrize(("height", "width"), [(20, 30), (31, 17), (9, 23)])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("ViT", {"size": {"height": 9, "width": 9}}),
        (
            "MobileNetV1",
            {"size": {"shortest_edge": 11}, "crop_size": {"height": 8, "width": 8}},
        ),
        ("ConvNext", {"size": {"shortest_edge": 9}, "crop_pct": 0.8}),
        ("EfficientNet", {"size": {"height": 9, "width": 9}}),
    ],
)
def test_processor_agrees_with_transformers(kind, options, height, width):
    import transformers

    own = getattr(transformers, f"{kind}ImageProcessorPil")(**options)
    processor = described(own.to_dict(), 3)
    pixels = picture(height, width)
    found = processor.collate(processor.encode([pixels]))["pixel_values"]
    expected = own(pixels, return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("kind", ["ViT", "ConvNext"])
def test_processor_is_within_rounding_of_the_tensor_processors(kind):
    import transformers

    options = {"shortest_edge": 30} if kind == "ConvNext" else {"height": 30, "width": 30}
    own = getattr(transformers, f"{kind}ImageProcessor")(size=options, resample=3)
    processor = described(own.to_dict(), 3)
    pixels = picture(101, 87)
    found = processor.collate(processor.encode([pixels]))["pixel_values"]
    expected = own(pixels, return_tensors="pt")["pixel_values"]
    n_levels = (found - expected).abs() * torch.tensor(processor.std).view(-1, 1, 1) * 255
    assert n_levels.max() < 2.01, "they resize tensors, and Pillow pictures"
    assert n_levels.mean() < 0.1


def test_processor_agrees_with_timm():
    from PIL import Image
    from timm.data import create_transform

    folder, _ = given("timm:resnet")
    processor = open_backbone(folder).processor
    options = {k: net_cfg(folder)[k] for k in ("mean", "std", "crop_pct", "interpolation")}
    transform = create_transform(input_size=(3, 64, 64), is_training=False, **options)
    pixels = picture(101, 87)
    found = processor.collate(processor.encode([pixels]))["x"][0]
    torch.testing.assert_close(found, transform(Image.fromarray(pixels)))


def net_cfg(folder):
    return json.loads((folder / "config.json").read_text(encoding="utf-8"))["pretrained_cfg"]


def test_processor_leaves_out_what_is_not_read():
    rows = PROCESSOR.encode([picture()])
    assert PROCESSOR.collate(rows, without=frozenset({"x"})) == {}


def test_processor_channels():
    grey = with_n_channels(PROCESSOR, 1)
    assert str(grey).startswith("pictures grey, ")
    assert grey.mean == pytest.approx((0.4,))
    assert grey.encode([picture()[:, :, 0]])[0]["pixels"].shape == (1, 8, 8)
    assert grey.encode([picture()])[0]["pixels"].shape == (1, 8, 8)
    five = with_n_channels(PROCESSOR, 5)
    [row] = five.encode([picture(n_channels=5)])
    assert row["pixels"].shape == (5, 8, 8)
    alone = grey.encode([picture(n_channels=5)[:, :, 3]])[0]["pixels"]
    np.testing.assert_array_equal(row["pixels"][3:4], alone)
    colour = PROCESSOR.encode([picture()[:, :, 0], picture()[:, :, :1]])
    assert all(np.array_equal(r["pixels"][0], r["pixels"][2]) for r in colour)
    with pytest.raises(InputError, match="channels"):
        PROCESSOR.encode([picture(n_channels=5)])


def test_processor_lays_transparency_on_white():
    from PIL import Image

    hidden = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    assert (PROCESSOR.encode([hidden])[0]["pixels"] == 255).all()


@pytest.mark.parametrize(
    "value", ["a/path.png", np.zeros((4, 4, 3), np.float32), np.zeros((2, 4, 4, 3), np.uint8)]
)
def test_processor_refuses_what_is_no_decoded_picture(value):
    with pytest.raises(InputError, match="uint8"):
        PROCESSOR.encode([value])


def test_processor_survives_a_hair_of_a_picture():
    pixels = np.zeros((1, 2_000_001, 3), np.uint8)
    pixels[:, 1_000_000] = 255
    [row] = replace(PROCESSOR, size=(10, 10)).encode([pixels])
    assert row["pixels"].shape == (3, 10, 10)
    assert row["pixels"].max() > 200, "the middle is lost"


def test_processor_key_follows_every_field():
    others = [
        replace(PROCESSOR, size=(8, 9)),
        replace(PROCESSOR, resize=11),
        replace(PROCESSOR, mean=(0.5, 0.4, 0.31)),
        replace(PROCESSOR, interpolation="bicubic"),
    ]
    assert len({p.key for p in (PROCESSOR, *others)}) == 5


# --- real weights -----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folder", "palace"), [("mobilenetv2_100", 698), ("mobilenet_v1_0.75_192", 699)]
)
def test_kept_head_names_a_palace(folder, palace, shared):
    datasets = pytest.importorskip("sklearn.datasets")
    path = shared / "weights" / folder
    if not path.is_dir():
        pytest.skip(f"needs the shared weights {folder}")
    backbone = open_backbone(path).eval()
    weight, bias = backbone.origin.old_head
    rows = backbone.processor.encode([datasets.load_sample_image("china.jpg")])
    with torch.no_grad():
        logits = backbone(backbone.processor.collate(rows)).pooled @ weight.T + bias
    assert int(logits.argmax()) == palace


@pytest.mark.slow
def test_body_without_head_opens(shared):
    path = shared / "weights" / "mobilenet_v2_gluon_backbone"
    if not path.is_dir():
        pytest.skip("needs the shared weights mobilenet_v2_gluon_backbone")
    backbone = open_backbone(path)
    assert backbone.width == 1280
    assert backbone.origin.old_head is None
    assert backbone.processor.mean == (0.485, 0.456, 0.406)
