"""Is it near enough? A score that at most a chosen share of impostors reaches.

Items of known class that the model was not trained on form pairs; the threshold is the lowest score
at which the share of accepted impostors (two classes) is at most what was asked. Classes, or items
where there are few classes, are drawn again to see how far threshold and shares would move. Of
pictures with captions each picture is paired with each caption, and pictures are drawn. Pairs that
the data themselves name are sampled as a run's metrics do it, and groups of items that they join
are drawn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from graft.errors import InputError
from graft.metrics.intervals import LEVEL, resample_counts
from graft.metrics.verification import Pairs, pairs_of, roc, tar_at, threshold_at
from graft.records import Interval

N_RESAMPLES = 400
MOST_ITEMS = 3_000
HEAD = 20


@dataclass(frozen=True)
class Threshold:
    """Say which scores are near enough, and on what that was found.

    Args:
        score: from here on a pair is accepted.
        score_low: lower end of its 95 % bootstrap interval.
        score_high: upper end.
        asked_far: largest share of impostors that may be accepted.
        far: that share on the pairs at hand, with the threshold as it is.
        far_low: lower end of its interval.
        far_high: upper end.
        tar: share of genuine pairs that are accepted.
        tar_low: lower end of its interval.
        tar_high: upper end.
        n_items: items of which the pairs were made.
        n_genuine: pairs that belong together: of one class, a picture and its own caption, or as
            the data say.
        n_impostors: pairs that do not.
        resampled: `classes`, `groups`, `items` or `pictures`.
        source: where the items came from.
    """

    score: float
    score_low: float
    score_high: float
    asked_far: float
    far: float
    far_low: float
    far_high: float
    tar: float
    tar_low: float
    tar_high: float
    n_items: int
    n_genuine: int
    n_impostors: int
    resampled: str
    source: str = ""


def calibrate(
    vectors: np.ndarray,
    labels: np.ndarray,
    far: float,
    *,
    source: str = "",
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> Threshold:
    """Find the threshold at which at most a share of the impostors is accepted.

    Args:
        vectors: (N, D) of held-out items, as the index compares them.
        labels: (N,) their classes.
        far: the share, between 0 and 1.
        source: where the items came from, for the record.
        n_resamples: of the units.
        seed: of all draws.

    Raises:
        InputError: as `calibrate_pairs`.
    """
    pairs = pairs_of(vectors, labels, most=MOST_ITEMS, seed=seed)
    return calibrate_pairs(pairs, far, source=source, n_resamples=n_resamples, seed=seed)


def calibrate_pairs(
    pairs: Pairs, far: float, *, source: str = "", n_resamples: int = N_RESAMPLES, seed: int = 0
) -> Threshold:
    """Do as `calibrate` with pairs that are made already.

    Raises:
        InputError: the share is out of range, there are too few unlike pairs for it or no
            genuine ones, or too many impostors have the highest score of all.
    """
    if not 0 < far < 1:
        raise InputError(f"--far is {far:g}; pass a share between 0 and 1, such as 0.001")
    refuse_too_few(pairs, far, source)
    # no draw moves the threshold below the scores that so many more impostors reach
    pairs = pairs.head(HEAD * far)
    curve = roc(pairs)
    score = threshold_at(curve, far)
    if math.isinf(score):
        raise InputError(
            f"{curve.far[0]:.2%} of the unlike pairs have the highest score of all, more than "
            f"--far {far:g}: the model does not tell them apart; train it, or pass a larger --far"
        )
    at = int(np.searchsorted(-curve.thresholds, -score))
    scores, fars, tars = [], [], []
    for counts in resample_counts(pairs.n_units, n_resamples, seed=seed):
        for row in counts:
            drawn = roc(pairs, row)
            scores.append(threshold_at(drawn, far))
            fars.append(drawn.far[at])
            tars.append(tar_at(drawn, far))
    score_of, far_of, tar_of = (
        _interval(*x)
        for x in ((score, scores), (float(curve.far[at]), fars), (float(curve.tar[at]), tars))
    )
    return Threshold(
        *(score, score_of.low, score_of.high, far),
        *(far_of.value, far_of.low, far_of.high),
        *(tar_of.value, tar_of.low, tar_of.high),
        pairs.n_items,
        pairs.n_genuine,
        pairs.n_impostors,
        pairs.unit,
        source,
    )


def refuse_too_few(pairs: Pairs, far: float, source: str = "") -> None:
    """Raise where the pairs cannot show a share so small.

    Raises:
        InputError: says how many unlike pairs it takes.
    """
    place = f"{source[-60:]}: " if source else ""
    needed = math.ceil(1 / far - 1e-9)
    if pairs.n_impostors < needed:
        raise InputError(
            f"{place}{pairs.n_impostors:,} unlike pairs, and --far {far:g} needs {needed:,} or "
            "more: pass --calibrate with more rows, or a larger --far"
        )
    if not pairs.n_genuine:
        raise InputError(
            f"{place}no two held-out rows belong together; pass --calibrate with rows that do"
        )


def _interval(value: float, replicates: list[float]) -> Interval:
    """Return the percentile interval over the draws that have a value."""
    defined = np.array([x for x in replicates if math.isfinite(x)])
    if not len(defined):
        return Interval(value, value, value, len(replicates))
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value, float(low), float(high), len(replicates) - len(defined))
