"""Reading ahead: the next examples are read while the network computes.

A stream whose examples cost time to read (files to decode, pictures to vary) has `expect`, which
is told of rows before they are asked for and hands the work on, and `forget`. What a thread makes
is a pure function of the row, so nothing depends on how many there are; a fault in one is raised
where its row is asked for.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any

import numpy as np

from graft.errors import DataError, Unread

THREADS = "graft-ahead"
"""What the names of the threads begin with."""

MOST_WORKERS = 4
N_STEPS = 2
"""How many steps are read ahead: one may take longer than the others."""


class Ahead:
    """Let streams read ahead inside the context; no thread outlives it but one that hangs.

    Args:
        n_workers: threads; with 0 everything is read when it is asked for.
    """

    def __init__(self, n_workers: int = 0) -> None:
        self._pool = ThreadPoolExecutor(n_workers, THREADS) if n_workers else None
        self._streams: dict[int, Any] = {}

    def expect(self, stream: Any, rows: np.ndarray) -> None:
        """Begin to read some rows that will be asked for soon."""
        expect = getattr(stream, "expect", None)
        if self._pool is not None and expect is not None:
            self._streams[id(stream)] = stream
            try:
                expect(rows, self._pool.submit)
            except RuntimeError as error:
                name = getattr(stream, "row_name", str)(int(rows[0]))
                raise DataError(
                    f"no thread could be started to read it and {len(rows) - 1} more "
                    f"({str(error)[:40]}); pass --workers 0",
                    path=name[-70:],
                ) from error

    def over(self, stream: Any, batches: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield batches of rows in order, the next ones being read already."""
        for i, rows in enumerate(batches):
            # this one too: its rows are read side by side
            for coming in batches[i : i + 1 + N_STEPS]:
                self.expect(stream, coming)
            yield rows

    def __enter__(self) -> Ahead:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for stream in self._streams.values():
            stream.forget()
        if self._pool is not None:
            # one that hangs would be waited for forever
            self._pool.shutdown(wait=not isinstance(error, Unread), cancel_futures=True)


def default_workers() -> int:
    """Return how many threads read ahead unless a number is given: one a core, at most four."""
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(MOST_WORKERS, n_cores or 1))
