"""Which method is best, which are not clearly worse, and which of these is cheapest.

A resample draws seeds with replacement and, for each drawn, the rows of its held-out part; it draws
the same for every method, so differences are paired. It draws the same places for every seed: where
a given split makes all seeds see the same rows, their scores go up and down together, and several
seeds must not pass for several samples of rows. With one seed rows alone vary, and how much another
seed would change is not in the interval.

Source: B. Efron and R. J. Tibshirani, An Introduction to the Bootstrap (1993), chapters 8 and 13.

Shapes: M methods, S seeds, R resamples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from graft.metrics.intervals import resample_counts
from graft.metrics.scorer import Scorer
from graft.records import Interval

N_RESAMPLES = 1000


@dataclass(frozen=True)
class Verdict:
    """Hold what the scores of several methods say.

    Args:
        values: mean over seeds, with its interval, by method.
        behind: how far the best is ahead, with its interval, by method.
        best: the method of the highest mean.
        close: those that are not clearly behind it, itself among them.
    """

    values: Mapping[str, Interval]
    behind: Mapping[str, Interval]
    best: str
    close: tuple[str, ...]

    def cheapest(self, seconds: Mapping[str, float]) -> str:
        """Return the cheapest of those that are not clearly behind the best."""
        return min(self.close, key=lambda method: seconds[method])


def judge_methods(scorers: Mapping[str, Sequence[Scorer]], *, seed: int = 0) -> Verdict:
    """Return what scores of methods say; more is better.

    Args:
        scorers: by method, one for each seed, in the same order, on the same rows for all methods;
            each knows one metric.
        seed: of the resamples.
    """
    names = list(scorers)
    plain = np.asarray([[_only(s.scores()) for s in scorers[name]] for name in names])  # (M, S)
    n_seeds = plain.shape[1]
    resampled = np.empty((len(names), n_seeds, N_RESAMPLES))
    for s in range(n_seeds):
        n_rows = scorers[names[0]][s].n_rows
        start = 0
        for counts in resample_counts(n_rows, N_RESAMPLES, seed=seed):
            for m, name in enumerate(names):
                resampled[m, s, start : start + len(counts)] = _only(scorers[name][s].weigh(counts))
            start += len(counts)
    drawn = np.random.default_rng(seed).integers(0, n_seeds, (N_RESAMPLES, n_seeds))
    means = resampled[:, drawn, np.arange(N_RESAMPLES)[:, None]].mean(-1)  # (M, R)
    values = plain.mean(1)
    best = int(np.nanargmax(values))
    behind = {
        name: _interval(values[best] - values[m], means[best] - means[m])
        for m, name in enumerate(names)
    }
    return Verdict(
        {name: _interval(values[m], means[m]) for m, name in enumerate(names)},
        behind,
        names[best],
        tuple(name for name in names if behind[name].low <= 0),
    )


def _interval(value: float, resampled: np.ndarray) -> Interval:
    defined = resampled[np.isfinite(resampled)]
    low, high = np.quantile(defined, [0.025, 0.975]) if len(defined) else (np.nan, np.nan)
    return Interval(float(value), float(low), float(high), int(len(resampled) - len(defined)))


def _only(found: Mapping[str, np.ndarray | float]) -> np.ndarray | float:
    (value,) = found.values()
    return value
