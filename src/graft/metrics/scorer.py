"""The form in which all metrics of a task are computed at once, for any weights of the rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Scorer:
    """Hold labels and outputs, prepared once (sorted, compared), ready for any weights.

    Args:
        n_rows: number of examples N.
        weigh: maps weights (R, N), not negative, to name → (R,) values. A row of weight k counts
            as k equal examples.
    """

    n_rows: int
    weigh: Callable[[np.ndarray], dict[str, np.ndarray]]

    def scores(self) -> dict[str, float]:
        """Return every metric of the examples as they are."""
        found = self.weigh(np.ones((1, self.n_rows)))
        return {name: float(values[0]) for name, values in found.items()}


def undefined_scorer(n_rows: int, names: Iterable[str]) -> Scorer:
    """Return a scorer whose every metric is NaN: what outputs with a NaN among them are worth."""
    names = tuple(names)
    return Scorer(n_rows, lambda weights: {name: np.full(len(weights), np.nan) for name in names})


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Return the quotient in float64, NaN where the denominator is zero."""
    numerator, denominator = np.broadcast_arrays(numerator, denominator)
    out = np.full(numerator.shape, np.nan)
    with np.errstate(invalid="ignore", over="ignore"):
        return np.divide(numerator, denominator, out=out, where=denominator != 0)


def mean_defined(values: Iterable[np.ndarray]) -> np.ndarray:
    """Return the mean of arrays of one shape, element by element, over those that are not NaN."""
    total, count = np.zeros(()), np.zeros(())
    for value in values:
        defined = ~np.isnan(value)
        total = total + np.where(defined, value, 0.0)
        count = count + defined
    return ratio(total, count)
