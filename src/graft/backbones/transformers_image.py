"""transformers' image encoders, from the hub or from a folder.

The network is the library's own image classifier with its last linear layer replaced by the
identity, so what it returns as logits *is* what its classifier read: the class token for ViT, class
token and mean for DINOv2, the pooled map for ResNet. Checkpoints of families without an image
classifier (DINOv3) are opened as they are, and their `pooler_output` is read.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

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
from graft.backbones.image_processor import INTERPOLATIONS, ImageProcessor
from graft.backbones.transformers_body import forget_body, name_body
from graft.backbones.transformers_load import (
    fetch,
    open_config,
    open_random,
    open_weights,
    quiet,
    refuse_missing,
)
from graft.backbones.transformers_preprocessor import described
from graft.features import Features

OF_STAGES = ("stage_names", "out_features", "out_indices")
KEEP_PROBABILITY = ("mobilenet_v1", "mobilenet_v2")
"""Families whose configuration gives the share that dropout keeps, where PyTorch drops it."""


def open_source(name: str, *, random: bool = False) -> Backbone:
    """Open an image encoder of transformers without its classifier.

    Args:
        name: a hub name, or a folder with `config.json` and safetensors.
        random: keep the architecture but not the weights.

    Raises:
        ModelError: the weights are absent, in another format, or incomplete.
    """
    folder = fetch(name, with_weights=not random)
    config = open_config(folder)
    processor, preprocessor, notes = image_processor_of(folder, config)
    classifier = _classifier_class(config)
    if classifier is not None:
        net, missing = _load(folder, config, classifier, random=random)
        path = final_linear(net, lambda: net(**blank(processor)).logits)
        if path is not None:
            return _assemble(
                name, net, path, missing, processor, preprocessor, notes, random=random
            )
    from transformers import AutoModel

    net, missing = _load(folder, config, AutoModel, random=random)
    return _assemble(name, net, None, missing, processor, preprocessor, notes, random=random)


def _assemble(
    name: str,
    net: nn.Module,
    path: str | None,
    missing: frozenset[str],
    processor: ImageProcessor,
    preprocessor: Mapping[str, Any],
    notes: tuple[str, ...],
    *,
    random: bool,
) -> Backbone:
    # The library fills what a file lacks with noise; only the classifier may be lacking.
    of_head = {key for key in missing if path and key.startswith(f"{path}.")}
    refuse_missing(Path(name), missing - of_head)
    old_head = take_linear(net, path) if path else None
    if random or of_head:
        old_head = None
    config: Any = net.config
    labels = [str(config.id2label[i]) for i in sorted(config.id2label)] if old_head else ()
    notes += tame_batchnorm(net) + _mend_dropout(net)
    model_class, built_from = type(net), copy.deepcopy(config)

    def fresh(n_blocks: int | None = None) -> nn.Module:
        other = model_class(_of_blocks(built_from, n_blocks))
        if path:
            other.set_submodule(path, nn.Identity())
        tame_batchnorm(other)
        _mend_dropout(other)
        return other

    def shorter(n_blocks: int) -> Origin:
        return replace(origin, fresh=partial(fresh, n_blocks), shorter=None)

    origin = Origin(
        source="image",
        name=name,
        family=str(config.model_type),
        fresh=fresh,
        shorter=shorter,
        save=save_image,
        classes=meaningful(labels),
        old_head=old_head,
        problem=config.problem_type or "single_label_classification",
        notes=notes,
        details={"classifier": path, "preprocessor": dict(preprocessor)},
    )
    prefix = str(getattr(net, "base_model_prefix", ""))
    return image_backbone(
        net,
        processor=processor,
        origin=origin,
        read=_read_logits if path else read_pooler,
        prefix=prefix if hasattr(net, prefix or " ") else "",
    )


def _of_blocks(config: Any, n_blocks: int | None) -> Any:
    """Return a copy of a configuration, with another number of blocks unless that is None."""
    if n_blocks is None:
        return copy.deepcopy(config)
    # a backbone's names of its stages follow from their number
    kept = {k: v for k, v in config.to_dict().items() if k not in OF_STAGES}
    return type(config).from_dict({**kept, "num_hidden_layers": n_blocks})


def _read_logits(net: nn.Module, inputs: Mapping[str, Tensor]) -> Features:
    return Features(pooled=net(**inputs).logits)


def read_pooler(net: nn.Module, inputs: Mapping[str, Tensor]) -> Features:
    """Take the pooled vector (N, D) that a body returns, or the mean of its tokens or map."""
    output = net(**inputs)
    pooled = getattr(output, "pooler_output", None)
    if pooled is None:
        states = output.last_hidden_state
        # tokens (N, L, D), or a map (N, D, H, W)
        pooled = states.mean(1) if states.ndim == 3 else states.mean((2, 3))
    return Features(pooled=pooled.flatten(1))


def _classifier_class(config: Any) -> Any:
    from transformers import AutoModelForImageClassification

    known = AutoModelForImageClassification._model_mapping
    return AutoModelForImageClassification if type(config) in known else None


def _load(
    folder: Path, config: Any, auto: Any, *, random: bool
) -> tuple[nn.Module, frozenset[str]]:
    """Return a network in eval mode, and the names of weights that its file lacks."""
    if random:
        net = open_random(auto, folder, config)
        return net.eval(), frozenset()
    return open_weights(auto, folder, config)


def _mend_dropout(net: nn.Module) -> tuple[str, ...]:
    config: Any = net.config
    dropout = getattr(net, "dropout", None)
    if config.model_type not in KEEP_PROBABILITY or not isinstance(dropout, nn.Dropout):
        return ()
    if dropout.p <= 0.5:
        return ()
    note = (
        f"dropout before the head {dropout.p:g} is the share that is kept: set to {1 - dropout.p:g}"
    )
    dropout.p = 1 - dropout.p
    return (note,)


# --- processor --------------------------------------------------------------------------------


def image_processor_of(
    folder: Path, config: Any
) -> tuple[ImageProcessor, Mapping[str, Any], tuple[str, ...]]:
    """Return the processor, the library's own description of it, and notes."""
    from transformers import AutoImageProcessor

    try:
        own = AutoImageProcessor.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        ).to_dict()
    except (OSError, ValueError, KeyError, ImportError):
        side = getattr(config, "image_size", None) or 224
        size = tuple(side) if isinstance(side, list | tuple) else (side, side)
        half = (0.5,) * (getattr(config, "num_channels", None) or 3)
        note = f"no preprocessor_config.json: took {size[0]} × {size[1]} pixels, mean and std 0.5"
        plain = ImageProcessor(
            size, size, half, half, input_name="pixel_values", odd_margin="floor"
        )
        return plain, {}, (note,)
    n_channels = getattr(config, "num_channels", None) or 3
    return described(own, n_channels, getattr(config, "image_size", None) or 224), own, ()


