"""Tiny towers on disk, and pictures with captions that they can learn: for tests of two towers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from tests.tiny import FILLERS, WORDS, write_checkpoint

COLOURS = {
    "red": (220, 30, 30),
    "green": (30, 200, 40),
    "blue": (30, 40, 220),
    "white": (250, 250, 250),
    "black": (5, 5, 5),
}
SMALL: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}


def write_pictures(folder: Path, n_per_colour: int = 8, n_captions: int = 2, seed: int = 0) -> Path:
    """Write pictures of one colour each, and `captions.jsonl`, whose captions name the colour."""
    random = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    rows = []
    for colour, rgb in COLOURS.items():
        for i in range(n_per_colour):
            noise = random.integers(-20, 20, (32, 32, 3))
            pixels = np.clip(np.asarray(rgb) + noise, 0, 255).astype(np.uint8)
            name = f"images/{colour}{i}.png"
            Image.fromarray(pixels).save(folder / name)
            captions = []
            for _ in range(n_captions):
                n = int(random.integers(2, 5))
                words = [str(w) for w in random.choice(FILLERS, n)]
                words.insert(int(random.integers(0, n + 1)), colour)
                captions.append(" ".join(words))
            rows.append({"image": name, "captions": captions})
    random.shuffle(rows)
    path = folder / "captions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_image_model(folder: Path) -> Path:
    """Write a random ViT of two blocks for pictures of 32 pixels."""
    from transformers import ViTConfig, ViTForImageClassification

    torch.manual_seed(0)
    config = ViTConfig(**SMALL, image_size=32, patch_size=8, num_labels=2)
    ViTForImageClassification(config).save_pretrained(folder)
    return folder


def write_towers(folder: Path) -> tuple[Path, Path]:
    """Write a tiny tower of each kind; returns their folders, images first."""
    return write_image_model(folder / "vit"), write_checkpoint(folder / "bert")


def write_clip(folder: Path, family: str = "clip") -> Path:
    """Write a random model of CLIP's family with tokenizer and processor."""
    import transformers

    from graft.backbones.transformers_load import open_tokenizer

    write_checkpoint(folder / "words")
    tokenizer = open_tokenizer(folder / "words")
    n_words = len(tokenizer)
    assert n_words == 5 + len(FILLERS) + sum(map(len, WORDS.values()))
    kind = {"clip": "CLIP", "siglip": "Siglip"}[family]
    # [SEP], which ends every text here, has number 3
    text = {**SMALL, "vocab_size": n_words, "max_position_embeddings": 16, "pad_token_id": 0,
            "bos_token_id": 2, "eos_token_id": 3}  # fmt: skip
    vision = {**SMALL, "image_size": 32, "patch_size": 8}
    more = {"projection_dim": 12} if family == "clip" else {}
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(text_config=text, vision_config=vision, **more)
    getattr(transformers, f"{kind}Model")(config).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    return folder / "model"


def train_towers(folder, **options):
    """Train both towers on the pictures and their captions; the run lies in `folder / "run"`."""
    import graft

    write_pictures(folder / "data")
    write_towers(folder)
    return graft.train(
        folder / "data" / "captions.jsonl", model=folder / "vit",
        text_model=str(folder / "bert"), method="full", epochs=12, lr=2e-3, head_lr=5e-3,
        out=folder / "run", **options,
    )  # fmt: skip
