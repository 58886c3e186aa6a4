"""A table as a stream: values encoded once, collated on demand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from graft.backbones.backbone import Processor, Row
from graft.batch import Batch
from graft.data.faults import shorten, shorten_path
from graft.errors import DataError, GraftError, Unread, is_out_of_memory

CHUNK = 512
MOST_SECONDS = 120.0
"""To wait for a thread that reads one example."""

T = TypeVar("T")


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
        row_name: says where a row came from.
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
        row_name: Callable[[int], str] = str,
    ) -> None:
        self.values = values
        self.processor = processor
        self.targets = {name: torch.from_numpy(np.asarray(t)) for name, t in targets.items()}
        self.key = f"{processor.key}/{key}"
        self.groups = groups
        self.row_name = row_name
        self._load = load
        self._kept: dict[int, Row] = {}
        self._left_bytes = budget_bytes
        self._pending: dict[int, Future[Row]] = {}
        self.lengths: np.ndarray | None = None
        if has_lengths:
            rows = self.encoded(np.arange(len(values)))
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
            encoded = self.encoded(rows)
            inputs = self.processor.collate(encoded, length=length, without=without)
        mask = inputs.get("attention_mask")
        padded = 0 if mask is None else mask.shape[1]
        chosen = torch.from_numpy(np.asarray(rows))
        targets = {name: t[chosen] for name, t in self.targets.items()}
        return Batch(inputs, targets, np.asarray(rows), padded)

    def expect(self, rows: np.ndarray, submit: Callable[..., Future[Row]]) -> None:
        """Let files that will be asked for soon be read in the background.

        Args:
            submit: takes a function and its arguments, and returns what will hold the result.
        """
        if self._load is None:
            return
        for r in map(int, rows):
            if r not in self._kept and r not in self._pending:
                self._pending[r] = submit(self.encode, r)

    def forget(self) -> None:
        """Expect no more rows."""
        self._pending.clear()

    def encode(self, row: int) -> Row:
        """Return one row encoded, kept or anew; changes nothing, so any thread may call it."""
        kept = self._kept.get(row)
        return self._encode([row])[0] if kept is None else kept

    def keep(self, row: int, encoded: Row) -> None:
        """Keep an encoded row, within the budget."""
        if row not in self._kept and self.afford(sum(a.nbytes for a in encoded.values())):
            self._kept[row] = encoded

    def afford(self, size_bytes: int) -> bool:
        """Return whether so much may still be kept, and count it."""
        if size_bytes > self._left_bytes:
            return False
        self._left_bytes -= size_bytes
        return True

    def load(self, row: int) -> Any:
        """Return the value of one row as the processor takes it: a picture decoded."""
        value = self.values[row]
        return value if self._load is None else self._load(value)

    def _encode(self, rows: Sequence[int]) -> list[Row]:
        return self.processor.encode([self.load(r) for r in rows])

    def encoded(self, rows: np.ndarray) -> list[Row]:
        """Return rows encoded; what is new is kept, within the budget."""
        missing = [r for r in dict.fromkeys(map(int, rows)) if r not in self._kept]
        ready = {r: self._pending.pop(r) for r in missing if r in self._pending}
        fresh = {r: wait_for(future, self.row_name(r)) for r, future in ready.items()}
        missing = [r for r in missing if r not in fresh]
        for start in range(0, len(missing), CHUNK):
            part = missing[start : start + CHUNK]
            fresh |= zip(part, self._encode(part), strict=True)
        for r, row in fresh.items():
            self.keep(r, row)
        return [fresh[int(r)] if int(r) in fresh else self._kept[int(r)] for r in rows]


def wait_for(future: Future[T], name: str) -> T:
    """Return what a thread makes of one example; whatever is wrong with it is raised here.

    Args:
        name: where the example comes from.

    Raises:
        Unread: the thread hangs.
        DataError: the example cannot be read, or the thread failed at it.
    """
    try:
        return future.result(MOST_SECONDS)
    except GraftError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        if future.done():
            why = shorten(f"{type(error).__name__} {error}", 60)
            raise DataError(
                f"a reading thread failed at it ({why}); look at the file, or pass --workers 0",
                path=shorten_path(name, 70),
            ) from error
        raise Unread(
            f"was not read within {MOST_SECONDS:.0f} s; look at the file and its disk, or pass "
            "--workers 0",
            path=shorten_path(name, 100),
        ) from None
