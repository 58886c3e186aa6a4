"""Would more labels help? A linear head on growing shares of the training rows.

Each point is cross-validated inside the rows that it has, so no held-out row is looked at; the
features are those of the untouched backbone, computed before anything else. Errors fall about as a
power of the number of rows (Hestness et al. 2017, "Deep Learning Scaling is Predictable,
Empirically"); what twice the rows would bring is read off a line through the last points in
logarithms. That is an extrapolation, and it is told as one.
"""

from __future__ import annotations

import math

import numpy as np

from graft.errors import InputError
from graft.metrics.intervals import bootstrap
from graft.selection.comparison import Curve, CurvePoint
from graft.selection.question import Question

SHARES = (0.125, 0.25, 0.5, 1.0)
N_DRAWS = 3
MOST_ROWS = 8_000
LEAST_ROWS = 40
"""Fewer rows have too few of each class in every fold."""


def learning_curve(question: Question, features: np.ndarray, *, seed: int = 0) -> Curve | None:
    """Return what a linear head reaches on shares of the rows; None where there are too few.

    Args:
        question: of N training rows.
        features: (N, D).
        seed: of the rows that are drawn.
    """
    n = min(len(features), MOST_ROWS)
    sizes = [round(n * share) for share in SHARES if n * share >= LEAST_ROWS]
    points = [p for p in (_point(question, features, size, seed) for size in sizes) if p]
    if len(points) < 2:
        return None
    return Curve(tuple(points), _told(points))


def _point(question: Question, features: np.ndarray, size: int, seed: int) -> CurvePoint | None:
    """Return the mean over draws of so many rows; the interval is that of rows, not of draws."""
    found = []
    for draw in range(1 if size == len(features) else N_DRAWS):
        rows = np.random.default_rng([seed, draw]).permutation(len(features))[:size]
        rows = np.sort(rows)
        try:
            answer = question.take(rows).probe(np.asarray(features[rows]))
        except InputError:  # a class with fewer rows than folds
            return None
        (interval,) = bootstrap(answer.scorer).values()
        found.append((interval.value, interval.low, interval.high))
    value, low, high = np.mean(found, axis=0)
    return CurvePoint(size, float(value), float(low), float(high))


def _told(points: list[CurvePoint]) -> str:
    before, last = points[-2], points[-1]
    gain = last.value - before.value
    told = (
        f"a linear head gains {100 * gain:+.1f} points from {before.n_rows:,} to {last.n_rows:,} "
        "rows"
    )
    errors = [1 - p.value for p in points[-3:]]
    if gain <= 0 or min(errors) <= 0:
        return f"{told}: more rows of this kind would hardly help it"
    steps = [math.log(p.n_rows) for p in points[-3:]]
    slope = float(np.polyfit(steps, np.log(errors), 1)[0])
    more = (1 - last.value) * (1 - 2.0**slope)
    return f"{told}; twice the rows might bring about {100 * max(more, 0.0):.1f} more"
