"""Text encoders of transformers and sentence-transformers, from a folder or a hub name.

Pooling is the checkpoint's own where it says: a sentence-transformers folder names it, and a
checkpoint with a classification class brings the features that its classifier read. Else the
masked mean, and for decoder-only networks the last token. A decoder's classification class reads
just that token, and has no bias, so a decoder always comes as its body.

What the library's base classes add beyond the features, a pooler, is left out of the network: most
files lack it, the library then fills it with noise, and nothing would ever train it. If the file
does have it, it is kept aside and written back when the network is saved.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from graft.backbones import shown
from graft.backbones.backbone import Backbone, Origin
from graft.backbones.image_network import copy_of, evaluated, final_linear, meaningful, take_linear
from graft.backbones.pooling import POOLINGS, LastToken, MaskedMean, Native
from graft.backbones.save_text import save_native, save_sentence_transformer
from graft.backbones.sentence_modules import SentenceModules, read_modules
from graft.backbones.text_processor import TextProcessor
from graft.backbones.trace import match_modules, trace_chains
from graft.backbones.transformers_body import OF_CLASS
from graft.backbones.transformers_load import (
    fetch,
    open_config,
    open_random,
    open_tokenizer,
    open_weights,
    refuse_missing,
)
from graft.errors import ModelError

BLOCKS = (
    "encoder.layer.*",
    "encoder.layers.*",
    "encoder.block.*",
    "encoder.albert_layer_groups.*",
    "transformer.layer.*",
    "decoder.layers.*",
    "layers.*",
    "layer.*",
    "h.*",
)
"""Where transformers keeps the blocks of its text networks; the first that matches is taken."""

LONGEST = 512
ENCODERS_OF_PAIRS = ("t5", "mt5", "umt5")
"""Encoder-decoders of which the library knows the encoder alone."""
POSITIONS_AFTER_PADDING = (
    *("roberta", "xlm-roberta", "xlm-roberta-xl", "roberta-prelayernorm", "camembert", "xmod"),
    *("mpnet", "longformer", "data2vec-text", "ibert", "esm"),
)
"""Families that count positions from behind the padding's number, and so have fewer of them."""
EXAMPLE = ("a short text", "and one that is longer")


@dataclass(frozen=True)
class _Opened:
    """A network without its classifier, and what was taken off it."""

    net: nn.Module
    old_head: tuple[Tensor, Tensor] | None = None
    head_path: str | None = None
    unread: Mapping[str, Tensor] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def open_source(name: str, *, random: bool = False) -> Backbone:
    """Open a text encoder.

    Args:
        name: a folder or a hub name.
        random: keep the architecture but not the weights.

    Raises:
        ModelError: the checkpoint cannot be opened, has no safetensors or asks for remote code.
    """
    modules = read_modules(fetch(name, with_weights=not random))
    folder = fetch(str(modules.folder))  # which may be a folder of its own inside the first
    config = open_config(folder)
    notes = _settle(config) + _left_out(modules)
    processor = _processor(folder, config, modules)
    inputs = processor.collate(processor.encode(EXAMPLE))
    read: Any
    if modules.pooling is not None:
        read = POOLINGS[modules.pooling]()
        opened = _open_body(folder, config, random)
    elif _has_classifier(config) and not _is_decoder(config) and not config.is_encoder_decoder:
        read = Native()
        opened = _open_native(folder, config, random, inputs)
    else:
        read = LastToken() if _is_decoder(config) else MaskedMean()
        opened = _open_body(folder, config, random)
    net = opened.net
    labels = [config.id2label[i] for i in sorted(config.id2label)] if opened.old_head else ()
    pooled = evaluated(net, lambda: read(net, inputs)).pooled
    return Backbone(
        net,
        chains=trace_chains(net, lambda: net(**inputs), [_find_blocks(net)]),
        read=read,
        width=pooled.shape[1],
        processor=processor,
        modality="text",
        origin=Origin(
            "text",
            name,
            config.model_type,
            fresh=_fresh(opened),
            save=save_native if opened.head_path else save_sentence_transformer,
            classes=meaningful(labels),
            old_head=opened.old_head,
            problem=config.problem_type or "single_label_classification",
            notes=notes + opened.notes,
            details={"head_path": opened.head_path, "unread": opened.unread},
        ),
    )


def _settle(config: Any) -> tuple[str, ...]:
    """Turn off in a configuration what cannot be replayed; return notes for the user."""
    config.use_cache = False
    notes = []
    for key in ("layerdrop", "encoder_layerdrop", "decoder_layerdrop"):
        if getattr(config, key, 0):
            setattr(config, key, 0.0)
            notes.append(f"{key} is off: a block that is skipped at random cannot be replayed")
    return tuple(notes)


def _left_out(modules: SentenceModules) -> tuple[str, ...]:
    is_ours = (modules.folder / "graft.json").is_file()
    if is_ours or not modules.left_out:
        return ()
    return (f"left out what follows the pooling: {', '.join(modules.left_out)}",)


