"""Held-out rows that are nearly a row of an earlier part: an honest test does without them.

Validation is held against training, the test against both: what chose the epoch or the method has
seen the validation rows too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from graft.data.doctor.near_pictures import nearest_pictures
from graft.data.doctor.near_texts import LONGEST_TEXT, most_similar
from graft.data.doctor.places import at, kind_of_input, place_of
from graft.data.doctor.texts import normalised
from graft.data.faults import Finding
from graft.data.table import Table

LEAST_SIMILAR = 0.8
MOST_ROWS_COMPARED = 200_000
MOST_CHARACTERS_COMPARED = 20_000_000
"""Beyond these the search for similar texts takes minutes and gigabytes."""

OF_PART = ("training", "validation", "test")
"""What a row of each part is called, by the numbers of `part_numbers`."""


@dataclass(frozen=True)
class Near:
    """Say which row of an earlier part a held-out row nearly repeats, and in which way."""

    row: int
    how: str


def with_earlier(part_of_row: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the rows of the parts before a held-out part, training first, and its own rows.

    Args:
        part_of_row: (N,) as `part_numbers` returns them.
    """
    by_part = [np.flatnonzero(part_of_row == number) for number in range(len(OF_PART))]
    for number in range(1, len(OF_PART)):
        earlier = np.concatenate(by_part[:number])
        if len(earlier) and len(by_part[number]):
            yield earlier, by_part[number]


def near_rows(
    table: Table, exact: Sequence[str], part_of_row: np.ndarray, *, is_deep: bool = False
) -> dict[int, Near]:
    """Return held-out row → row of an earlier part with the same or nearly the same input.

    Texts are near where they are equal but for case, punctuation and white space, and with
    `is_deep` also where four fifths of their 5-grams are shared; pictures where their
    perceptual hashes are within 6 of 63 bits and their thumbnails correlate by 0.98.

    Args:
        table: N examples; pictures with the thumbnails that `usable` noted.
        exact: (N,) texts that only equal inputs share.
        part_of_row: (N,) 0 for training, else a part that is held out.
        is_deep: take seconds for what a training does not look for.
    """
    found: dict[int, Near] = {}
    if table.roles.modality == "image":
        for earlier, held in with_earlier(part_of_row):
            found |= near_pictures(table, exact, earlier, held)
        return found
    texts = [normalised(str(text)) for text in table.inputs()]
    for earlier, held in with_earlier(part_of_row):
        found |= equal_rows(texts, earlier, held, "equal but for case, punctuation and spaces")
        if is_deep and are_few(texts):
            found |= similar_texts(texts, earlier, held, found)
    return found


def near_pictures(
    table: Table, exact: Sequence[str], earlier: np.ndarray, held: np.ndarray
) -> dict[int, Near]:
    """Return held-out row → row of an earlier part with the same or nearly the same picture."""
    same = equal_rows(exact, earlier, held, "the same file")
    if table.thumbnails is None:
        return same
    nearest, alike = nearest_pictures(table.thumbnails[earlier], table.thumbnails[held])
    found = {
        i: Near(
            int(earlier[nearest[k]]), f"perceptual hashes agree, thumbnails {alike[k]:.1%} alike"
        )
        for k, i in enumerate(held.tolist())
        if nearest[k] >= 0
    }
    return found | same


def are_few(texts: Sequence[str]) -> bool:
    """Return whether texts are few and short enough to be compared."""
    if len(texts) > MOST_ROWS_COMPARED:
        return False
    return sum(min(len(text), LONGEST_TEXT) for text in texts) <= MOST_CHARACTERS_COMPARED


def not_compared(table: Table, part_of_row: np.ndarray) -> list[Finding]:
    """Return a warning where similar texts were not looked for, because there are too many."""
    n_held = int((part_of_row > 0).sum())
    if table.roles.modality != "text" or not 0 < n_held < len(table):
        return []
    texts = [str(text) for text in table.inputs()]
    if are_few(texts):
        return []
    message = f"similar texts were not looked for: {len(table):,} rows of {sum(map(len, texts)):,} "
    message += "characters are too many; examine a part of them, or pass --model"
    return [Finding("not-compared", "warn", message, table.name_of_source)]


def equal_rows(
    values: Sequence[object], earlier: np.ndarray, held: np.ndarray, how: str
) -> dict[int, Near]:
    """Return held-out row → the first earlier row with an equal value."""
    first: dict[object, int] = {}
    for i in earlier.tolist():
        first.setdefault(values[i], i)
    return {i: Near(first[values[i]], how) for i in held.tolist() if values[i] in first}


def similar_texts(
    texts: Sequence[str], earlier: np.ndarray, held: np.ndarray, known: Mapping[int, Near]
) -> dict[int, Near]:
    """Return held-out row → most similar earlier row, for those that are not known to be near."""
    base = {texts[i]: i for i in reversed(earlier.tolist())}
    asked = [i for i in held.tolist() if i not in known]
    nearest, shared = most_similar(list(base), [texts[i] for i in asked], LEAST_SIMILAR)
    rows = list(base.values())
    return {
        i: Near(rows[nearest[k]], f"{shared[k]:.0%} of their 5-grams are shared")
        for k, i in enumerate(asked)
        if nearest[k] >= 0
    }


def near_faults(
    table: Table, near: Mapping[int, Near], exact: Sequence[str], part_of_row: np.ndarray
) -> list[Finding]:
    """Return a warning for each held-out row that is near an earlier row without being equal.

    Args:
        exact: (N,) texts that only equal inputs share; those are told elsewhere.
    """
    (column,) = table.roles.inputs
    what = kind_of_input(table)
    findings = []
    for i, found in sorted(near.items()):
        if exact[i] == exact[found.row]:
            continue
        own, earlier = (OF_PART[part_of_row[row]] for row in (i, found.row))
        message = f"a {own} {what} that is nearly the {earlier} {what} of "
        message += f"{place_of(table, found.row)} ({found.how}); drop one, or read the clean score"
        findings.append(at(table, i, "near-duplicate", "warn", message, column))
    return findings
