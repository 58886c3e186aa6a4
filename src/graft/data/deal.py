"""Deal rows of one class each to parts: by share, by group, and never apart what belongs together.

A unit is what stays together: the rows of a group, or the rows with the same input.
"""

from __future__ import annotations

import numpy as np


def merged(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return (N,) units of which each holds whole units of both, as small as can be."""
    parent = np.arange(one.max(initial=-1) + 1)

    def root(unit: int) -> int:
        while parent[unit] != unit:
            parent[unit] = parent[parent[unit]]
            unit = int(parent[unit])
        return unit

    first: dict[int, int] = {}
    for a, b in zip(one.tolist(), other.tolist(), strict=True):
        # The smaller number becomes the root, so the result does not depend on any order.
        low, high = sorted((root(a), root(first.setdefault(b, a))))
        parent[high] = low
    return np.array([root(a) for a in one.tolist()], dtype=np.int64)


def draw(
    classes: np.ndarray, units: np.ndarray, share: float, random: np.random.Generator
) -> np.ndarray:
    """Return an (N,) mask of a share of the units, spread evenly over the classes.

    One unit of each class is left behind; at least one is drawn where there is one to draw. A
    unit of several rows counts for the class of its first.
    """
    _, first_of, unit_of = np.unique(units, return_index=True, return_inverse=True)
    shuffled = random.permutation(len(classes))
    by_class = shuffled[np.argsort(classes[shuffled], kind="stable")]
    ordered = classes[by_class]
    first = np.r_[True, ordered[1:] != ordered[:-1]]
    stays = np.zeros(len(first_of), dtype=bool)
    stays[unit_of[by_class[first]]] = True
    speaks = np.zeros(len(classes), dtype=bool)
    speaks[first_of] = True
    spare = by_class[speaks[by_class] & ~stays[unit_of[by_class]]]
    n = min(max(round(share * len(first_of)), 1), len(spare))
    # n marks at equal steps along the units ordered by class: each class gets its share.
    steps = np.floor((np.arange(len(spare) + 1) + random.random()) * n / max(len(spare), 1))
    drawn = np.zeros(len(first_of), dtype=bool)
    drawn[unit_of[spare[np.diff(steps) > 0]]] = True
    return drawn[unit_of]


def deal_groups(
    classes: np.ndarray,
    groups: np.ndarray,
    shares: np.ndarray,
    random: np.random.Generator,
    *,
    cover_first: bool = False,
) -> np.ndarray:
    """Return the part (N,) of each row when whole groups are dealt to parts of the given shares.

    Large groups are dealt first, each to the part that lacks its classes most; then no part is
    left empty as long as another can spare a group. With `cover_first`, part 0 gets a group of
    every class before the dealing.
    """
    names, group_of = np.unique(groups, return_inverse=True)
    _, class_of = np.unique(classes, return_inverse=True)
    counts = np.zeros((len(names), class_of.max() + 1))
    np.add.at(counts, (group_of, class_of), 1)
    size_of_class = counts.sum(axis=0)
    missing = shares[:, None] * size_of_class
    part = np.full(len(names), -1)
    shuffled = random.permutation(len(names))

    if cover_first:
        held = np.zeros(len(size_of_class), dtype=bool)
        for c in np.argsort(size_of_class, kind="stable"):
            if not held[c]:
                group = next(g for g in shuffled if counts[g, c])
                part[group] = 0
                held |= counts[group] > 0
        missing[0] -= counts[part == 0].sum(axis=0)

    by_size = shuffled[np.argsort(-counts[shuffled].sum(axis=1), kind="stable")]
    for group in by_size[part[by_size] < 0]:
        # Weighing a class by its size keeps a rare one from being dealt by chance.
        part[group] = np.argmax((missing * (counts[group] / size_of_class)).sum(axis=1))
        missing[part[group]] -= counts[group]

    pinned = np.zeros(len(names), dtype=bool)
    for empty in np.flatnonzero(~np.isin(np.arange(len(shares)), part)):
        n_groups = np.bincount(part, minlength=len(shares))
        spare = [g for g in by_size[::-1] if n_groups[part[g]] > 1 and not pinned[g]]
        if cover_first:
            spare = [g for g in spare if keeps_classes(counts, part, g)]
        if spare:
            part[spare[0]] = empty
            pinned[spare[0]] = True
    return part[group_of].astype(np.int64)


def with_two_groups(groups: np.ndarray, is_taken: np.ndarray) -> np.ndarray:
    """Return the mask (N,) with a second group, the smallest of two rows or more.

    It is as it was where more than one group is taken, or where fewer than three would stay.
    """
    names, sizes = np.unique(groups[~is_taken], return_counts=True)
    fit = np.flatnonzero(sizes > 1)
    if len(np.unique(groups[is_taken])) != 1 or len(names) < 4 or not len(fit):
        return is_taken
    return is_taken | (groups == names[fit[np.argmin(sizes[fit])]])


def keeps_classes(counts: np.ndarray, part: np.ndarray, group: int) -> bool:
    """Tell whether part 0 still holds every class after it gave `group` away."""
    kept = part == 0
    kept[group] = False
    return bool((counts[kept].sum(axis=0) > 0)[counts[group] > 0].all())
