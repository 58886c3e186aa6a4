"""CLIP, SigLIP and their kin of transformers: two towers that were trained together.

Each tower is the library's own model of it, so its chain, its stores and its rates are those of any
other backbone; the projections and the temperature are those of the checkpoint. SigLIP has no
projections: its towers end in one space.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from graft.backbones.backbone import Backbone, Origin, Row
from graft.backbones.image_network import evaluated, image_backbone
from graft.backbones.pair import BackbonePair, projection_of
from graft.backbones.text_processor import TextProcessor
from graft.backbones.trace import trace_chains
from graft.backbones.transformers_image import (
    image_processor_of,
    read_pooler,
    save_image,
    write_preprocessor,
)
from graft.backbones.transformers_load import (
    open_config,
    open_tokenizer,
    open_weights,
    quiet,
    refuse_missing,
)
from graft.features import Features
from graft.heads import Pooled

BLOCKS = ["encoder.layers.*"]
EXAMPLE = ("a photo of a cat", "two dogs in the snow")
OF_ONE_LENGTH = ("siglip", "siglip2")
"""Families that pool the last token of texts padded to one length, without a mask."""


@dataclass(frozen=True)
class ReadPooler:
    """Take the pooled vector of a tower, (N, D)."""

    def __call__(self, net: nn.Module, inputs: Mapping[str, Tensor]) -> Features:
        return Features(net(**inputs).pooler_output)


@dataclass(frozen=True)
class FullLengthProcessor(TextProcessor):
    """Turn texts into `input_ids` that are all padded to the longest length, without a mask."""

    @property
    def key(self) -> str:
        return f"{super().key}-full"

    def collate(
        self,
        rows: Sequence[Row],
        *,
        length: int | None = None,
        without: frozenset[str] = frozenset(),
    ) -> dict[str, Tensor]:
        """Pad to the longest length whatever the rows; returns (N, L) int64 ids."""
        del length
        found = super().collate(rows, length=self.max_length, without=without)
        return {"input_ids": found["input_ids"]}

    def length(self, row: Row) -> int:
        return self.max_length

    def bucket(self, length: int) -> int:
        return self.max_length


def open_clip(folder: Path, *, random: bool = False) -> BackbonePair:
    """Open a folder of CLIP's family.

    Args:
        folder: with `config.json`, a tokenizer, and safetensors unless `random`.

    Raises:
        ModelError: it does not open, or weights are missing.
    """
    from transformers import AutoModel

    config = open_config(folder)
    whole: Any
    if random:
        whole = AutoModel.from_config(copy.deepcopy(config), dtype=torch.float32).eval()
    else:
        whole, missing = open_weights(AutoModel, folder, config)
        refuse_missing(folder, frozenset(k for k in missing if "position_ids" not in k))
    image, preprocessor = _image_tower(whole, folder, config)
    text = _text_tower(whole, folder, config)
    heads = _own_heads(whole, image, text)
    family, shell = str(config.model_type), (type(whole), copy.deepcopy(whole.config))
    others = {
        name: value.detach().clone()
        for name, value in whole.named_parameters(recurse=False)
        if name != "logit_scale"
    }

    def save(to: Path, towers: nn.Module) -> str:
        return _save(to, towers, shell, others)

    origin = Origin("clip", str(folder), family, details={"preprocessor": preprocessor})
    return BackbonePair(image, text, origin, heads, float(whole.logit_scale.detach()), save)


def _image_tower(whole: Any, folder: Path, config: Any) -> tuple[Backbone, Mapping[str, Any]]:
    processor, preprocessor, notes = image_processor_of(folder, config.vision_config)
    net = whole.vision_model
    details = {"preprocessor": preprocessor, "classifier": None}
    origin = _origin_of(net, folder, config.vision_config, notes, details)
    origin = replace(origin, save=save_image)
    return image_backbone(net, processor=processor, origin=origin, read=read_pooler), preprocessor


def _text_tower(whole: Any, folder: Path, config: Any) -> Backbone:
    tokenizer = open_tokenizer(folder)
    longest = min(config.text_config.max_position_embeddings, tokenizer.model_max_length)
    is_full = config.model_type in OF_ONE_LENGTH
    processor = (FullLengthProcessor if is_full else TextProcessor)(tokenizer, int(longest))
    net, read = whole.text_model, ReadPooler()
    inputs = processor.collate(processor.encode(EXAMPLE))
    width = evaluated(net, lambda: read(net, inputs)).pooled.shape[1]
    return Backbone(
        net,
        chains=trace_chains(net, lambda: net(**inputs), [BLOCKS]),
        read=read,
        width=width,
        processor=processor,
        modality="text",
        origin=_origin_of(net, folder, config.text_config, (), {}),
    )


def _origin_of(
    net: Any, folder: Path, config: Any, notes: tuple[str, ...], details: Mapping[str, Any]
) -> Origin:
    build, of = type(net), copy.deepcopy(config)

    def fresh() -> nn.Module:
        return build(copy.deepcopy(of))

    return Origin(
        "clip", str(folder), str(of.model_type), fresh=fresh, notes=notes, details=details
    )


def _own_heads(whole: Any, image: Backbone, text: Backbone) -> tuple[nn.Module, nn.Module]:
    layers = [getattr(whole, name, None) for name in ("visual_projection", "text_projection")]
    found = [
        Pooled(tower.width) if layer is None else projection_of(layer.weight.detach())
        for layer, tower in zip(layers, (image, text), strict=True)
    ]
    return found[0], found[1]


def _save(folder: Path, towers: Any, shell: tuple[Any, Any], others: Mapping[str, Tensor]) -> str:
    """Write the folder that transformers opens, with all that was trained in its own place."""
    build, config = shell
    whole = build(copy.deepcopy(config))
    whole.vision_model.load_state_dict(towers.image.net.state_dict())
    whole.text_model.load_state_dict(towers.text.net.state_dict())
    for head, name in (
        (towers.image_head, "visual_projection"),
        (towers.text_head, "text_projection"),
    ):
        if hasattr(whole, name):
            getattr(whole, name).load_state_dict(head.out.state_dict())
    with torch.no_grad():
        whole.logit_scale.fill_(float(towers.log_scale))
        for name, value in others.items():
            getattr(whole, name).copy_(value)
    with quiet():
        whole.save_pretrained(folder)
    towers.text.processor.tokenizer.save_pretrained(folder)
    write_preprocessor(folder, towers.image)
    return f"AutoModel ({build.__name__})"
