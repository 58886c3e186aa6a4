"""A table as a stream: values encoded once, collated on demand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from graft.backbones.backbone import Processor, Row
from graft.batch import Batch

CHUNK = 512


class TableStream:
    """Feed examples of a table through a backbone's processor.

    Every value is encoded once, when first needed, and kept within `budget_bytes` (tokens of texts
    are small; a decoded image of 224 pixels takes 150 kB). What does not fit is encoded anew.

    Args:
        values: raw inputs, or what `load` turns into them (paths of images).
        processor: encodes and collates.
        targets: named arrays, each (N, …).
        key: identity of the values.
        groups: (N,) group of each example, or None.
        load: turns one value into what the processor takes.
        has_lengths: lengths vary, so all values must be encoded at once to know them.
    """

    def __init__(
        self,
        values: Sequence[Any] | np.ndarray,
        processor: Processor,
        *,
        targets: Mapping[str, np.ndarray],
        key: str,
        groups: np.ndarray | None = None,
        load: Callable[[Any], Any] | None = None,
        has_lengths: bool = False,
        budget_bytes: int = 2_000_000_000,
    ) -> None:
        self.values = values
        self.processor = processor
        self.targets = {name: torch.from_numpy(np.asarray(t)) for name, t in targets.items()}
        self.key = f"{processor.key}/{key}"
        self.groups = groups
        self._load = load
        self._kept: dict[int, Row] = {}
        self._left_bytes = budget_bytes
        self.lengths: np.ndarray | None = None
        if has_lengths:
            rows = self._encoded(np.arange(len(values)))
            self.lengths = np.asarray([processor.length(row) for row in rows], np.int64)

    def __len__(self) -> int:
        return len(self.values)

    def bucket(self, length: int) -> int:
        return self.processor.bucket(length)

    def batch(
        self, rows: np.ndarray, *, length: int | None = None, without: frozenset[str] = frozenset()
    ) -> Batch:
        inputs: dict[str, Tensor] = {}
        if self.lengths is not None or not without:
            encoded = self._encoded(rows)
            inputs = self.processor.collate(encoded, length=length, without=without)
        mask = inputs.get("attention_mask")
        padded = 0 if mask is None else mask.shape[1]
        chosen = torch.from_numpy(np.asarray(rows))
        targets = {name: t[chosen] for name, t in self.targets.items()}
        return Batch(inputs, targets, np.asarray(rows), padded)

    def _encoded(self, rows: np.ndarray) -> list[Row]:
        missing = [r for r in dict.fromkeys(map(int, rows)) if r not in self._kept]
        fresh: dict[int, Row] = {}
        for start in range(0, len(missing), CHUNK):
            part = missing[start : start + CHUNK]
            values = [self.values[r] for r in part]
            if self._load is not None:
                values = [self._load(v) for v in values]
            for r, row in zip(part, self.processor.encode(values), strict=True):
                fresh[r] = row
                size = sum(a.nbytes for a in row.values())
                if size <= self._left_bytes:
                    self._kept[r] = row
                    self._left_bytes -= size
        return [fresh[int(r)] if int(r) in fresh else self._kept[int(r)] for r in rows]
