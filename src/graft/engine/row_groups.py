"""How the rows of a stream are cut into groups, each computed as one batch of a fixed shape.

Matrix kernels may add in another order for another shape of batch. So the shape in which a row is
computed must not depend on which rows are wanted together: it follows from the stream alone. Rows
share a group with others of their bucket of lengths, at about `GROUP_TOKENS` tokens, and as many as
leave the fewest places of the bucket's last group to be filled up by repeating a row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graft.engine.views import is_endless, n_numbers
from graft.tasks.task import Stream

GROUP = 16
"""Rows of a group where rows have no length."""
GROUP_TOKENS = 960
"""Measured for MiniLM on a processor: in float32 320 are as fast a token, and many more are not; in
bfloat16 frozen weights are cast in every pass, and 320 take 1.17 times as long a token."""
FEWEST_ROWS, MOST_ROWS = 4, 64
RULE = f"{GROUP} rows, {GROUP_TOKENS} tokens in {FEWEST_ROWS} to {MOST_ROWS} rows, even groups"


@dataclass(frozen=True, eq=False)
class RowGroup:
    """Some rows that are computed together.

    Args:
        rows: (n,) their numbers.
        size: rows of the batch in which they are computed, at least n.
        length: to which all are padded, or None where rows have none.
    """

    rows: np.ndarray
    size: int
    length: int | None

    @property
    def padded(self) -> np.ndarray:
        """Return the rows of the batch: the last one repeated until it is full."""
        return np.concatenate([self.rows, np.repeat(self.rows[-1:], self.size - len(self.rows))])

    @property
    def units(self) -> int:
        """Return rows × padded length of the batch; rows alone where all have one shape."""
        return self.size * (self.length or 1)


class RowGroups:
    """Cut rows of one stream into groups."""

    def __init__(self, stream: Stream) -> None:
        self._lengths = stream.lengths
        self._sizes: dict[int, int] = {}
        if stream.lengths is None:
            n = len(stream) if is_endless(stream) else n_numbers(stream)
            self._sizes[0] = even_size(n, GROUP)
            return
        found, places, counts = np.unique(stream.lengths, return_inverse=True, return_counts=True)
        buckets = np.asarray([stream.bucket(int(n)) for n in found], np.int64)
        self._buckets = buckets[places]
        for bucket in np.unique(buckets):
            n = int(counts[buckets == bucket].sum())
            about = min(max(GROUP_TOKENS // max(int(bucket), 1), FEWEST_ROWS), MOST_ROWS)
            self._sizes[int(bucket)] = even_size(n, about)

    def of(self, rows: np.ndarray) -> list[RowGroup]:
        """Return groups of some rows in canonical order: by bucket, then by number."""
        rows = np.unique(rows)
        if self._lengths is None:
            return list(_cut(rows, self._sizes[0], None))
        buckets = self._buckets[rows]
        return [
            group
            for bucket in np.unique(buckets).tolist()
            for group in _cut(rows[buckets == bucket], self._sizes[bucket], bucket)
        ]


def even_size(n: int, about: int) -> int:
    """Return a size near `about` at which n rows fill groups of that size with few places left.

    Sizes from three quarters to five quarters of `about` are tried; the nearest wins a tie.

    >>> even_size(244, 16), even_size(5, 16), even_size(1_000, 16)
    (13, 5, 20)
    """
    if n <= about:
        return max(n, 1)
    sizes = range(max(1, about - about // 4), about + about // 4 + 1)
    return min(sizes, key=lambda size: (-n % size, abs(size - about), size))


def _cut(rows: np.ndarray, size: int, length: int | None) -> list[RowGroup]:
    return [RowGroup(rows[i : i + size], size, length) for i in range(0, len(rows), size)]
