"""Tokenising text: each text alone once, padding to the batch afterwards."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from graft.backbones.backbone import Row


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
        state = json.loads(self.tokenizer.backend_tokenizer.to_str())
        # what the last call asked for, not what the tokenizer is
        state.pop("truncation", None)
        state.pop("padding", None)
        text = json.dumps([state, self.tokenizer.pad_token_id], sort_keys=True)
        return f"text-{hashlib.sha256(text.encode()).hexdigest()[:16]}-{self.max_length}"

    def encode(self, values: Sequence[Any]) -> list[Row]:
        """Tokenise each text; returns rows with `input_ids` (L,) int32, L at least 1."""
        if not values:
            return []
        ids = self.tokenizer(
            list(values),
            truncation=True,
            max_length=self.max_length,
            return_attention_mask=False,
            return_token_type_ids=False,
        )["input_ids"]
        # an empty text of a tokenizer without special tokens still is one token to attend to
        nothing = [self.tokenizer.pad_token_id]
        return [{"input_ids": np.asarray(row or nothing, np.int32)} for row in ids]

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
