"""Two streams side by side: row i of each is the same example, a picture and its caption."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import numpy as np
import torch

from graft.batch import Batch
from graft.data.tuples import Tuples
from graft.tasks.task import Stream


class PairedStream:
    """Feed one side of T pairs: row t is the item of this side in pair t.

    Several rows may be one item, a picture with five captions: it is computed and stored once
    (`graft.engine.views.items`). A batch says in `item` which item each row is.

    Args:
        items: the U different items of this side.
        item_of: (T,) the item of each pair.
        pairs: who belongs to whom, on both sides; the first side numbers its items from 0.
        row_name: says where a pair came from.
        batched_by: (T,) lengths by which pairs share a batch; this side's own unless given.
    """

    def __init__(
        self,
        items: Stream,
        item_of: np.ndarray,
        pairs: Tuples,
        row_name: Callable[[int], str] = str,
        batched_by: np.ndarray | None = None,
    ) -> None:
        self.items = items
        self.item_of = item_of
        self.pairs = pairs
        self.key = items.key
        self.lengths = None if items.lengths is None else items.lengths[item_of]
        self.row_name = row_name
        self.batched_by = self.lengths if batched_by is None else batched_by

    def __len__(self) -> int:
        return len(self.item_of)

    def bucket(self, length: int) -> int:
        return self.items.bucket(length)

    def batch(
        self, rows: np.ndarray, *, length: int | None = None, without: frozenset[str] = frozenset()
    ) -> Batch:
        rows = np.asarray(rows)
        own = self.item_of[rows]
        batch = self.items.batch(own, length=length, without=without)
        return Batch(batch.inputs, {"item": torch.from_numpy(own)}, rows, batch.length)

    def expect(self, rows: np.ndarray, submit: Callable[..., Future[Any]]) -> None:
        """Let files that will be asked for soon be read in the background."""
        self.items.expect(self.item_of[rows], submit)  # type: ignore[attr-defined]

    def forget(self) -> None:
        """Expect no more rows."""
        self.items.forget()  # type: ignore[attr-defined]
