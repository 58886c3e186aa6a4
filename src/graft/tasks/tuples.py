"""A table of pairs or triplets as one stream of items."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import numpy as np
import torch

from graft.batch import Batch
from graft.data.tuples import Tuples
from graft.tasks.streams import TableStream


class TupleStream:
    """Feed the members of pairs or triplets: row t · R + r is member r of tuple t.

    A batch says of each row which tuple and which role it is of, which item it is, and how its
    tuple is scored. So the rows of a step may be shared out and joined again in any order.

    Args:
        items: the U different items.
        tuples: T of them, R members each.
        row_name: says where a tuple came from; kept as `named`.
    """

    def __init__(
        self, items: TableStream, tuples: Tuples, row_name: Callable[[int], str] = str
    ) -> None:
        self.items = items
        self.tuples = tuples
        self.item_of = tuples.members.reshape(-1)
        self.key = items.key
        self.lengths = None if items.lengths is None else items.lengths[self.item_of]
        self.named = row_name

    @property
    def n_roles(self) -> int:
        """Members of each tuple, R."""
        return self.tuples.members.shape[1]

    @property
    def n_examples(self) -> int:
        """Tuples, T."""
        return len(self.tuples.members)

    @property
    def longest(self) -> np.ndarray | None:
        """Return (T,) the length of each tuple's longest member; None where all are alike."""
        if self.lengths is None:
            return None
        return self.lengths.reshape(-1, self.n_roles).max(1)

    def __len__(self) -> int:
        return len(self.item_of)

    def rows_of(self, tuples: np.ndarray) -> np.ndarray:
        """Return the rows of some tuples, one tuple after the other."""
        return (tuples[:, None] * self.n_roles + np.arange(self.n_roles)).reshape(-1)

    def row_name(self, row: int) -> str:
        """Return where the tuple of a row came from."""
        return self.named(row // self.n_roles)

    def bucket(self, length: int) -> int:
        return self.items.bucket(length)

    def batch(
        self, rows: np.ndarray, *, length: int | None = None, without: frozenset[str] = frozenset()
    ) -> Batch:
        rows = np.asarray(rows)
        items = self.item_of[rows]
        batch = self.items.batch(items, length=length, without=without)
        tuples = rows // self.n_roles
        targets = {"tuple": tuples, "role": rows % self.n_roles, "item": items}
        if self.tuples.scores is not None:
            targets["score"] = self.tuples.scores[tuples].astype(np.float32)
        found = {name: torch.from_numpy(values) for name, values in targets.items()}
        found = {**batch.targets, **found}
        return Batch(batch.inputs, found, rows, batch.length)

    def expect(self, rows: np.ndarray, submit: Callable[..., Future[Any]]) -> None:
        """Let files that will be asked for soon be read in the background."""
        self.items.expect(self.item_of[rows], submit)

    def forget(self) -> None:
        """Expect no more rows."""
        self.items.forget()
