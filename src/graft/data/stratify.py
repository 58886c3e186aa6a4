"""Deal rows with several labels each to parts, so that every label keeps its share.

Source: Sechidis, Tsoumakas and Vlahavas 2011, "On the Stratification of Multi-Label Data",
algorithm 1. We deviate in two ways: whole units (groups, or rows with the same input) are dealt
instead of rows, and a row without labels counts as having one of its own kind.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Sequence

import numpy as np

NO_LABEL = ""


def deal_labels(
    labels: Sequence[tuple[str, ...]],
    units: np.ndarray,
    shares: np.ndarray,
    random: np.random.Generator,
    *,
    cover_first: bool = False,
) -> np.ndarray:
    """Return the part of each row when whole units are dealt to parts of the given shares.

    The rarest label comes first: each unit that has it goes to the part that lacks it most, or
    among equals to the part that lacks rows most. No part is left empty while another can spare
    a unit.

    Args:
        labels: the labels of each of N rows.
        units: (N,) rows of one unit share a part.
        shares: (P,) share of the rows that each part should get; they sum to 1.
        random: decides in which order the units of a label are dealt.
        cover_first: whether part 0 gets a unit with every label before the dealing.

    Returns:
        (N,) int64 numbers of parts.
    """
    names, unit_of = np.unique(units, return_inverse=True)
    counts: list[Counter[str]] = [Counter() for _ in names]
    for row, unit in enumerate(unit_of.tolist()):
        counts[unit].update(labels[row] or (NO_LABEL,))
    sizes = np.bincount(unit_of, minlength=len(names)).tolist()
    with_label: dict[str, list[int]] = {}
    # In a shuffled order, so that no part depends on the order of the file.
    order = random.permutation(len(names)).tolist()
    for unit in order:
        for label in counts[unit]:
            with_label.setdefault(label, []).append(unit)
    left = {label: len(found) for label, found in with_label.items()}
    n_of = Counter[str]()
    for count in counts:
        n_of.update(count)
    # Plain lists: a few numbers each, read and changed a hundred thousand times.
    lacks = {label: (shares * n).tolist() for label, n in n_of.items()}
    lacks_rows = (shares * sum(sizes)).tolist()
    part = np.full(len(names), -1, dtype=np.int64)

    def give(unit: int, to: int) -> None:
        part[unit] = to
        lacks_rows[to] -= sizes[unit]
        for label, n in counts[unit].items():
            lacks[label][to] -= n
            left[label] -= 1

    rarest = sorted(left, key=lambda label: (left[label], label))
    if cover_first:
        covered: set[str] = set()
        for label in rarest:
            if label not in covered:
                unit = next(u for u in with_label[label] if part[u] < 0)
                give(unit, 0)
                covered |= counts[unit].keys()
    queue = [(left[label], label) for label in rarest]
    heapq.heapify(queue)
    while queue:
        n_left, label = heapq.heappop(queue)
        if n_left != left[label]:
            if left[label]:
                heapq.heappush(queue, (left[label], label))
            continue
        lack = lacks[label]
        for unit in with_label[label]:
            if part[unit] < 0:
                wants = [(round(lack[p], 9), lacks_rows[p], -p) for p in range(len(shares))]
                give(unit, -max(wants)[2])
    fill_empty(part, counts, len(shares), order, keeps_first=cover_first)
    return part[unit_of]


def fill_empty(
    part: np.ndarray,
    counts: Sequence[Counter[str]],
    n_parts: int,
    order: Sequence[int],
    *,
    keeps_first: bool,
) -> None:
    """Give each empty part one unit of a part that has several, where one can be spared."""
    for empty in range(n_parts):
        n_units = np.bincount(part, minlength=n_parts)
        if n_units[empty]:
            continue
        held = Counter(
            label for unit in np.flatnonzero(part == 0).tolist() for label in counts[unit]
        )
        for unit in order:
            needed = keeps_first and part[unit] == 0 and any(held[c] == 1 for c in counts[unit])
            if n_units[part[unit]] > 1 and not needed:
                part[unit] = empty
                break
