"""Text encoders of transformers and sentence-transformers, from a folder or a hub name.

Pooling is the checkpoint's own where it says: a sentence-transformers folder names it, and a
checkpoint with a classification class brings the features that its classifier read. Else the
masked mean, and for decoder-only networks the last token.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from graft.backbones.backbone import Backbone, Chain, Origin
from graft.backbones.pooling import POOLINGS, LastToken, MaskedMean, Native
from graft.backbones.save_text import save_native, save_sentence_transformer
from graft.backbones.text_processor import TextProcessor
from graft.backbones.trace import match_modules, trace_chains
from graft.errors import ModelError

BLOCKS = (
    "encoder.layer.*",
    "encoder.layers.*",
    "encoder.block.*",
    "encoder.albert_layer_groups.*",
    "transformer.layer.*",
    "layers.*",
    "layer.*",
    "h.*",
)
"""Where transformers keeps the blocks of its text networks; the first that matches is taken."""

DECODERS = frozenset(
    {"gpt2", "gpt_neo", "gpt_neox", "llama", "mistral", "opt", "phi", "qwen2", "qwen3"}
)
LONGEST = 512
NATIVE_HEADS = ("classifier.out_proj", "classifier", "score")


def open_source(name: str, *, random: bool = False) -> Backbone:
    """Open a text encoder.

    Args:
        name: a folder or a hub name.
        random: keep the architecture but not the weights.

    Raises:
        ModelError: the checkpoint cannot be opened, has no safetensors or asks for remote code.
    """
    folder = Path(name).expanduser()
    pooling_name, max_length = None, None
    if (folder / "modules.json").is_file():
        folder, pooling_name, max_length = _read_modules(folder)
    source = str(folder) if folder.is_dir() else name
    config = _config(source)
    config.use_cache = False
    for key in ("layerdrop", "encoder_layerdrop", "decoder_layerdrop"):
        if getattr(config, key, 0):
            setattr(config, key, 0.0)  # a block that is skipped at random cannot be replayed
    is_native = pooling_name is None and any(
        a.endswith("ForSequenceClassification") for a in config.architectures or ()
    )
    build = _native if is_native else _encoder
    net = build(source, config, random)
    processor = TextProcessor(_tokenizer(source), _max_length(config, max_length))
    classes: tuple[str, ...] = ()
    old_head = None
    if is_native:
        classes = tuple(str(config.id2label[i]) for i in range(config.num_labels))
        old_head = _take_head(net)
        read: Any = Native()
    elif pooling_name is not None:
        read = POOLINGS[pooling_name]()
    else:
        read = LastToken() if config.model_type in DECODERS else MaskedMean()
    width = old_head[0].shape[1] if old_head is not None else config.get_text_config().hidden_size
    save = save_native if is_native else save_sentence_transformer
    return Backbone(
        net,
        chains=_chains(net, processor),
        read=read,
        width=width,
        processor=processor,
        modality="text",
        origin=Origin(
            "text",
            name,
            config.model_type,
            fresh=_fresh(build, source, config, is_native),
            save=save,
            classes=classes,
            old_head=old_head,
        ),
    )


def _read_modules(folder: Path) -> tuple[Path, str | None, int | None]:
    """Return where the transformer lies, its pooling, and its longest input."""
    modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    pooling: str | None = None
    inner = folder
    for module in modules:
        path = folder / module["path"]
        if module["type"].endswith("Transformer"):
            inner = path
        if module["type"].endswith("Pooling"):
            pooling = _pooling(path / "config.json")
    length = None
    settings = inner / "sentence_bert_config.json"
    if settings.is_file():
        length = json.loads(settings.read_text(encoding="utf-8")).get("max_seq_length")
    return inner, pooling, length


def _pooling(path: Path) -> str:
    """Read sentence-transformers' pooling, in its older and its newer form."""
    config = json.loads(path.read_text(encoding="utf-8"))
    mode = config.get("pooling_mode")
    if mode is None:
        modes = [k.removeprefix("pooling_mode_") for k, v in config.items() if v is True]
        names = {"mean_tokens": "mean", "cls_token": "cls", "max_tokens": "max"}
        mode = next((names.get(m, m) for m in modes if names.get(m, m) in POOLINGS), "?")
    if mode not in POOLINGS:
        raise ModelError(f"{path}: pooling {mode!r} is not known; use one of {', '.join(POOLINGS)}")
    return str(mode)


def _config(source: str) -> Any:
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(source, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0][:100]
        raise ModelError(f"model `{source}` cannot be opened by transformers: {reason}") from None
    return config


def _tokenizer(source: str) -> Any:
    from transformers import AutoTokenizer

    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0][:100]
        raise ModelError(f"model `{source}` has no tokenizer that opens: {reason}") from None
    if not tokenizer.is_fast:
        raise ModelError(f"model `{source}` has no tokenizer.json; save it with a fast tokenizer")
    tokenizer.padding_side = "right"
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _load(cls: Any, source: str, config: Any, random: bool) -> nn.Module:
    if random:
        return cls.from_config(config)
    try:
        return cls.from_pretrained(
            source,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
        )
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0][:80]
        raise ModelError(
            f"model `{source}`: no safetensors weights that open ({reason}); "
            "turn other files into safetensors with `graft convert`"
        ) from None


def _encoder(source: str, config: Any, random: bool) -> nn.Module:
    from transformers import AutoModel, AutoModelForTextEncoding

    if not config.is_encoder_decoder:
        return _load(AutoModel, source, config, random)
    if config.model_type in ("t5", "mt5", "umt5"):
        return _load(AutoModelForTextEncoding, source, config, random)
    return _load(AutoModel, source, config, random).get_encoder()  # type: ignore[operator]


def _native(source: str, config: Any, random: bool) -> nn.Module:
    from transformers import AutoModelForSequenceClassification

    return _load(AutoModelForSequenceClassification, source, config, random)


def _take_head(net: nn.Module) -> tuple[Tensor, Tensor]:
    """Replace the classifier's last linear layer by an identity; return its weight and bias."""
    for path in NATIVE_HEADS:
        try:
            layer = net.get_submodule(path)
        except AttributeError:
            continue
        if isinstance(layer, nn.Linear):
            net.set_submodule(path, nn.Identity())
            bias = layer.bias if layer.bias is not None else torch.zeros(layer.out_features)
            return layer.weight.detach().clone(), bias.detach().clone()
    raise ModelError(
        f"{type(net).__name__} has no linear classifier at {' or '.join(NATIVE_HEADS)}"
    )


def _fresh(
    build: Callable[[str, Any, bool], nn.Module], source: str, config: Any, is_native: bool
) -> Callable[[], nn.Module]:
    def fresh() -> nn.Module:
        net = build(source, config, True)
        if is_native:
            _take_head(net)
        return net

    return fresh


def _max_length(config: Any, stated: int | None) -> int:
    if stated:
        return int(stated)
    positions = getattr(config, "max_position_embeddings", None) or LONGEST
    # RoBERTa's positions start after its padding index
    positions -= 2 if config.model_type in ("roberta", "xlm-roberta", "mpnet", "camembert") else 0
    return int(min(positions, LONGEST))


def _chains(net: nn.Module, processor: TextProcessor) -> tuple[Chain, ...]:
    inputs = processor.collate(processor.encode(["a short text", "and one that is longer"]))
    return trace_chains(net, lambda: net(**inputs), [_find_blocks(net)])


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
