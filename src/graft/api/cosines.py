"""Cosines of pairs that belong together and of pairs that do not: sampled, counted, told apart.

Pure functions of arrays. Shapes: N items, D width, P pairs, C classes, T tuples.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from graft.data.tuples import Tuples
from graft.report.facts_embedding import CosineCounts

MOST_PAIRS = 20_000
"""Of each kind: so many say what all would, to about a hundredth."""

FEW_ITEMS = 1_000
"""Of no more items all pairs are listed before some are drawn."""

N_BINS = 40


def labelled_pairs(
    labels: np.ndarray, seed: int = 0, most: int = MOST_PAIRS
) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs (P, 2) of one class, and pairs of two; drawn where there are more than `most`.

    Of few items each pair is drawn once at most; of many a pair may come again.

    Args:
        labels: (N,) class numbers.
    """
    random = np.random.default_rng(seed)
    n = len(labels)
    if n <= FEW_ITEMS:
        pairs = np.stack(np.triu_indices(n, 1), axis=1)
        same = labels[pairs[:, 0]] == labels[pairs[:, 1]]
        return _some(pairs[same], random, most), _some(pairs[~same], random, most)
    order = np.argsort(labels, kind="stable")
    _, starts, counts = np.unique(labels[order], return_index=True, return_counts=True)

    def alike(n_drawn: int) -> np.ndarray:
        chances = counts * (counts - 1.0)
        if not chances.any():
            return np.zeros((0, 2), np.int64)
        drawn = random.choice(len(counts), n_drawn, p=chances / chances.sum())
        one = random.integers(0, counts[drawn])
        other = (one + random.integers(1, counts[drawn])) % counts[drawn]
        return order[starts[drawn][:, None] + np.stack([one, other], axis=1)]

    def unlike(n_drawn: int) -> np.ndarray:
        pairs = random.integers(0, n, (4 * n_drawn, 2))
        return pairs[labels[pairs[:, 0]] != labels[pairs[:, 1]]][:n_drawn]

    return alike(most), unlike(most)


def tuple_pairs(
    tuples: Tuples, seed: int = 0, most: int = MOST_PAIRS
) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs (P, 2) of items that belong together, and pairs that do not.

    Triplets and pairs that are alike or not say so themselves. Of pairs that are all alike, the
    others are anchors with what is no positive of theirs, drawn.
    """
    random = np.random.default_rng(seed)
    members = tuples.members
    if tuples.is_binary:
        assert tuples.scores is not None
        alike, unlike = members[tuples.scores > 0], members[tuples.scores <= 0]
    elif members.shape[1] > 2:
        alike, unlike = members[:, [0, 1]], members[:, [0, 2]]
    else:
        alike = members
        n_drawn = min(most, len(members) * (len(members) - 1))
        rows = random.integers(0, len(members), (4 * n_drawn, 2))
        pairs = np.stack([members[rows[:, 0], 0], members[rows[:, 1], 1]], axis=1)
        known = {(a, b) for a, b in members.tolist()} | {(b, a) for a, b in members.tolist()}
        free = [a != b and (a, b) not in known for a, b in pairs.tolist()]
        unlike = pairs[np.asarray(free, bool)]
    return _some(alike, random, most), _some(unlike, random, most)


def _some(pairs: np.ndarray, random: np.random.Generator, most: int) -> np.ndarray:
    if len(pairs) <= most:
        return pairs
    return pairs[np.sort(random.choice(len(pairs), most, replace=False))]


def cosines_of(unit: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Return the cosine (P,) of each pair of vectors (N, D) of length one."""
    return np.einsum("pd,pd->p", unit[pairs[:, 0]], unit[pairs[:, 1]]).astype(np.float64)


def best_threshold(alike: np.ndarray, unlike: np.ndarray) -> tuple[float, float]:
    """Return the cosine that tells pairs apart best, and its balanced accuracy.

    Pairs of that cosine or more are taken to belong together. It lies in the middle between two
    cosines that occur; of equally good ones the lowest is taken.

    Args:
        alike: (P,) cosines of pairs that belong together, at least one.
        unlike: (P',) of pairs that do not, at least one.
    """
    found = np.unique(np.concatenate([alike, unlike]))
    accuracies = balanced_accuracy(alike, unlike)(found)
    best = int(accuracies.argmax())
    below = found[max(best - 1, 0)]
    return float((found[best] + below) / 2), float(accuracies[best])


def balanced_accuracy(alike: np.ndarray, unlike: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function from thresholds to the mean of both kinds' shares that are told right."""
    high, low = np.sort(alike), np.sort(unlike)

    def accuracy(thresholds: np.ndarray) -> np.ndarray:
        kept = 1 - np.searchsorted(high, thresholds, side="left") / len(high)
        refused = np.searchsorted(low, thresholds, side="left") / len(low)
        return (kept + refused) / 2

    return accuracy


def counted(
    alike: np.ndarray,
    unlike: np.ndarray,
    ends: tuple[float, float],
) -> CosineCounts:
    """Count cosines in bins, and tell the two kinds apart by the best threshold on them.

    Args:
        alike: (P,) cosines of pairs that belong together, at least one.
        unlike: (P',) of pairs that do not, at least one.
        ends: of the bins; no cosine lies outside.
    """
    chosen, accuracy = best_threshold(alike, unlike)
    bins = np.linspace(*ends, N_BINS + 1)
    one, other = (tuple(np.histogram(c, bins)[0].tolist()) for c in (alike, unlike))
    return CosineCounts(ends[0], ends[1], one, other, chosen, accuracy)


def ends_of(*cosines: np.ndarray) -> tuple[float, float]:
    """Return round ends of bins that hold all cosines."""
    low = min(float(c.min()) for c in cosines)
    high = max(float(c.max()) for c in cosines)
    low, high = np.floor(10 * low) / 10, np.ceil(10 * high) / 10
    return float(low), float(max(high, low + 0.1))