# --- saving -----------------------------------------------------------------------------------


def save_image(
    folder: str | Path,
    backbone: Backbone,
    head: nn.Module | None = None,
    classes: tuple[str, ...] = (),
    *,
    problem: Problem = "single_label_classification",
) -> str:
    """Write a folder that transformers opens, with the head where it is one linear layer.

    Returns:
        What opens it; it ends in `(body only)` where the head is not inside.
    """
    path = backbone.origin.details["classifier"]
    linear = plain_linear(head)
    net: Any = copy.deepcopy(backbone.net).cpu()
    _set_channels(net, backbone.processor)
    forget_body(net.config)
    is_whole = path is not None and linear is not None
    if is_whole:
        net.set_submodule(path, linear)
        _name_classes(net, classes or tuple(f"LABEL_{i}" for i in range(linear.out_features)))
        net.config.problem_type = problem
        is_whole = same_logits(backbone, linear, net, lambda output: output.logits)
        if not is_whole:
            net.set_submodule(path, nn.Identity())
    folder = Path(folder)
    with quiet():
        net.save_pretrained(folder)
    write_preprocessor(folder, backbone)
    if is_whole:
        return "AutoModelForImageClassification"
    return name_body(folder, net, is_classifier=path is not None)


def _name_classes(net: Any, classes: tuple[str, ...]) -> None:
    net.config.id2label = dict(enumerate(classes))
    net.config.label2id = {name: i for i, name in enumerate(classes)}
    net.num_labels = len(classes)


def _set_channels(net: Any, processor: Any) -> None:
    if hasattr(net.config, "num_channels"):
        net.config.num_channels = processor.n_channels


def write_preprocessor(folder: Path, backbone: Backbone) -> None:
    """Write `preprocessor_config.json` as the library has it."""
    processor = backbone.processor
    assert isinstance(processor, ImageProcessor)
    own = dict(backbone.origin.details["preprocessor"])
    if own and len(own.get("image_mean") or [0] * 3) != processor.n_channels:
        for entry in ("image_mean", "image_std"):
            values = own[entry]
            own[entry] = [sum(values) / len(values)] * processor.n_channels
        own["do_convert_rgb"] = False
    if not own:
        own = {
            "image_processor_type": "ViTImageProcessor",
            "do_resize": True,
            "size": {"height": processor.size[0], "width": processor.size[1]},
            "resample": int(INTERPOLATIONS[processor.interpolation]),
            "do_rescale": True,
            "do_normalize": True,
            "image_mean": processor.mean,
            "image_std": processor.std,
        }
    text = json.dumps(own, indent=1) + "\n"
    (folder / "preprocessor_config.json").write_text(text, encoding="utf-8")