def _processor(folder: Path, config: Any, modules: SentenceModules) -> TextProcessor:
    tokenizer = open_tokenizer(folder)
    if modules.lower_case:
        from tokenizers import normalizers

        backend = tokenizer.backend_tokenizer
        old = [] if backend.normalizer is None else [backend.normalizer]
        backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), *old])
    return TextProcessor(tokenizer, _max_length(config, tokenizer, modules.max_length))


def _max_length(config: Any, tokenizer: Any, stated: int | None) -> int:
    if stated:
        return int(stated)
    positions = getattr(config, "max_position_embeddings", None) or LONGEST
    if config.model_type in POSITIONS_AFTER_PADDING:
        positions -= (config.pad_token_id or 0) + 1
    return int(min(positions, tokenizer.model_max_length, LONGEST))


def _has_classifier(config: Any) -> bool:
    names = [getattr(config, OF_CLASS, None), *(config.architectures or ())]
    return any(str(name).endswith("ForSequenceClassification") for name in names)


def _is_decoder(config: Any) -> bool:
    """Return whether the family predicts next tokens and never masked ones."""
    from transformers.models.auto import modeling_auto

    return (
        config.model_type in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
        and config.model_type not in modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
        and not config.is_encoder_decoder
    )


def _open_body(folder: Path, config: Any, random: bool) -> _Opened:
    """Open the network without any head; a decoder's old classifier is read all the same."""
    from transformers import (
        AutoModel,
        AutoModelForSequenceClassification,
        AutoModelForTextEncoding,
    )

    auto, notes, has_head = AutoModel, (), False
    if config.model_type in ENCODERS_OF_PAIRS:
        auto = AutoModelForTextEncoding
        if _has_classifier(config):
            notes = ("took the encoder alone: the checkpoint's classifier reads its decoder",)
    elif config.is_encoder_decoder:
        raise ModelError(
            f"{shown(folder)}: {config.model_type} is an encoder-decoder whose encoder "
            "transformers cannot open alone; choose an encoder"
        )
    elif _is_decoder(config) and _has_classifier(config) and not random:
        auto, has_head = AutoModelForSequenceClassification, True
    if random:
        net = open_random(auto, folder, config)
        _leave_out_pooler(net)
        return _Opened(net.eval(), notes=notes)
    net, missing = open_weights(auto, folder, config)
    old_head = None
    if has_head:
        if not any(key.startswith("score.") for key in missing):
            old_head = copy_of(net.get_submodule("score"))  # type: ignore[arg-type]
        missing = frozenset(key for key in missing if not key.startswith("score."))
        net = getattr(net, "base_model")  # noqa: B009 (its type is not known)
    pooler = {key for key in missing if key.startswith("pooler.")}
    refuse_missing(folder, missing - pooler)
    unread = _leave_out_pooler(net)
    return _Opened(net, old_head, unread={} if pooler else unread, notes=notes)


def _leave_out_pooler(net: nn.Module) -> dict[str, Tensor]:
    """Take the pooler off a network whose class can do without; return its tensors."""
    if not _takes_no_pooler(net) or getattr(net, "pooler", None) is None:
        return {}
    tensors = {f"pooler.{k}": t.detach().clone() for k, t in net.pooler.state_dict().items()}  # type: ignore[union-attr]
    net.pooler = None  # type: ignore[assignment]
    if hasattr(net, "pooler_activation"):
        net.pooler_activation = None  # type: ignore[assignment]
    return tensors


def _takes_no_pooler(net: nn.Module) -> bool:
    return "add_pooling_layer" in inspect.signature(type(net).__init__).parameters


def _open_native(folder: Path, config: Any, random: bool, inputs: Mapping[str, Tensor]) -> _Opened:
    """Open the library's classification class with an identity for its last linear layer."""
    from transformers import AutoModelForSequenceClassification as Auto

    missing: frozenset[str] = frozenset()
    if random:
        net = open_random(Auto, folder, config).eval()
    else:
        net, missing = open_weights(Auto, folder, config)
    path = final_linear(net, lambda: net(**inputs).logits)
    if path is None:
        raise ModelError(
            f"{shown(folder)}: {type(net).__name__} does not end in a linear layer; save its body "
            "alone as AutoModel"
        )
    of_head = {key for key in missing if key.startswith(f"{path}.")}
    refuse_missing(folder, missing - of_head)
    old_head = take_linear(net, path)
    return _Opened(net, None if random or of_head else old_head, path)


def _fresh(opened: _Opened) -> Callable[[], nn.Module]:
    """Return what builds the same network with random weights."""
    net, path = opened.net, opened.head_path
    build, config = type(net), copy.deepcopy(net.config)  # type: ignore[arg-type]
    options = {"add_pooling_layer": False} if _takes_no_pooler(net) else {}

    def fresh() -> nn.Module:
        other = build(copy.deepcopy(config), **options)
        if path:
            other.set_submodule(path, nn.Identity())
        return other

    return fresh


def _find_blocks(net: nn.Module) -> Sequence[str]:
    prefix = getattr(net, "base_model_prefix", "")
    for pattern in BLOCKS:
        for candidate in (pattern, f"{prefix}.{pattern}"):
            if match_modules(net, candidate):
                return [candidate]
    raise ModelError(
        f"{type(net).__name__}: its blocks were not found; declare it with graft.backbone(net, "
        "blocks='path.to.layers.*', …)"
    )
