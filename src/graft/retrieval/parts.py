"""The rows of one side of an index: its segments, numbered through by themselves.

Segments of pictures and of texts may take turns, as they were added. A search looks at one side
alone, so its blocks and its graph count the rows of that side from 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class Part:
    """Hold the segments of a side, and where their rows stand in the index.

    Args:
        segments: arrays (n, D) float32, in the order in which they were added.
        starts: the number in the index of the first row of each.

    >>> part = Part([np.zeros((2, 3)), np.zeros((1, 3))], [0, 5])
    >>> part.numbers(np.array([[2, 0, -1]]))
    array([[ 5,  0, -1]])
    """

    def __init__(self, segments: Sequence[np.ndarray], starts: Sequence[int]) -> None:
        self.segments = segments
        self.starts = starts
        self._own = np.cumsum([0, *(len(s) for s in segments)])

    def numbers(self, rows: np.ndarray) -> np.ndarray:
        """Return the numbers in the index of rows of this side; -1 stays."""
        homes = np.searchsorted(self._own, np.maximum(rows, 0), side="right") - 1
        shifts = np.asarray(self.starts, np.int64) - self._own[:-1]
        return np.where(rows >= 0, rows + shifts[np.minimum(homes, len(shifts) - 1)], -1)

    def own(self, mask: np.ndarray) -> np.ndarray:
        """Return of a mask (N,) over the index the part over this side."""
        places = zip(self.segments, self.starts, strict=True)
        return np.concatenate([mask[start : start + len(s)] for s, start in places])

    def behind(self, n_rows: int) -> Sequence[np.ndarray]:
        """Return the segments behind the first rows, which end with a segment."""
        return self.segments[int(np.searchsorted(self._own, n_rows)) :]
