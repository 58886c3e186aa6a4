"""timm: every model of the library, by name, from the hub, or from a folder.

Pooling is the model's own: what its classifier read. A folder that is saved here opens with
`timm.create_model("local-dir:FOLDER", pretrained=True)`.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from graft.backbones.backbone import Backbone, Origin, Problem
from graft.backbones.config_bounds import refuse_more_than
from graft.backbones.hub import from_cache_unless_reached
from graft.backbones.image_network import (
    copy_of,
    image_backbone,
    meaningful,
    plain_linear,
    same_logits,
    tame_batchnorm,
)
from graft.backbones.image_processor import INTERPOLATIONS, ImageProcessor
from graft.errors import ModelError
from graft.features import Features
from graft.weights.door import refuse_folder_without
from graft.weights.header import read_header

# Entries of timm's configuration that say where the old weights were, which new ones do not need.
SOURCE_ENTRIES = (
    "url",
    "file",
    "hf_hub_id",
    "hf_hub_filename",
    "source",
    "state_dict",
    "custom_load",
)


def open_source(name: str, *, random: bool = False) -> Backbone:
    """Open a timm model without its classifier.

    Args:
        name: a name that timm knows, `hf-hub:NAME`, or a folder with `config.json`.
        random: keep the architecture but not the weights.

    Raises:
        ModelError: timm does not know the name, or its weights cannot be loaded.
    """
    build = partial(_create, _local(name, random=random))
    folder = Path(name).expanduser()
    if folder.is_dir():
        refuse_more_than(folder, partial(build, pretrained=False), random=random)
    net = build(pretrained=not random)
    cfg = dict(net.pretrained_cfg)  # type: ignore[arg-type]
    classifier = net.get_classifier()  # type: ignore[operator]
    old_head = copy_of(classifier) if isinstance(classifier, nn.Linear) and not random else None
    classes = meaningful(cfg.get("label_names")) if old_head is not None else ()
    net.reset_classifier(0)  # type: ignore[operator]
    notes = tame_batchnorm(net)
    processor, more_notes = _processor(cfg, net)

    def fresh(**more: Any) -> nn.Module:
        other = build(pretrained=False, **more)
        other.reset_classifier(0)  # type: ignore[operator]
        tame_batchnorm(other)
        return other

    def shorter(n_blocks: int) -> Origin:
        # timm's own word for it, in vision transformers and their kin
        more = {"depth": n_blocks}
        args = {**origin.details["model_args"], **more}
        details = {**origin.details, "model_args": args}
        return replace(origin, fresh=partial(fresh, **more), shorter=None, details=details)

    origin = Origin(
        source="timm",
        name=name,
        family=str(cfg.get("architecture")),
        fresh=fresh,
        shorter=shorter,
        save=_save,
        classes=classes,
        old_head=old_head,
        notes=(*notes, *more_notes),
        details={"model_args": _model_args(name, net)},
    )
    return image_backbone(net, processor=processor, origin=origin, read=_read)


def _read(net: nn.Module, inputs: Mapping[str, Tensor]) -> Features:
    return Features(pooled=net(**inputs))


def _local(name: str, *, random: bool) -> str:
    folder = Path(name).expanduser()
    if not folder.is_dir():
        return name
    if not random:
        # timm would take another file by its own order, and one that can run code at the end
        refuse_folder_without(folder, "model.safetensors")
        read_header(folder / "model.safetensors")
    return f"local-dir:{folder}"


def _create(name: str, *, pretrained: bool, **more: Any) -> nn.Module:
    import timm

    try:
        if not pretrained or name.startswith("local-dir:"):
            return timm.create_model(name, pretrained=pretrained, **more)
        with from_cache_unless_reached(_hub_name(name)):
            return timm.create_model(name, pretrained=True)
    except Exception as error:  # unknown names, missing files, no network: timm raises many kinds
        why = " ".join(str(error).split())[:90]
        if pretrained and timm.is_model(name):
            raise ModelError(
                f"timm model {name}: its weights were not reached ({why}); give a saved folder"
            ) from error
        raise ModelError(f"timm model {name}: {why}; see timm.list_models() for names") from error


def _hub_name(name: str) -> str:
    """Return the hub's name of a model of timm's."""
    import timm

    if name.startswith("hf-hub:"):
        return name.removeprefix("hf-hub:")
    cfg = timm.get_pretrained_cfg(name)
    return (cfg.hf_hub_id if cfg is not None else None) or f"timm/{name}"


def _model_args(name: str, net: nn.Module) -> dict[str, Any]:
    config = Path(name).expanduser() / "config.json"
    if config.is_file():
        return dict(json.loads(config.read_text(encoding="utf-8")).get("model_args") or {})
    return dict(getattr(net, "_model_args", {}))


def _processor(cfg: Mapping[str, Any], net: nn.Module) -> tuple[ImageProcessor, tuple[str, ...]]:
    from timm.data import resolve_model_data_config

    data: dict[str, Any] = resolve_model_data_config(net)
    height, width = data["input_size"][-2:]
    crop_pct = data["crop_pct"]
    before = (math.floor(height / crop_pct), math.floor(width / crop_pct))
    squash = data["crop_mode"] == "squash" or height != width
    known = data["interpolation"] in INTERPOLATIONS
    processor = ImageProcessor(
        size=(height, width),
        resize=before if squash else before[0],
        mean=tuple(data["mean"]),
        std=tuple(data["std"]),
        interpolation=data["interpolation"] if known else "bicubic",
        input_name="x",
    )
    notes = () if cfg.get("mean") else ("the checkpoint names no mean and std: took ImageNet's",)
    return processor, notes


def _save(
    folder: str | Path,
    backbone: Backbone,
    head: nn.Module | None = None,
    classes: tuple[str, ...] = (),
    *,
    problem: Problem = "single_label_classification",
) -> str:
    """Write a folder that timm opens, with the head where it is one linear layer.

    Returns:
        What opens the folder; it ends in `(body only)` where the head is not inside.
    """
    from safetensors.torch import save_file

    del problem  # its configuration has no place for it
    linear = plain_linear(head)
    whole = _with_classifier(backbone, linear) if linear is not None else None
    net = whole if whole is not None else copy.deepcopy(backbone.net).cpu()
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    n_classes = 0 if whole is None or linear is None else linear.out_features
    config = _config(backbone, net, n_classes, classes if n_classes else ())
    text = json.dumps(config, indent=1, ensure_ascii=False) + "\n"
    (folder / "config.json").write_text(text, encoding="utf-8")
    tensors = {name: t.contiguous().clone() for name, t in net.state_dict().items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    opener = 'timm.create_model("local-dir:…", pretrained=True)'
    return opener if n_classes else f"{opener} (body only)"


def _with_classifier(backbone: Backbone, linear: nn.Linear) -> nn.Module | None:
    net = copy.deepcopy(backbone.net).cpu()
    net.reset_classifier(linear.out_features)  # type: ignore[operator]
    classifier = net.get_classifier()  # type: ignore[operator]
    if not isinstance(classifier, nn.Linear) or classifier.weight.shape != linear.weight.shape:
        return None
    classifier.load_state_dict(linear.state_dict(), strict=classifier.bias is not None)
    return net if same_logits(backbone, linear, net, lambda logits: logits) else None


def _config(
    backbone: Backbone, net: nn.Module, n_classes: int, classes: tuple[str, ...]
) -> dict[str, Any]:
    processor = backbone.processor
    assert isinstance(processor, ImageProcessor)
    old = {k: v for k, v in dict(net.pretrained_cfg).items() if k not in SOURCE_ENTRIES}  # type: ignore[arg-type]
    for entry in ("label_names", "label_descriptions", "label_offset", "test_input_size"):
        old.pop(entry, None)
    model_args = dict(backbone.origin.details.get("model_args", {}))
    model_args.pop("num_classes", None)
    if processor.n_channels != 3:
        model_args["in_chans"] = processor.n_channels
    config: dict[str, Any] = {
        "architecture": backbone.origin.family,
        "num_classes": n_classes,
        "num_features": backbone.width,
        "model_args": model_args,
        "pretrained_cfg": {
            **{k: v for k, v in old.items() if v is not None},
            "num_classes": n_classes,
            "input_size": (processor.n_channels, *processor.size),
            "mean": processor.mean,
            "std": processor.std,
            "interpolation": processor.interpolation,
        },
    }
    if classes:
        config["label_names"] = list(classes)
    return config
