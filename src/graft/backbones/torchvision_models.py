"""torchvision's classifiers, by name or from a folder that was saved here.

Names, picture sizes and normalisation are those of the default weights. A folder holds
`config.json` and a state dict that the library's own function loads strictly, except where no
linear layer ends the network: SqueezeNet scores every place of its map and averages the scores.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from graft.backbones.backbone import Backbone, Origin, Problem
from graft.backbones.image_network import (
    blank,
    final_linear,
    image_backbone,
    meaningful,
    plain_linear,
    same_logits,
    take_linear,
    tame_batchnorm,
)
from graft.backbones.image_processor import ImageProcessor
from graft.errors import ModelError, UnknownName
from graft.features import Features
from graft.weights.door import refuse_folder_without
from graft.weights.reading import read_tensors

WITH_AUXILIARY = ("googlenet", "inception_v3")
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def open_source(name: str, *, random: bool = False) -> Backbone:
    """Open a torchvision classifier without its classifier.

    Args:
        name: a name such as `resnet18`, or a folder.
        random: keep the architecture but not the weights; nothing is downloaded then.

    Raises:
        ModelError: the folder or the download is not what it must be.
        UnknownName: torchvision has no such classifier.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _open_folder(folder, random=random)
    _check_name(name)
    weights = _default_weights(name)
    processor, notes = _published_processor(weights)
    if name in WITH_AUXILIARY:
        # Their published weights want 0.5, which the library reaches by a second normalisation.
        processor = replace(processor, mean=(0.5,) * 3, std=(0.5,) * 3)
    net = _build(name, 1000)
    if not random:
        _load_published(net, name, weights)
    classes = meaningful(weights.meta.get("categories")) if weights is not None else ()
    return _assemble(name, name, net, processor, notes, classes, has_old_head=not random)


def _assemble(
    asked: str,
    architecture: str,
    net: nn.Module,
    processor: ImageProcessor,
    notes: tuple[str, ...],
    classes: tuple[str, ...],
    *,
    has_old_head: bool,
) -> Backbone:
    path = _classifier_path(architecture, net, processor)
    old_head = _remove(net, path) if path else None
    notes += tame_batchnorm(net)
    if path is None:
        notes += (f"{architecture} ends in no linear layer; the head reads its pooled map",)

    def fresh() -> nn.Module:
        other = _build(architecture, 1)
        if processor.n_channels != 3:
            _set_first_convolution(other, processor.n_channels)
        _remove(other, path or "classifier.1")
        tame_batchnorm(other)
        return other

    origin = Origin(
        source="torchvision",
        name=asked,
        family=architecture,
        fresh=fresh,
        save=partial(_save, architecture, path),
        classes=classes if has_old_head and old_head is not None else (),
        old_head=old_head if has_old_head else None,
        notes=notes,
    )
    return image_backbone(net, processor=processor, origin=origin, read=_read)


def _read(net: nn.Module, inputs: Mapping[str, Tensor]) -> Features:
    return Features(pooled=net(**inputs))


def _check_name(name: str) -> None:
    import torchvision.models

    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise UnknownName("torchvision model", name, known)


def _build(architecture: str, n_classes: int) -> nn.Module:
    import torchvision.models

    options: dict[str, Any] = {}
    if architecture in WITH_AUXILIARY:
        # The auxiliary classifiers are old logits too.
        options = {"aux_logits": False, "init_weights": True}
    return torchvision.models.get_model(
        architecture, weights=None, num_classes=n_classes, **options
    )


def _classifier_path(architecture: str, net: nn.Module, processor: ImageProcessor) -> str | None:
    """Return the path of the last linear layer; None for SqueezeNet, whose end is replaced here."""
    inputs = blank(processor)
    path = final_linear(net, lambda: net(**inputs))
    if path is not None:
        return path
    if not isinstance(getattr(net, "classifier", None), nn.Sequential) or not isinstance(
        net.classifier[1],  # type: ignore[index]
        nn.Conv2d,
    ):
        raise ModelError(f"torchvision model {architecture}: found no classifier; choose another")
    _remove(net, "classifier.1")
    return None


def _remove(net: nn.Module, path: str) -> tuple[Tensor, Tensor] | None:
    if isinstance(net.get_submodule(path), nn.Linear):
        return take_linear(net, path)
    # A 1 × 1 convolution, then ReLU and the mean: without it, the mean of the map (N, 512).
    net.set_submodule(path, nn.Identity())
    return None


def _default_weights(name: str) -> Any:
    import torchvision.models

    try:
        return torchvision.models.get_model_weights(name).DEFAULT  # type: ignore[attr-defined]
    except (ValueError, AttributeError):
        return None


