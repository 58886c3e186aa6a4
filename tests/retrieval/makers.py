"""Small indexes for the tests of the room."""

from __future__ import annotations

import numpy as np

from graft.retrieval.refusals import About
from graft.retrieval.rows import Row
from graft.retrieval.segments import Batch

ABOUT = About("a" * 64, "tiny")
WIDTH = 8


def batch(start: int = 0, stop: int = 20, width: int = WIDTH) -> Batch:
    """Rows `r0`, `r1`, …: the vector of each depends on its number alone."""
    rows = [
        Row(
            f"r{i}",
            "things.csv",
            i + 1,
            f"text {i}",
            {"colour": ("red", "green", "blue")[i % 3], "price": str(i / 2), "code": f"0{i}"},
        )
        for i in range(start, stop)
    ]
    return Batch(vectors(start, stop, width), rows)


def vectors(start: int = 0, stop: int = 20, width: int = WIDTH) -> np.ndarray:
    """Vectors (n, width) of the rows of `batch`, of several lengths."""
    found = [np.random.default_rng(i).normal(size=width) * (1 + i % 3) for i in range(start, stop)]
    return np.array(found, np.float32).reshape(-1, width)
