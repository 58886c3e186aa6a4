"""Tokenising text: each text alone once, padding to the batch afterwards."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from graft.backbones.backbone import Row

N_AT_ONCE = 256


N_CHARACTERS_PER_TOKEN = 20
"""More than tokens have on average, so that a beginning of so many holds all that is kept."""


def beginning(text: str, n_tokens: int) -> str:
    """Return enough of a long text for so many tokens, up to a space; the text if it has none.

    Tokenizers split at white space first, so the tokens of whole words do not depend on what
    follows.
    """
    limit = n_tokens * N_CHARACTERS_PER_TOKEN
    if len(text) <= limit:
        return text
    end = max(text.rfind(" ", 0, limit), text.rfind("\n", 0, limit))
    return text[:end] if end > 0 else text


@lru_cache(maxsize=4)
def identity(state: str, pad_token_id: int | None) -> str:
    """Return a hash of a tokenizer's serialised state and of the token that it pads with.

    Remembered, for sorting a large vocabulary takes as long as embedding dozens of texts.
    """
    found = json.loads(state)
    # what the last call asked for, not what the tokenizer is
    found.pop("truncation", None)
    found.pop("padding", None)
    text = json.dumps([found, pad_token_id], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class TextProcessor:
    """Turn texts into `input_ids` and `attention_mask`, padded on the right.

    Args:
        tokenizer: a fast tokenizer of transformers.
        max_length: tokens kept of a text, special ones included.
    """

    tokenizer: Any = field(repr=False)
    max_length: int

    @property
    def key(self) -> str:
        state = identity(self.tokenizer.backend_tokenizer.to_str(), self.tokenizer.pad_token_id)
        return f"text-{state}-{self.max_length}"

    def __str__(self) -> str:
        return f"texts, at most {self.max_length} tokens"

    def encode(self, values: Sequence[Any]) -> list[Row]:
        """Tokenise each text; returns rows with `input_ids` (L,) int32, L at least 1."""
        if not values:
            return []
        # a text of 1 MB would take seconds, though only its beginning is kept
        pieces = [beginning(value, self.max_length) for value in values]
        ids = self._tokenised(pieces)
        too_short = [
            i
            for i, value in enumerate(values)
            if len(pieces[i]) < len(value) and len(ids[i]) < self.max_length
        ]
        if too_short:
            for i, whole in zip(
                too_short, self._tokenised([values[i] for i in too_short]), strict=True
            ):
                ids[i] = whole
        # an empty text of a tokenizer without special tokens still is one token to attend to
        nothing = [self.tokenizer.pad_token_id]
        return [{"input_ids": np.asarray(row or nothing, np.int32)} for row in ids]

    def _tokenised(self, texts: Sequence[str]) -> list[list[int]]:
        return self.tokenizer(
            list(texts),
            truncation=True,
            max_length=self.max_length,
            return_attention_mask=False,
            return_token_type_ids=False,
        )["input_ids"]

    def counts(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return how many tokens each of N texts has, is cut to, and is unknown; (N,) int64 each.

        Tokens that stand for the beginning, the end or padding are none of them.
        """
        found = np.zeros((3, len(texts)), np.int64)
        unknown = self.tokenizer.unk_token_id
        n_special = self.tokenizer.num_special_tokens_to_add()
        for start in range(0, len(texts), N_AT_ONCE):
            block = self.tokenizer(
                list(texts[start : start + N_AT_ONCE]),
                truncation=False,
                add_special_tokens=False,
                return_attention_mask=False,
                return_token_type_ids=False,
                verbose=False,
            )["input_ids"]
            for i, ids in enumerate(block, start):
                found[:, i] = (
                    len(ids),
                    min(len(ids), self.max_length - n_special),
                    0 if unknown is None else ids.count(unknown),
                )
        return found[0], found[1], found[2]

    def collate(
        self,
        rows: Sequence[Row],
        *,
        length: int | None = None,
        without: frozenset[str] = frozenset(),
    ) -> dict[str, Tensor]:
        """Pad to `length` or the longest row; returns (N, L) int64 ids and mask."""
        del without
        longest = max(len(row["input_ids"]) for row in rows)
        width = longest if length is None else max(length, longest)
        ids = np.full((len(rows), width), self.tokenizer.pad_token_id, np.int64)
        mask = np.zeros((len(rows), width), np.int64)
        for i, row in enumerate(rows):
            n = len(row["input_ids"])
            ids[i, :n] = row["input_ids"]
            mask[i, :n] = 1
        return {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}

    def length(self, row: Row) -> int:
        return len(row["input_ids"])

    def bucket(self, length: int) -> int:
        """Round up to a multiple of 2 for short texts, 4, 16 and 64 for longer ones."""
        step = next(
            s for limit, s in ((64, 2), (128, 4), (512, 16), (1 << 62, 64)) if length <= limit
        )
        return min(-(-length // step) * step, self.max_length)
