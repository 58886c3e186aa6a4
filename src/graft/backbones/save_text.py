"""Write a text model so that its own library opens it, without graft.

A head on pooled features has no place in native classification classes of BERT's kind, which put
dense and tanh before it, nor in those of decoders, which have no bias. Such models become a
sentence-transformers folder whose last modules are the head. A network that came with a
classification class goes back into it, if the head is one linear layer; other heads would need a
class that no library has, and the body is saved without.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from graft.backbones.backbone import Backbone, Problem
from graft.backbones.transformers_body import forget_body, name_body
from graft.backbones.transformers_load import quiet
from graft.heads import MLP, Cosine, Linear, Projection


def save_sentence_transformer(
    folder: Path,
    backbone: Backbone,
    head: nn.Module | None,
    classes: Sequence[str],
    *,
    problem: Problem = "single_label_classification",
) -> str:
    """Write transformer, pooling and head as a sentence-transformers folder.

    Returns:
        What opens the folder; it ends in `(body only)` where the head is not inside.
    """
    del classes  # the folder has no place for them; the run's own record has
    unread = backbone.origin.details.get("unread", {})
    _save_network(copy.deepcopy(backbone.net).cpu(), folder, unread)
    processor: Any = backbone.processor
    processor.tokenizer.save_pretrained(folder)
    _write(
        folder / "sentence_bert_config.json",
        {"max_seq_length": processor.max_length, "do_lower_case": False},
    )
    modules = [("Transformer", ""), ("Pooling", "1_Pooling")]
    pooling: str = backbone.read.name  # type: ignore[attr-defined]
    body_width = backbone.width
    _write(
        folder / "1_Pooling" / "config.json",
        {
            "word_embedding_dimension": body_width,
            "pooling_mode_cls_token": pooling == "cls",
            "pooling_mode_mean_tokens": pooling == "mean",
            "pooling_mode_max_tokens": pooling == "max",
            "pooling_mode_mean_sqrt_len_tokens": False,
            "pooling_mode_weightedmean_tokens": False,
            "pooling_mode_lasttoken": pooling == "lasttoken",
        },
    )
    if isinstance(head, Cosine):
        modules.append(("Normalize", "2_Normalize"))
        (folder / "2_Normalize").mkdir(exist_ok=True)
    layers = _dense_layers(head)
    for weight, bias, activation in layers:
        path = f"{len(modules)}_Dense"
        _write_dense(folder / path, weight, bias, activation)
        modules.append(("Dense", path))
    is_embedding = problem == "embedding"
    if is_embedding:
        path = f"{len(modules)}_Normalize"
        modules.append(("Normalize", path))
        (folder / path).mkdir(exist_ok=True)
    _write(
        folder / "modules.json",
        [
            {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for i, (kind, path) in enumerate(modules)
        ],
    )
    is_whole = bool(layers) or is_embedding
    return "SentenceTransformer" if is_whole else "SentenceTransformer (body only)"


def save_native(
    folder: Path,
    backbone: Backbone,
    head: nn.Module | None,
    classes: Sequence[str],
    *,
    problem: Problem = "single_label_classification",
) -> str:
    """Put a linear head back into the classification class that the network came with.

    Returns:
        What opens the folder; it ends in `(body only)` where the head is not inside.
    """
    whole: Any = copy.deepcopy(backbone.net).cpu()
    path = backbone.origin.details["head_path"]
    linear = copy.deepcopy(head.out).cpu() if isinstance(head, Linear) else None
    forget_body(whole.config)
    if linear is not None:
        whole.set_submodule(path, linear)
        whole.config.id2label = dict(enumerate(classes))
        whole.config.label2id = {c: i for i, c in enumerate(classes)}
        whole.config.problem_type = problem
    _save_network(whole, folder, {})
    backbone.processor.tokenizer.save_pretrained(folder)  # type: ignore[attr-defined]
    if linear is None:
        return name_body(folder, whole, is_classifier=True)
    return "AutoModelForSequenceClassification"


def _save_network(net: Any, folder: Path, unread: dict[str, Tensor]) -> None:
    """Write a network, and tensors of its checkpoint that it does without."""
    tensors = {k: t.detach().cpu() for k, t in unread.items()}
    with quiet():
        net.save_pretrained(folder, state_dict={**net.state_dict(), **tensors})


def _dense_layers(head: nn.Module | None) -> list[tuple[Tensor, Tensor | None, str]]:
    """Return the head as linear layers with activations; empty where it has another form."""
    identity, gelu = "torch.nn.modules.linear.Identity", "torch.nn.modules.activation.GELU"
    if isinstance(head, Projection):
        return [(head.out.weight, None, identity)]
    if isinstance(head, Linear):
        return [(head.out.weight, head.out.bias, identity)]
    if isinstance(head, MLP):
        return [
            (head.hidden.weight, head.hidden.bias, gelu),
            (head.out.weight, head.out.bias, identity),
        ]
    if isinstance(head, Cosine):
        with torch.no_grad():
            directions = head.scale * functional.normalize(head.weight, dim=-1)
        return [(directions, None, identity)]
    return []


def _write_dense(folder: Path, weight: Tensor, bias: Tensor | None, activation: str) -> None:
    config = {
        "in_features": weight.shape[1],
        "out_features": weight.shape[0],
        "bias": bias is not None,
        "activation_function": activation,
    }
    _write(folder / "config.json", config)
    tensors = {"linear.weight": weight} | ({} if bias is None else {"linear.bias": bias})
    save_file(
        {k: v.detach().cpu().contiguous() for k, v in tensors.items()}, folder / "model.safetensors"
    )


def _write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
