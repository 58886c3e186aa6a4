"""Tiny image sources for the contract tests: how to make each, and how its library opens it."""

from __future__ import annotations

import atexit
import json
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from graft.backbones import open_backbone
from graft.backbones.backbone import Backbone
from tests.zoo import DROPOUT, SIZES, enliven, settle

_HOME = tempfile.TemporaryDirectory()
atexit.register(_HOME.cleanup)

SIZE = 32
TIMM = {
    "vit": ("test_vit", {"img_size": 64}),
    "resnet": ("test_resnet", {}),
    "convnext": ("test_convnext", {}),
    "mobilenetv2": ("mobilenetv2_035", {}),
    "mobilenetv3": ("mobilenetv3_small_050", {}),
    "efficientnet": ("test_efficientnet", {}),
    "swin": (
        "swin_tiny_patch4_window7_224",
        {"img_size": 64, "window_size": 4, "embed_dim": 16, "depths": [2, 2], "num_heads": [2, 2]},
    ),
}
TORCHVISION = ("mobilenet_v3_small", "squeezenet1_1")
HEAVY_TORCHVISION = ("resnet18", "mobilenet_v2", "efficientnet_b0", "convnext_tiny", "densenet121")
VIT_LIKE = SIZES | DROPOUT | {"num_hidden_layers": 3, "image_size": SIZE, "patch_size": 8}
TRANSFORMERS = {
    "vit": ("ViTForImageClassification", "ViTConfig", VIT_LIKE),
    "dinov2": ("Dinov2ForImageClassification", "Dinov2Config", VIT_LIKE),
    "swin": (
        "SwinForImageClassification",
        "SwinConfig",
        {
            "image_size": SIZE,
            "patch_size": 4,
            "embed_dim": 16,
            "depths": [2, 2],
            "num_heads": [2, 2],
            "window_size": 4,
            "mlp_ratio": 2.0,
        },
    ),
    "convnext": (
        "ConvNextForImageClassification",
        "ConvNextConfig",
        {"num_stages": 3, "hidden_sizes": [8, 16, 24], "depths": [1, 2, 1]},
    ),
    "resnet": (
        "ResNetForImageClassification",
        "ResNetConfig",
        {
            "embedding_size": 8,
            "hidden_sizes": [8, 16, 24],
            "depths": [1, 2, 1],
            "layer_type": "basic",
        },
    ),
    "mobilenet-v2": (
        "MobileNetV2ForImageClassification",
        "MobileNetV2Config",
        {"image_size": SIZE, "depth_multiplier": 0.25, "finegrained_output": False},
    ),
    "efficientnet": (
        "EfficientNetForImageClassification",
        "EfficientNetConfig",
        {
            "image_size": SIZE,
            "hidden_dim": 320,
            "width_coefficient": 0.25,
            "depth_coefficient": 0.3,
            "kernel_sizes": [3, 3, 5],
            "in_channels": [32, 16, 24],
            "out_channels": [16, 24, 40],
            "strides": [1, 2, 2],
            "num_block_repeats": [1, 2, 2],
            "expand_ratios": [1, 6, 6],
            "depthwise_padding": [],
        },
    ),
    # Families or files without an image classifier.
    "dinov3-headless": (
        "DINOv3ViTModel",
        "DINOv3ViTConfig",
        VIT_LIKE | {"num_register_tokens": 2},
    ),
    "mobilenet-v2-headless": (
        "MobileNetV2Model",
        "MobileNetV2Config",
        {"image_size": SIZE, "depth_multiplier": 0.25, "finegrained_output": False},
    ),
}
LABELS = tuple(f"kind {i}" for i in range(5))
SOURCES = (
    *(f"timm:{name}" for name in TIMM),
    *(f"torchvision:{name}" for name in TORCHVISION),
    *(f"transformers:{name}" for name in TRANSFORMERS),
)
HEAVY_SOURCES = tuple(f"torchvision:{name}" for name in HEAVY_TORCHVISION)


