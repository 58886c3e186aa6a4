"""A straight line of seconds over the size of a batch, from a few that were timed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Line:
    """Hold seconds as a straight line over units (rows × padded length)."""

    fixed: float
    per_unit: float

    def total(self, units: np.ndarray) -> float:
        """Return the seconds of several batches, given the units of each."""
        return self.fixed * len(units) + self.per_unit * float(units.sum())


def fit_line(units: Sequence[float], seconds: Sequence[float]) -> Line:
    """Fit a line through measured points; neither of its parts is negative.

    >>> fit_line([1, 2], [3.0, 5.0])
    Line(fixed=1.0, per_unit=2.0)
    """
    x, y = np.asarray(units, np.float64), np.asarray(seconds, np.float64)
    spread = float(((x - x.mean()) ** 2).sum())
    slope = float(((x - x.mean()) * (y - y.mean())).sum() / spread) if spread else 0.0
    fixed = float(y.mean() - slope * x.mean())
    if slope <= 0 or not spread:
        return Line(float(y.mean()), 0.0)
    if fixed < 0:
        return Line(0.0, float(y.sum() / x.sum()))
    return Line(fixed, slope)


def spread(n: int, n_wanted: int) -> list[int]:
    """Return up to `n_wanted` indices below n, evenly spread, the last among them.

    >>> spread(10, 3), spread(2, 3)
    ([0, 4, 9], [0, 1])
    """
    return np.unique(np.linspace(0, n - 1, min(n, n_wanted)).astype(int)).tolist()