def _published_processor(weights: Any) -> tuple[ImageProcessor, tuple[str, ...]]:
    if weights is None:
        processor = ImageProcessor((224, 224), 256, IMAGENET_MEAN, IMAGENET_STD)
        return processor, ("no published weights: took 224 pixels and ImageNet's mean and std",)
    preset = weights.transforms()
    size, resize = preset.crop_size[-1], preset.resize_size[-1]
    processor = ImageProcessor(
        size=(size, size),
        resize=resize,
        mean=tuple(preset.mean),
        std=tuple(preset.std),
        interpolation=preset.interpolation.value,
    )
    return processor, ()


def _load_published(net: nn.Module, name: str, weights: Any) -> None:
    if weights is None:
        raise ModelError(f"torchvision model {name}: has no published weights; open it as random")
    try:
        state = torch.hub.load_state_dict_from_url(
            weights.url, map_location="cpu", check_hash=True, weights_only=True, progress=False
        )
    except (OSError, RuntimeError) as error:
        why = " ".join(str(error).split())[:60]
        raise ModelError(
            f"torchvision model {name}: its weights were not reached ({why}); give a saved folder"
        ) from error
    auxiliary = [key for key in state if key.startswith(("aux", "AuxLogits"))]
    if name in WITH_AUXILIARY:
        for key in auxiliary:
            del state[key]
    if name.startswith("densenet"):
        # The published files are older than today's names: `norm.1` there is `norm1` here.
        state = {
            key.replace(".norm.", ".norm").replace(".conv.", ".conv").replace(".relu.", ".relu"): t
            for key, t in state.items()
        }
    net.load_state_dict(state)


def _open_folder(folder: Path, *, random: bool) -> Backbone:
    config = _read_config(folder)
    architecture = config["architecture"]
    _check_name(architecture)
    n_classes, n_channels = config["num_classes"], config.get("in_channels", 3)
    fields: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in config["processor"].items()
    }
    processor = ImageProcessor(**fields)
    net = _build(architecture, n_classes or 1)
    if n_channels != 3:
        _set_first_convolution(net, n_channels)
    if not random:
        weights = folder / "model.safetensors"
        refuse_folder_without(folder, weights.name)
        result = net.load_state_dict(read_tensors(weights), strict=False)
        lost = [k for k in result.missing_keys if k not in config.get("absent", ())]
        if lost or result.unexpected_keys:
            wrong = ", ".join([*lost, *result.unexpected_keys][:3])
            raise ModelError(f"{weights}: is no {architecture} ({wrong}); save it again")
    has_head = bool(n_classes) and not random
    classes = tuple(config.get("classes", ()))
    return _assemble(str(folder), architecture, net, processor, (), classes, has_old_head=has_head)


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read ({error}); restore the file") from None
    missing = {"architecture", "num_classes", "processor"} - set(config)
    if missing:
        raise ModelError(f"{path}: lacks {', '.join(sorted(missing))}; save the model again")
    return config


def _set_first_convolution(net: nn.Module, n_channels: int) -> None:
    conv = next(m for m in net.modules() if isinstance(m, nn.Conv2d))
    conv.in_channels = n_channels
    conv.weight = nn.Parameter(
        conv.weight.new_empty(len(conv.weight), n_channels, *conv.kernel_size)
    )
    nn.init.kaiming_normal_(conv.weight, mode="fan_out")


def _save(
    architecture: str,
    path: str | None,
    folder: str | Path,
    backbone: Backbone,
    head: nn.Module | None = None,
    classes: tuple[str, ...] = (),
    *,
    problem: Problem = "single_label_classification",
) -> str:
    """Write a folder with a state dict of torchvision's, with the head where it is one layer.

    Returns:
        What opens the state dict; it ends in `(body only)` where the head is not inside.
    """
    from safetensors.torch import save_file

    del problem  # its configuration has no place for it
    processor = backbone.processor
    assert isinstance(processor, ImageProcessor)
    net = copy.deepcopy(backbone.net).cpu()
    linear = plain_linear(head)
    n_classes = 0
    if linear is not None and path is not None:
        net.set_submodule(path, linear)
        if same_logits(backbone, linear, net, lambda logits: logits):
            n_classes = linear.out_features
        else:
            net.set_submodule(path, nn.Identity())
    layer = path or "classifier.1"
    config = {
        "library": "torchvision",
        "architecture": architecture,
        "num_classes": n_classes,
        "classes": list(classes) if n_classes else [],
        "absent": [] if n_classes else [f"{layer}.weight", f"{layer}.bias"],
        "in_channels": processor.n_channels,
        "processor": asdict(processor),
    }
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(config, indent=1, ensure_ascii=False) + "\n"
    (folder / "config.json").write_text(text, encoding="utf-8")
    tensors = {name: t.contiguous().clone() for name, t in net.state_dict().items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    opener = f"torchvision.models.{architecture}(num_classes={n_classes})"
    if not n_classes:
        opener = f"torchvision.models.{architecture}(), its {layer} set to nn.Identity()"
    if processor.n_channels != 3:
        opener += f", its first convolution set to {processor.n_channels} channels"
    return opener if n_classes else f"{opener} (body only)"
