"""Labels that are likely a slip of the pen: very few rows, and nearly the name of a large class."""

from __future__ import annotations

import re
from collections.abc import Mapping

FEWEST_ROWS = 3
"""A class with fewer rows than this may be a typo."""

N_ROWS_OF_LARGE = 20
MOST_RARE_CLASSES = 200
SHORTEST_LABEL = 3
LONG_LABEL = 8


def likely_typos(counts: Mapping[str, int]) -> list[tuple[str, str]]:
    """Return pairs of a rare label and the common one that it may be meant as.

    They differ by one letter, two where the common one has eight or more; a swap of neighbours
    counts as one. Labels that differ only in their digits, such as `class 1` and `class 2`, are
    meant.

    Args:
        counts: label → number of its rows.
    """
    rare = sorted(label for label, n in counts.items() if n < FEWEST_ROWS)
    large = sorted((x for x, n in counts.items() if n >= N_ROWS_OF_LARGE), key=lambda x: -counts[x])
    if len(rare) > MOST_RARE_CLASSES:
        return []  # many small classes are the nature of such data
    found = []
    for label in rare:
        for common in large:
            allowed = 2 if len(common) >= LONG_LABEL else 1
            short = min(len(label), len(common)) < SHORTEST_LABEL
            if short or label.strip().casefold() == common.strip().casefold():
                continue
            if without_digits(label) == without_digits(common):
                continue
            if distance(label, common, allowed) <= allowed:
                found.append((label, common))
                break
    return found


def without_digits(label: str) -> str:
    """Return a label with every number written alike."""
    return re.sub(r"\d+", "0", label)


def distance(a: str, b: str, most: int) -> int:
    """Return how many letters are put in, left out, exchanged or swapped; `most` + 1 if more.

    Source: Damerau 1964, "A Technique for Computer Detection and Correction of Spelling Errors",
    in the restricted form (no letter is edited twice).

    >>> distance("cat", "cats", 2), distance("recieve", "receive", 2), distance("ant", "bee", 1)
    (1, 1, 2)
    """
    if abs(len(a) - len(b)) > most:
        return most + 1
    before, row = [0] * (len(b) + 1), list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        above, row, oldest = row, [i], before
        for j, y in enumerate(b, start=1):
            cost = min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, oldest[j - 2] + 1)
            row.append(cost)
        before = above
        if min(row) > most:
            return most + 1
    return min(row[-1], most + 1)
