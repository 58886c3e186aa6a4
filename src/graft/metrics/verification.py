"""Verification: are two items of one class? Pairs, their scores, and the trade between two errors.

Of N items with classes, a pair is genuine if both have one class, else an impostor. At a threshold
t pairs that score at least t are accepted: FAR(t) is the share of impostors, TAR(t) that of genuine
pairs that are. The equal error rate is where FAR = 1 - TAR.

Pairs share items, so they are not independent, and intervals from resampled pairs would be far too
narrow. Units are resampled instead, classes or items: a pair weighs the product of its units'
counts, a genuine pair of a class the count of that class.
Source: R. M. Bolle, N. K. Ratha and S. Pankanti, Error analysis of pattern recognition systems: the
subsets bootstrap, CVIU 93 (2004); T. Fawcett, An introduction to ROC analysis, Pattern Recognition
Letters 27 (2006).

Conventions: N items, P = N (N - 1) / 2 pairs, U units, R resamples.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from graft.errors import InputError
from graft.metrics.ranking import tie_groups
from graft.metrics.scorer import Scorer, ratio

FARS = {"tar_at_far_1e2": 1e-2, "tar_at_far_1e3": 1e-3}
SMALLEST_CLASSES = 10
"""Fewer classes are no sample to draw from: items are drawn instead."""
MOST_ITEMS = 1_000
"""Half a million pairs; more items are drawn down to so many."""
BLOCK = 512


@dataclass(frozen=True, eq=False)
class Pairs:
    """Hold the P pairs of N items, the highest score first, or the first of them.

    Args:
        scores: (P,) float32, descending.
        genuine: (P,) boolean.
        first: (P,) unit of one item of each pair.
        second: (P,) unit of the other; U, which always weighs 1, for pairs inside a class that is
            a unit: two draws of a class are the same class, and count its pairs once each.
        ends: (T,) last place of each run of equal scores.
        n_items: N.
        class_of: (U,) class of each unit.
        sizes: (U,) items of each unit.
        unit: what is resampled: `classes`, `items`, or `pictures` with their captions.
        others: (U,) items of each unit on the other side, where every pair has one item of each
            side (`verification_across.py`); None where the pairs are of one kind of items.
    """

    scores: np.ndarray
    genuine: np.ndarray
    first: np.ndarray
    second: np.ndarray
    ends: np.ndarray
    n_items: int
    class_of: np.ndarray
    sizes: np.ndarray
    unit: str
    others: np.ndarray | None = None

    @property
    def n_units(self) -> int:
        """Return U."""
        return len(self.sizes)

    @property
    def n_genuine(self) -> int:
        """Return how many pairs belong together."""
        return round(float(self.totals(np.ones(self.n_units))[0]))

    @property
    def n_impostors(self) -> int:
        """Return how many pairs do not."""
        return round(float(self.totals(np.ones(self.n_units))[1]))

    def totals(self, weights: np.ndarray) -> tuple[float, float]:
        """Return how much all genuine pairs and all impostors weigh under weights (U,)."""
        if self.others is not None:
            own = self.sizes * self.others
            every = (weights @ self.sizes) * (weights @ self.others)
            return float(weights @ own), float(every - weights**2 @ own)
        held = weights * self.sizes
        of_class = np.bincount(self.class_of, held)
        if self.unit == "classes":
            genuine = weights @ (self.sizes * (self.sizes - 1)) / 2
        else:
            genuine = (of_class @ of_class - held @ held) / 2
        return float(genuine), float((of_class.sum() ** 2 - of_class @ of_class) / 2)

    def head(self, far: float) -> Pairs:
        """Return the highest pairs, down to where `far` of the impostors are accepted."""
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
    classes, codes = np.unique(labels, return_inverse=True)
    by_class = len(classes) >= SMALLEST_CLASSES
    units = codes if by_class else np.arange(len(codes))
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
    order = np.argsort(-score, kind="stable")
    score, one, other = score[order], one[order], other[order]
    starts, _ = tie_groups(score)
    genuine = codes[one] == codes[other]
    sizes = np.bincount(codes, minlength=len(classes)) if by_class else np.ones(len(codes), int)
    return Pairs(
        score,
        genuine,
        units[one],
        np.where(genuine, len(classes), units[other]) if by_class else units[other],
        np.append(starts[1:], len(score)).astype(np.int64)[: len(starts)] - 1,
        len(codes),
        np.arange(len(classes)) if by_class else codes,
        sizes.astype(np.float64),
        "classes" if by_class else "items",
    )


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
    n_genuine, n_impostors = np.array(pairs.totals(weights))
    far, tar = ratio(accepted - genuine, n_impostors), ratio(genuine, n_genuine)
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


def verification_scorer(
    vectors: np.ndarray, labels: np.ndarray, *, most: int = MOST_ITEMS, seed: int = 0
) -> Scorer:
    """Prepare the metrics of verification; its rows are the units that are resampled.

    Args:
        vectors: (N, D), of length one for cosines.
        labels: (N,) classes.
        most: items; of more, so many are drawn.
        seed: of that draw.
    """
    return scorer_of_pairs(pairs_of(vectors, labels, most=most, seed=seed))


def scorer_of_pairs(pairs: Pairs) -> Scorer:
    """Return `equal_error_rate`, `verification_auroc` and TAR at two FARs for any weights."""

    def weigh(weights: np.ndarray) -> dict[str, np.ndarray]:
        rows = [_values(roc(pairs, row)) for row in weights]
        names = rows[0] if rows else _values(roc(pairs))
        return {name: np.array([row[name] for row in rows]) for name in names}

    return Scorer(pairs.n_units, weigh)


def _is_defined(curve: Roc) -> bool:
    return bool(len(curve.far)) and not (np.isnan(curve.far[-1]) or np.isnan(curve.tar[-1]))


def _values(curve: Roc) -> dict[str, float]:
    return {
        "equal_error_rate": equal_error_rate(curve),
        "verification_auroc": area(curve),
        **{name: tar_at(curve, far) for name, far in FARS.items()},
    }
