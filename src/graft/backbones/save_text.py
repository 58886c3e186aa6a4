"""Write a text model so that its own library opens it, without graft.

The convex head reads pooled features, which no native classification class of BERT's kind does
(they put dense and tanh before it), so such models become a sentence-transformers folder whose
last modules are the head. A network that came with a classification class goes back into it.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn

from graft.backbones.backbone import Backbone
from graft.heads import MLP, Linear


def save_sentence_transformer(
    folder: Path, backbone: Backbone, head: nn.Module | None, classes: Sequence[str]
) -> str:
    """Write transformer, pooling and head as a sentence-transformers folder; return its opener."""
    del classes  # sentence-transformers has no place for names; the run's own record has them
    backbone.net.save_pretrained(folder)  # type: ignore[operator]
    backbone.processor.tokenizer.save_pretrained(folder)  # type: ignore[attr-defined]
    _write(
        folder / "sentence_bert_config.json",
        {"max_seq_length": backbone.processor.max_length, "do_lower_case": False},  # type: ignore[attr-defined]
    )
    modules = [("Transformer", ""), ("Pooling", "1_Pooling")]
    pooling = backbone.read.name  # type: ignore[attr-defined]
    _write(
        folder / "1_Pooling" / "config.json",
        {
            "word_embedding_dimension": backbone.width,
            "pooling_mode_cls_token": pooling == "cls",
            "pooling_mode_mean_tokens": pooling == "mean",
            "pooling_mode_max_tokens": pooling == "max",
            "pooling_mode_mean_sqrt_len_tokens": False,
            "pooling_mode_weightedmean_tokens": False,
            "pooling_mode_lasttoken": pooling == "lasttoken",
        },
    )
    for n, (layer, activation) in enumerate(_dense_layers(head), 2):
        _write_dense(folder / f"{n}_Dense", layer, activation)
        modules.append(("Dense", f"{n}_Dense"))
    _write(
        folder / "modules.json",
        [
            {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for i, (kind, path) in enumerate(modules)
        ],
    )
    return "SentenceTransformer"


def save_native(
    folder: Path, backbone: Backbone, head: nn.Module | None, classes: Sequence[str]
) -> str:
    """Put a linear head back into the classification class that the network came with."""
    from graft.backbones.transformers_text import NATIVE_HEADS

    net = backbone.net
    path = next(p for p in NATIVE_HEADS if _is_identity(net, p))
    if not isinstance(head, Linear):
        net.save_pretrained(folder)  # type: ignore[operator]
        backbone.processor.tokenizer.save_pretrained(folder)  # type: ignore[attr-defined]
        return "AutoModel"
    config = copy.deepcopy(net.config)
    net.set_submodule(path, head.out)
    try:
        net.config.id2label = dict(enumerate(classes))  # type: ignore[union-attr]
        net.config.label2id = {c: i for i, c in enumerate(classes)}  # type: ignore[union-attr]
        net.save_pretrained(folder)  # type: ignore[operator]
    finally:
        net.set_submodule(path, nn.Identity())
        net.config = config
    backbone.processor.tokenizer.save_pretrained(folder)  # type: ignore[attr-defined]
    return "AutoModelForSequenceClassification"


def _is_identity(net: nn.Module, path: str) -> bool:
    try:
        return isinstance(net.get_submodule(path), nn.Identity)
    except AttributeError:
        return False


def _dense_layers(head: nn.Module | None) -> list[tuple[nn.Linear, str]]:
    """Return the head as linear layers with activations; empty where it has another form."""
    identity, gelu = "torch.nn.modules.linear.Identity", "torch.nn.modules.activation.GELU"
    if isinstance(head, Linear):
        return [(head.out, identity)]
    if isinstance(head, MLP):
        return [(head.hidden, gelu), (head.out, identity)]
    return []


def _write_dense(folder: Path, layer: nn.Linear, activation: str) -> None:
    config = {
        "in_features": layer.in_features,
        "out_features": layer.out_features,
        "bias": True,
        "activation_function": activation,
    }
    _write(folder / "config.json", config)
    tensors = {"linear.weight": layer.weight, "linear.bias": layer.bias}
    save_file(
        {k: v.detach().cpu().contiguous() for k, v in tensors.items()}, folder / "model.safetensors"
    )


def _write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
