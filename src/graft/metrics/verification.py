"""Verification: are two items of one class? Pairs, their scores, and the trade between two errors.

Of N items with classes, a pair is genuine if both have one class, else an impostor. At a threshold
t pairs that score at least t are accepted: FAR(t) is the share of impostors, TAR(t) that of genuine
pairs that are. The equal error rate is where FAR = 1 - TAR.

Pairs share items, so they are not independent, and intervals from resampled pairs would be far too
narrow. Units are resampled instead, classes, groups or items: a pair weighs the product of its
units' counts, a pair inside one unit the count of that unit.
Source: R. M. Bolle, N. K. Ratha and S. Pankanti, Error analysis of pattern recognition systems: the
subsets bootstrap, CVIU 93 (2004); T. Fawcett, An introduction to ROC analysis, Pattern Recognition
Letters 27 (2006).

Conventions: N items, P pairs, N (N - 1) / 2 or a sample of them, U units, R resamples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from graft.errors import InputError
from graft.metrics.ranking import tie_groups
from graft.metrics.sampled_pairs import Sample, cosines_of, units_of
from graft.metrics.scorer import ratio

MOST_ITEMS = 1_000
"""Half a million pairs; more items are drawn down to so many."""
BLOCK = 512


Totals = Callable[[np.ndarray], tuple[float, float]]


@dataclass(frozen=True, eq=False)
class Pairs:
    """Hold P pairs of N items, the highest score first, or the first of them.

    Args:
        scores: (P,) descending.
        genuine: (P,) boolean.
        first: (P,) unit of one item of each pair.
        second: (P,) unit of the other; U, which always weighs 1, for pairs inside a unit: two
            draws of a class are the same class, and count its pairs once each.
        ends: (T,) last place of each run of equal scores.
        n_items: N.
        n_units: U.
        unit: what is resampled: `classes`, `groups`, `items`, or `pictures` with their captions.
        totals: maps weights (U,) to how much all genuine pairs and all impostors weigh; None where
            all are held, and their weights can be summed.
    """

    scores: np.ndarray
    genuine: np.ndarray
    first: np.ndarray
    second: np.ndarray
    ends: np.ndarray
    n_items: int
    n_units: int
    unit: str
    totals: Totals | None = None

    @property
    def n_genuine(self) -> int:
        """Return how many pairs of one class there are."""
        return self._counts()[0]

    @property
    def n_impostors(self) -> int:
        """Return how many pairs of two classes there are."""
        return self._counts()[1]

    def _counts(self) -> tuple[int, int]:
        if self.totals is None:
            n = int(self.genuine.sum())
            return n, len(self.genuine) - n
        genuine, impostors = self.totals(np.ones(self.n_units))
        return round(genuine), round(impostors)

    def head(self, far: float) -> Pairs:
        """Return the highest pairs, down to where `far` of the impostors are accepted.

        All of them where `totals` is None: what they weigh is known by summing them.
        """
        if self.totals is None:
            return self
        impostors = np.cumsum(~self.genuine)[self.ends] if len(self.ends) else self.ends
        n = int(np.searchsorted(impostors, far * self.n_impostors, side="right")) + 1
        ends = self.ends[:n]
        stop = int(ends[-1]) + 1 if len(ends) else 0
        kept = {
            name: getattr(self, name)[:stop] for name in ("scores", "genuine", "first", "second")
        }
        return replace(self, ends=ends, **kept)


@dataclass(frozen=True, eq=False)
class Roc:
    """Hold the curve at every score that occurs, from the strictest threshold on; (T,) each."""

    thresholds: np.ndarray
    far: np.ndarray
    tar: np.ndarray


def pairs_of(
    vectors: np.ndarray, labels: np.ndarray, *, most: int = MOST_ITEMS, seed: int = 0
) -> Pairs:
    """Return all pairs of items with their inner products, sorted once.

    Args:
        vectors: (N, D), of length one for cosines.
        labels: (N,) classes.
        most: items; of more, so many are drawn.
        seed: of that draw.

    Raises:
        InputError: the numbers of vectors and labels differ, or a vector is not finite.
    """
    vectors, labels = np.asarray(vectors, np.float32), np.asarray(labels)
    if len(vectors) != len(labels):
        raise InputError(
            f"{len(vectors):,} vectors against {len(labels):,} labels; pass one of each"
        )
    if not np.isfinite(vectors).all():
        raise InputError("a vector is not finite; leave out its row")
    if len(vectors) > most:
        rows = np.sort(np.random.default_rng(seed).choice(len(vectors), most, replace=False))
        vectors, labels = vectors[rows], labels[rows]
    codes = np.unique(labels, return_inverse=True)[1]
    units, unit = units_of(codes)
    scores, ones, others = [], [], []
    for start in range(0, len(vectors), BLOCK):
        products = vectors[start : start + BLOCK] @ vectors.T
        row, column = np.nonzero(
            np.arange(len(vectors)) > np.arange(start, start + len(products))[:, None]
        )
        scores.append(products[row, column])
        ones.append((row + start).astype(np.int32))
        others.append(column.astype(np.int32))
    score, one, other = (
        np.concatenate(x) if x else np.zeros(0, int) for x in (scores, ones, others)
    )
    return _sorted(
        score, labels[one] == labels[other], one, other, units, unit, _totals(units, codes, unit)
    )


def sampled(sample: Sample, unit: np.ndarray) -> Pairs:
    """Return the pairs of a sample with their cosines, sorted once.

    Args:
        unit: (N, D) of length one, finite.
    """
    one, other = sample.pairs.T
    scores = cosines_of(unit, sample.pairs)
    return _sorted(scores, sample.alike, one, other, sample.units, sample.unit, None)


def _sorted(
    scores: np.ndarray,
    genuine: np.ndarray,
    one: np.ndarray,
    other: np.ndarray,
    units: np.ndarray,
    unit: str,
    totals: Totals | None,
) -> Pairs:
    n_units = int(units.max(initial=-1)) + 1
    order = np.argsort(-scores, kind="stable")
    scores, first, second = scores[order], units[one[order]], units[other[order]]
    starts, _ = tie_groups(scores)
    return Pairs(
        scores,
        genuine[order],
        first,
        np.where(first == second, n_units, second),
        np.append(starts[1:], len(scores)).astype(np.int64)[: len(starts)] - 1,
        len(units),
        n_units,
        unit,
        totals,
    )


def _totals(units: np.ndarray, codes: np.ndarray, unit: str) -> Totals:
    """Return what all pairs of items weigh, of whose units (N,) each lies in one class (N,)."""
    sizes = np.bincount(units).astype(np.float64)
    class_of = np.zeros(len(sizes), np.int64)
    class_of[units] = codes

    def totals(weights: np.ndarray) -> tuple[float, float]:
        held = weights * sizes
        of_class = np.bincount(class_of, held)
        if unit == "classes":
            genuine = weights @ (sizes * (sizes - 1)) / 2
        else:
            genuine = (of_class @ of_class - held @ held) / 2
        return float(genuine), float((of_class.sum() ** 2 - of_class @ of_class) / 2)

    return totals


def roc(pairs: Pairs, weights: np.ndarray | None = None) -> Roc:
    """Return FAR and TAR at every score, NaN where there is no such pair.

    Args:
        pairs: sorted.
        weights: (U,) of the units; ones unless given.
    """
    weights = np.ones(pairs.n_units) if weights is None else np.asarray(weights, np.float64)
    weight = weights[pairs.first] * np.append(weights, 1.0)[pairs.second]
    accepted = np.cumsum(weight)[pairs.ends]
    genuine = np.cumsum(weight * pairs.genuine)[pairs.ends]
    impostors = accepted - genuine
    if pairs.totals is not None:
        n_genuine, n_impostors = np.array(pairs.totals(weights))
    else:
        n_genuine, n_impostors = genuine[-1:], impostors[-1:]
    far, tar = ratio(impostors, n_impostors), ratio(genuine, n_genuine)
    return Roc(pairs.scores[pairs.ends], far, tar)


def threshold_at(curve: Roc, far: float) -> float:
    """Return the lowest score at which at most `far` of the impostors are accepted.

    Infinite where even the highest score accepts more: then nothing may be accepted.
    """
    allowed = np.flatnonzero(curve.far <= far * (1 + 1e-9))
    return float(curve.thresholds[allowed[-1]]) if len(allowed) else float("inf")


def tar_at(curve: Roc, far: float) -> float:
    """Return the share of genuine pairs accepted where at most `far` of the impostors are."""
    if not _is_defined(curve):
        return float("nan")
    allowed = np.flatnonzero(curve.far <= far * (1 + 1e-9))
    return float(curve.tar[allowed[-1]]) if len(allowed) else 0.0


def equal_error_rate(curve: Roc) -> float:
    """Return the error where both kinds are equal, between two points of the curve if need be."""
    if not _is_defined(curve):
        return float("nan")
    far, frr = np.append(0.0, curve.far), np.append(1.0, 1 - curve.tar)
    at = int(np.argmax(far >= frr))
    gap, gap_before = far[at] - frr[at], frr[at - 1] - far[at - 1]
    share = gap_before / (gap + gap_before) if gap + gap_before > 0 else 0.0
    return float(far[at - 1] + share * (far[at] - far[at - 1]))


def area(curve: Roc) -> float:
    """Return the area under TAR by FAR, chance is 0.5; ties count half."""
    if not _is_defined(curve):
        return float("nan")
    far, tar = np.append(0.0, curve.far), np.append(0.0, curve.tar)
    return float(np.sum(np.diff(far) * (tar[1:] + tar[:-1]) / 2))


def _is_defined(curve: Roc) -> bool:
    return bool(len(curve.far)) and not (np.isnan(curve.far[-1]) or np.isnan(curve.tar[-1]))
