"""A tiny text checkpoint on disk, and a table that it can learn: for tests of the whole path."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import torch

WORDS = {
    "animal": ("cat", "dog", "horse", "mouse", "bird"),
    "colour": ("red", "green", "blue", "white", "black"),
    "number": ("one", "two", "three", "four", "five"),
}
FILLERS = ("the", "a", "my", "is", "here", "and", "very", "old", "new", "look")


def write_checkpoint(folder: Path, *, n_layers: int = 2, dropout: float = 0.1) -> Path:
    """Write a random BERT of two blocks with its tokenizer."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = [*special, *FILLERS, *(w for group in WORDS.values() for w in group)]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=64,
        num_hidden_layers=n_layers,
        num_attention_heads=2,
        intermediate_size=128,
        max_position_embeddings=32,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        initializer_range=0.2,
    )
    BertModel(config).save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


def write_table(path: Path, n_per_class: int = 100, seed: int = 0) -> Path:
    """Write a CSV of short texts with three labels."""
    random = np.random.default_rng(seed)
    rows = []
    for label, words in WORDS.items():
        for _ in range(n_per_class):
            n = int(random.integers(1, 7))
            text = [str(w) for w in random.choice(FILLERS, n)]
            text.insert(int(random.integers(0, n + 1)), str(random.choice(words)))
            rows.append((" ".join(text), label))
    random.shuffle(rows)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    return path
