"""Which pairs of items belong together and which do not: all of them, or a sample by a seed.

    (N,) classes, or who belongs to whom ─sample_pairs→ Sample ─cosines_of→ cosines (P,)

The sample depends on the truth alone, so that two models are asked about the same pairs.

Shapes: N items, D width, P pairs, C classes, T tuples, U units.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

MOST_ALIKE, MOST_UNLIKE = 20_000, 100_000
"""Of a FAR of one in a thousand so many unlike pairs leave a hundred."""

FEW_ITEMS = 1_000
"""Of no more items all pairs are listed before some are drawn."""

FEWEST_UNITS, LARGEST_UNIT = 10, 0.25
"""Fewer classes or groups, or one with a larger share of the items, are no sample to draw from."""

BLOCK = 2**14


class Belonging(Protocol):
    """Say who belongs to whom, as `graft.data.tuples.Tuples` does."""

    @property
    def members(self) -> np.ndarray: ...

    @property
    def scores(self) -> np.ndarray | None: ...

    @property
    def grades(self) -> np.ndarray | None: ...


Truth = np.ndarray | Belonging


@dataclass(frozen=True, eq=False)
class Sample:
    """Hold pairs of N items.

    Args:
        pairs: (P, 2) items, each pair once.
        alike: (P,) whether the two belong together.
        units: (N,) what each item is drawn with where intervals are made, numbers below U.
        unit: what that is: `classes`, `groups` of items that share tuples, or single `items`.
    """

    pairs: np.ndarray
    alike: np.ndarray
    units: np.ndarray
    unit: str

    @property
    def n_alike(self) -> int:
        """Return how many pairs belong together."""
        return int(self.alike.sum())

    @property
    def n_unlike(self) -> int:
        """Return how many do not."""
        return len(self.alike) - self.n_alike


def sample_pairs(
    truth: Truth,
    *,
    seed: int = 0,
    most_alike: int = MOST_ALIKE,
    most_unlike: int = MOST_UNLIKE,
) -> Sample | None:
    """Return pairs that belong together and pairs that do not; None where pairs have a score.

    Args:
        truth: (N,) class numbers, below 0 where there is none; or who belongs to whom.
        seed: of the draw, where there are more than
        most_alike: pairs that belong together, or than
        most_unlike: pairs that do not.
    """
    random = np.random.default_rng(seed)
    if isinstance(truth, np.ndarray):
        known = np.flatnonzero(truth >= 0)
        one, other = labelled_pairs(truth[known], random, most_alike, most_unlike)
        one, other = known[one], known[other]
        units = np.zeros(len(truth), np.int64)
        units[known], unit = units_of(np.unique(truth[known], return_inverse=True)[1])
    else:
        if truth.scores is not None and not np.isin(truth.scores, (0.0, 1.0)).all():
            return None
        one, other = tuple_pairs(truth, random, most_alike, most_unlike)
        units, unit = units_of(groups_of(truth.members), "groups")
    alike = np.arange(len(one) + len(other)) < len(one)
    return Sample(np.concatenate([one, other]), alike, units, unit)


def units_of(codes: np.ndarray, what: str = "classes") -> tuple[np.ndarray, str]:
    """Return the unit of each item and what it is: its class, or where those are few the item.

    Args:
        codes: (N,) numbers of their classes, or groups, from 0.
        what: these are.
    """
    sizes = np.bincount(codes)
    if len(sizes) >= FEWEST_UNITS and sizes.max() <= LARGEST_UNIT * len(codes):
        return codes, what
    return np.arange(len(codes)), "items"


def groups_of(members: np.ndarray) -> np.ndarray:
    """Return for each item (N,) the number of its group: items that tuples join, end to end.

    >>> groups_of(np.array([[0, 1], [2, 3], [1, 4]])).tolist()
    [0, 0, 1, 1, 0]
    """
    found = np.arange(int(members.max(initial=-1)) + 1)
    while True:
        lowest = found.copy()
        for role in range(members.shape[1]):
            np.minimum.at(lowest, members[:, role], found[members].min(1))
        lowest = lowest[lowest]
        if np.array_equal(lowest, found):
            return np.unique(found, return_inverse=True)[1]
        found = lowest


def labelled_pairs(
    labels: np.ndarray, random: np.random.Generator, most_alike: int, most_unlike: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs (P, 2) of one class, and pairs of two, no pair twice.

    Args:
        labels: (N,) class numbers.
    """
    n = len(labels)
    if n <= FEW_ITEMS:
        pairs = np.stack(np.triu_indices(n, 1), axis=1)
        same = labels[pairs[:, 0]] == labels[pairs[:, 1]]
        return _some(pairs[same], random, most_alike), _some(pairs[~same], random, most_unlike)
    order = np.argsort(labels, kind="stable")
    _, starts, counts = np.unique(labels[order], return_index=True, return_counts=True)
    chances = counts * (counts - 1.0)
    alike = np.zeros((0, 2), np.int64)
    if chances.any():
        drawn = random.choice(len(counts), 2 * most_alike, p=chances / chances.sum())
        one = random.integers(0, counts[drawn])
        other = (one + random.integers(1, counts[drawn])) % counts[drawn]
        alike = order[starts[drawn][:, None] + np.stack([one, other], axis=1)]
    unlike = random.integers(0, n, (4 * most_unlike, 2))
    unlike = unlike[labels[unlike[:, 0]] != labels[unlike[:, 1]]]
    return (
        _some(_once(np.sort(alike, axis=1)), random, most_alike),
        _some(_once(np.sort(unlike, axis=1)), random, most_unlike),
    )


