"""Tiny text checkpoints for the contract tests: how to make each, and how its library opens it."""

from __future__ import annotations

import atexit
import json
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from graft.backbones import open_backbone
from graft.backbones.backbone import Backbone
from tests.zoo import BERT_LIKE, SIZES, T5_LIKE, WORDS, enliven

_HOME = tempfile.TemporaryDirectory()
atexit.register(_HOME.cleanup)

PAD = 1
MARKS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
VOCABULARY = (*MARKS, *(f"w{i}" for i in range(40)))
BERT = BERT_LIKE | {"num_hidden_layers": 3, "pad_token_id": PAD}
DEBERTA = {
    "relative_attention": True,
    "position_buckets": 8,
    "pos_att_type": ["p2c", "c2p"],
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "conv_kernel_size": 3,
}
DISTILBERT = {
    "vocab_size": 64,
    "dim": 32,
    "n_heads": 2,
    "hidden_dim": 48,
    "n_layers": 3,
    "max_position_embeddings": 48,
    "pad_token_id": PAD,
}
MODERNBERT = {
    "num_hidden_layers": 3,
    "max_position_embeddings": 48,
    "pad_token_id": PAD,
    "cls_token_id": 0,
    "sep_token_id": 2,
}
GPT2 = {"n_embd": 32, "n_layer": 3, "n_head": 2, "n_positions": 48, "pad_token_id": PAD}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("Bert", BERT),
    "distilbert": ("DistilBert", DISTILBERT),
    "roberta": ("Roberta", BERT),
    "modernbert": ("ModernBert", WORDS | SIZES | MODERNBERT),
    "mpnet": ("MPNet", BERT),
    "deberta": ("DebertaV2", BERT | DEBERTA),
    "albert": ("Albert", BERT | {"embedding_size": 16}),
    "t5": ("T5", T5_LIKE | {"pad_token_id": PAD}),
    "gpt2": ("GPT2", WORDS | GPT2),
}
HEADLESS = tuple(FAMILIES)
CLASSIFIERS = tuple(f"{name}-classifier" for name in FAMILIES)
NATIVE = tuple(s for s in CLASSIFIERS if s not in ("t5-classifier", "gpt2-classifier"))
SOURCES = (*HEADLESS, *CLASSIFIERS)
LABELS = tuple(f"kind {i}" for i in range(5))
TEXTS = ("w1 w2 w3", "w4", "w5 w6 w7 w8 w9 w10 w11 w12", "w3 w2 w1 w0 w20", "w9 strange w11")


def tokenizer(*, has_ends: bool = True) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = {word: i for i, word in enumerate(VOCABULARY)}
    inner = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if has_ends:
        inner.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="<pad>",
        cls_token="<s>",
        sep_token="</s>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        mask_token="<mask>",
        model_max_length=48,
    )


@cache
def given(source: str) -> tuple[Path, nn.Module]:
    """Return the folder of such a checkpoint, written once for all tests, and its network."""
    folder = Path(_HOME.name) / source
    return folder, saved(source, folder)


def saved(source: str, folder: Path, **options: Any) -> nn.Module:
    """Write a lively network as its own library does; return that network."""
    import transformers

    family, _, kind = source.partition("-")
    name, settings = FAMILIES[family]
    if kind:
        labels = dict(enumerate(LABELS))
        options |= {"id2label": labels, "label2id": {v: k for k, v in labels.items()}}
    suffix = "ForSequenceClassification" if kind else "Model"
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**settings | options)
    net = enliven(getattr(transformers, name + suffix)(config)).eval()
    net.save_pretrained(folder)
    tokenizer(has_ends=family != "gpt2").save_pretrained(folder)
    return net


@cache
def opened(source: str) -> Backbone:
    """Open such a checkpoint with graft, once for all tests, which leave it as it is."""
    return open_backbone(given(source)[0]).eval()


def inputs_of(backbone: Backbone, texts: Sequence[str] = TEXTS) -> dict[str, Tensor]:
    return backbone.processor.collate(backbone.processor.encode(texts))


def features(backbone: Backbone, texts: Sequence[str] = TEXTS) -> Tensor:
    backbone.eval()
    with torch.no_grad():
        pooled = backbone(inputs_of(backbone, texts)).pooled
    assert pooled is not None
    return pooled


def logits_by_library(folder: Path, texts: Sequence[str] = TEXTS) -> Tensor:
    """Open a native folder with transformers alone and return its logits."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    net = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    inputs = AutoTokenizer.from_pretrained(folder)(list(texts), padding=True, return_tensors="pt")
    inputs.pop("token_type_ids", None)
    with torch.no_grad():
        return net(**inputs).logits


def outputs_by_sentences(folder: Path, texts: Sequence[str] = TEXTS) -> Tensor:
    """Open a folder with sentence-transformers alone and return what it computes."""
    from sentence_transformers import SentenceTransformer

    net = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    return net.encode(list(texts), convert_to_tensor=True, show_progress_bar=False).cpu()


def sentence_folder(folder: Path, pooling: dict[str, Any], *, source: str = "bert") -> Path:
    """Write a sentence-transformers folder by hand, with any `config.json` of its pooling."""
    saved(source, folder)
    write(folder / "1_Pooling" / "config.json", pooling)
    kinds = [("Transformer", ""), ("Pooling", "1_Pooling")]
    root = "sentence_transformers.models."
    write(
        folder / "modules.json",
        [{"idx": i, "name": str(i), "path": p, "type": root + k} for i, (k, p) in enumerate(kinds)],
    )
    write(folder / "sentence_bert_config.json", {"max_seq_length": 32, "do_lower_case": False})
    return folder


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def rewrite(path: Path, **changes: Any) -> None:
    """Change keys of a JSON file."""
    write(path, json.loads(path.read_text(encoding="utf-8")) | changes)
