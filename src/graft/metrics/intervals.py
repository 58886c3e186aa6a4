"""Bootstrap intervals: how far a metric would move on other rows from the same source.

A resample draws N of the N rows with replacement, which is the same as to weigh each row by how
often it was drawn; so one sorted and compared set of rows serves all resamples. The interval is
the percentile one: with 1,000 resamples and level 0.95, the 2.5th and 97.5th percentile.
Source: B. Efron and R. J. Tibshirani, An Introduction to the Bootstrap (1993), chapter 13; paired
as in P. Koehn, Statistical Significance Tests for Machine Translation Evaluation (2004).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from graft.errors import InputError
from graft.metrics.scorer import Scorer
from graft.records import Interval

N_RESAMPLES = 1000
LEVEL = 0.95
# Weights of a block stay in the processor's cache while all classes are summed over them.
BLOCK_SIZE = 2**19


def bootstrap(
    scorer: Scorer, *, n_resamples: int = N_RESAMPLES, level: float = LEVEL, seed: int = 0
) -> dict[str, Interval]:
    """Return every metric with its percentile interval.

    Args:
        scorer: labels and outputs, prepared by one of `SCORERS`.
        n_resamples: how many times the rows are drawn again, at least 1.
        level: share of the resamples inside the interval, between 0 and 1.
        seed: of the draws; the same seed gives the same intervals.

    Raises:
        InputError: `n_resamples` or `level` is out of range.

    >>> from graft.metrics.regression import regression_scorer
    >>> scorer = regression_scorer(np.arange(20.0), np.arange(20.0) + 1)
    >>> bootstrap(scorer, n_resamples=100)["mae"]
    Interval(value=1.0, low=1.0, high=1.0, n_undefined=0)
    """
    _check(n_resamples, level)
    blocks = [
        scorer.weigh(counts) for counts in resample_counts(scorer.n_rows, n_resamples, seed=seed)
    ]
    return {
        name: _interval(value, np.concatenate([block[name] for block in blocks]), level)
        for name, value in scorer.scores().items()
    }


def bootstrap_difference(
    first: Scorer,
    second: Scorer,
    *,
    n_resamples: int = N_RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> dict[str, Interval]:
    """Return first minus second for every metric of both, each resample drawn for both alike.

    Being paired, the interval is as narrow as the two models agree row by row; that it leaves out 0
    is the usual sign that one is better.

    Args:
        first: one model's outputs.
        second: another's, on the same rows in the same order.
        n_resamples: how many times the rows are drawn again, at least 1.
        level: share of the resamples inside the interval, between 0 and 1.
        seed: of the draws; the same seed gives the same intervals.

    Raises:
        InputError: the numbers of rows differ, or `n_resamples` or `level` is out of range.
    """
    _check_paired(first, second)

    def difference(weights: np.ndarray) -> dict[str, np.ndarray]:
        one, other = first.weigh(weights), second.weigh(weights)
        return {name: one[name] - other[name] for name in one if name in other}

    scorer = Scorer(n_rows=first.n_rows, weigh=difference)
    return bootstrap(scorer, n_resamples=n_resamples, level=level, seed=seed)


def bootstrap_change(
    before: Scorer,
    after: Scorer,
    *,
    n_resamples: int = N_RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> dict[str, dict[str, Interval]]:
    """Return `before`, `after` and `change`, their difference, from the same resamples.

    Args:
        before: one model's outputs.
        after: another's, on the same rows in the same order; the same metrics.
        n_resamples: how many times the rows are drawn again, at least 1.
        level: share of the resamples inside the interval, between 0 and 1.
        seed: of the draws; the same seed gives the same intervals.

    Raises:
        InputError: the numbers of rows differ, or `n_resamples` or `level` is out of range.
    """
    _check_paired(before, after)

    def all_three(weights: np.ndarray) -> dict[str, np.ndarray]:
        old, new = before.weigh(weights), after.weigh(weights)
        found = {"before": old, "after": new, "change": {n: new[n] - old[n] for n in new}}
        return {f"{part} {name}": v for part, values in found.items() for name, v in values.items()}

    found = bootstrap(
        Scorer(after.n_rows, all_three), n_resamples=n_resamples, level=level, seed=seed
    )
    parts: dict[str, dict[str, Interval]] = {}
    for key, interval in found.items():
        part, name = key.split(" ", 1)
        parts.setdefault(part, {})[name] = interval
    return parts


def resample_counts(n_rows: int, n_resamples: int, *, seed: int) -> Iterator[np.ndarray]:
    """Yield blocks (R, N) of how often each row was drawn, `n_resamples` rows in all.

    The draws do not depend on how they are cut into blocks.
    """
    rng = np.random.default_rng(seed)
    # Sums of counts are exact in float32 up to 2**24, at half the memory to move.
    kind = np.float32 if n_rows < 2**24 else np.float64
    n_block = max(1, BLOCK_SIZE // max(n_rows, 1))
    for start in range(0, n_resamples, n_block):
        counts = np.zeros((min(n_block, n_resamples - start), n_rows), dtype=kind)
        if n_rows:
            for row in counts:
                row[:] = np.bincount(rng.integers(n_rows, size=n_rows), minlength=n_rows)
        yield counts


def _interval(value: float, replicates: np.ndarray, level: float) -> Interval:
    defined = replicates[~np.isnan(replicates)]
    n_undefined = len(replicates) - len(defined)
    if not len(defined):
        return Interval(value=value, low=np.nan, high=np.nan, n_undefined=n_undefined)
    # Between two infinite replicates there is nothing to interpolate, so their NaN is right.
    with np.errstate(invalid="ignore"):
        low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value=value, low=float(low), high=float(high), n_undefined=n_undefined)


def _check_paired(first: Scorer, second: Scorer) -> None:
    if first.n_rows != second.n_rows:
        raise InputError(
            f"{first.n_rows} rows against {second.n_rows}: compare two models on the same rows"
        )


def _check(n_resamples: int, level: float) -> None:
    if n_resamples < 1:
        raise InputError(f"n_resamples is {n_resamples}: give at least 1")
    if not 0 < level < 1:
        raise InputError(f"level is {level}: give a share between 0 and 1, such as 0.95")