@cache
def given(source: str) -> tuple[Path, nn.Module]:
    """Return the folder of such a network, written once for all tests, and the network itself."""
    folder = Path(_HOME.name) / source.replace(":", "-")
    return folder, saved(source, folder)


def saved(source: str, folder: Path) -> nn.Module:
    """Write a lively network of 5 classes as its own library does; return that network."""
    library, _, name = source.partition(":")
    torch.manual_seed(0)
    net = globals()[f"_saved_{library}"](name, folder)
    return net.eval()


@cache
def opened(source: str) -> Backbone:
    """Open such a network with graft, once for all tests, which leave it as it is."""
    return open_backbone(given(source)[0]).eval()


def logits_by_library(source: str, folder: Path, inputs: Any) -> Tensor:
    """Open a folder with its own library alone and return its logits."""
    library = source.partition(":")[0]
    with torch.no_grad():
        return globals()[f"_logits_{library}"](folder, inputs)


def _lively(net: nn.Module, key: str, size: int) -> nn.Module:
    return settle(enliven(net), {key: torch.randn(8, 3, size, size)})


def _write(folder: Path, net: nn.Module, config: dict[str, Any]) -> None:
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file(
        {k: v.contiguous().clone() for k, v in net.state_dict().items()},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )


def _saved_timm(name: str, folder: Path) -> nn.Module:
    import timm

    architecture, options = TIMM[name]
    net = _lively(timm.create_model(architecture, num_classes=5, **options), "x", 64)
    cfg = {
        "input_size": [3, 64, 64],
        "mean": [0.5, 0.4, 0.3],
        "std": [0.2, 0.25, 0.3],
        "interpolation": "bicubic",
        "crop_pct": 0.9,
        "num_classes": 5,
        "first_conv": net.pretrained_cfg["first_conv"],
        "classifier": net.pretrained_cfg["classifier"],
        "label_names": list(LABELS),
    }
    config = {"architecture": architecture, "num_classes": 5, "model_args": options}
    _write(folder, net, config | {"pretrained_cfg": cfg})
    return net


def _saved_torchvision(name: str, folder: Path) -> nn.Module:
    import torchvision.models

    net = _lively(torchvision.models.get_model(name, num_classes=5), "x", 64)
    processor = {
        "size": [64, 64],
        "resize": 72,
        "mean": [0.5, 0.4, 0.3],
        "std": [0.2, 0.25, 0.3],
    }
    config = {"library": "torchvision", "architecture": name, "num_classes": 5}
    _write(folder, net, config | {"classes": LABELS, "processor": processor})
    return net


def _saved_transformers(name: str, folder: Path) -> nn.Module:
    import transformers

    model, config, options = TRANSFORMERS[name]
    labels = {"id2label": dict(enumerate(LABELS)), "num_labels": 5}
    net = getattr(transformers, model)(getattr(transformers, config)(**labels, **options))
    net = _lively(net, "pixel_values", SIZE)
    net.save_pretrained(folder)
    transformers.ViTImageProcessor(
        size={"height": SIZE, "width": SIZE}, image_mean=[0.5, 0.4, 0.3], image_std=[0.2, 0.25, 0.3]
    ).save_pretrained(folder)
    return net


def _logits_timm(folder: Path, inputs: Any) -> Tensor:
    import timm

    return timm.create_model(f"local-dir:{folder}", pretrained=True).eval()(**inputs)


def _logits_torchvision(folder: Path, inputs: Any) -> Tensor:
    import torchvision.models
    from safetensors.torch import load_file

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    net = torchvision.models.get_model(config["architecture"], num_classes=config["num_classes"])
    net.load_state_dict(load_file(folder / "model.safetensors"), strict=True)
    return net.eval()(**inputs)


def _logits_transformers(folder: Path, inputs: Any) -> Tensor:
    from transformers import AutoModelForImageClassification

    net = AutoModelForImageClassification.from_pretrained(folder)
    return net.eval()(**inputs).logits