def tuple_pairs(
    truth: Belonging, random: np.random.Generator, most_alike: int, most_unlike: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs (P, 2) of items that belong together, and pairs that do not, no pair twice.

    Triplets and pairs that are alike or not say so themselves. Of pairs that are all alike, the
    others are anchors with what is no positive of theirs.
    """
    members = truth.members
    if truth.scores is not None:
        alike, unlike = members[truth.scores > 0], members[truth.scores <= 0]
    elif members.shape[1] > 2:
        alike, unlike = members[:, [0, 1]], members[:, [0, 2]]
    else:
        alike, unlike = members, _strangers(members, random, most_unlike)
    return _some(_once(alike), random, most_alike), _some(_once(unlike), random, most_unlike)


def _strangers(members: np.ndarray, random: np.random.Generator, most: int) -> np.ndarray:
    """Return anchors with what is no positive of theirs, all of them or more than `most`."""
    anchors, others = np.unique(members[:, 0]), np.unique(members[:, 1])
    if len(anchors) * len(others) <= 4 * most:
        pairs = np.stack([g.ravel() for g in np.meshgrid(anchors, others, indexing="ij")], axis=1)
    else:
        pairs = np.stack([random.choice(side, 4 * most) for side in (anchors, others)], axis=1)
    width = int(members.max(initial=0)) + 1
    known = np.concatenate([members @ [width, 1], members @ [1, width]])
    free = (pairs[:, 0] != pairs[:, 1]) & ~np.isin(pairs @ [width, 1], known)
    return pairs[free]


def _once(pairs: np.ndarray) -> np.ndarray:
    """Return each pair once, in the order in which they are met first."""
    width = int(pairs.max(initial=0)) + 1
    return pairs[np.sort(np.unique(pairs @ [width, 1], return_index=True)[1])]


def _some(pairs: np.ndarray, random: np.random.Generator, most: int) -> np.ndarray:
    if len(pairs) <= most:
        return pairs
    return pairs[np.sort(random.choice(len(pairs), most, replace=False))]


def cosines_of(unit: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Return the cosine (P,) of each pair of vectors (N, D) of length one."""
    found = np.zeros(len(pairs))
    for start in range(0, len(pairs), BLOCK):
        one, other = pairs[start : start + BLOCK].T
        found[start : start + BLOCK] = np.einsum("pd,pd->p", unit[one], unit[other])
    return found
