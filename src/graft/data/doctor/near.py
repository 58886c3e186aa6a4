"""Held-out rows that are nearly a training row: an honest test does without them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


@dataclass(frozen=True)
class Near:
    """Say which training row a held-out row nearly repeats, and in which way."""

    row: int
    how: str


def near_rows(
    table: Table, exact: Sequence[str], part_of_row: np.ndarray, *, is_deep: bool = False
) -> dict[int, Near]:
    """Return held-out row → training row with the same or nearly the same input.

    Texts are near where they are equal but for case, punctuation and white space, and with
    `is_deep` also where four fifths of their 5-grams are shared; pictures where their
    perceptual hashes are within 6 of 63 bits and their thumbnails correlate by 0.98.

    Args:
        table: N examples; pictures with the thumbnails that `usable` noted.
        exact: (N,) texts that only equal inputs share.
        part_of_row: (N,) 0 for training, else a part that is held out.
        is_deep: take seconds for what a training does not look for.
    """
    trained, held = np.flatnonzero(part_of_row == 0), np.flatnonzero(part_of_row > 0)
    if not len(trained) or not len(held):
        return {}
    if table.roles.modality == "image":
        same = equal_rows(exact, trained, held, "the same file")
        if table.thumbnails is None:
            return same
        nearest, alike = nearest_pictures(table.thumbnails[trained], table.thumbnails[held])
        found = {
            i: Near(
                int(trained[nearest[k]]),
                f"perceptual hashes agree, thumbnails {alike[k]:.1%} alike",
            )
            for k, i in enumerate(held.tolist())
            if nearest[k] >= 0
        }
        return found | same
    texts = [normalised(str(text)) for text in table.inputs()]
    found = equal_rows(texts, trained, held, "equal but for case, punctuation and spaces")
    if is_deep and are_few(texts):
        found = similar_texts(texts, trained, held, found) | found
    return found


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
    values: Sequence[object], trained: np.ndarray, held: np.ndarray, how: str
) -> dict[int, Near]:
    """Return held-out row → the first training row with an equal value."""
    first: dict[object, int] = {}
    for i in trained.tolist():
        first.setdefault(values[i], i)
    return {i: Near(first[values[i]], how) for i in held.tolist() if values[i] in first}


def similar_texts(
    texts: Sequence[str], trained: np.ndarray, held: np.ndarray, known: Mapping[int, Near]
) -> dict[int, Near]:
    """Return held-out row → most similar training row, for those that are not known to be near."""
    base = {texts[i]: i for i in reversed(trained.tolist())}
    asked = [i for i in held.tolist() if i not in known]
    nearest, shared = most_similar(list(base), [texts[i] for i in asked], LEAST_SIMILAR)
    rows = list(base.values())
    return {
        i: Near(rows[nearest[k]], f"{shared[k]:.0%} of their 5-grams are shared")
        for k, i in enumerate(asked)
        if nearest[k] >= 0
    }


def near_faults(table: Table, near: Mapping[int, Near], exact: Sequence[str]) -> list[Finding]:
    """Return a warning for each held-out row that is near a training row without being equal.

    Args:
        exact: (N,) texts that only equal inputs share; those are told elsewhere.
    """
    (column,) = table.roles.inputs
    what = kind_of_input(table)
    findings = []
    for i, found in sorted(near.items()):
        if exact[i] == exact[found.row]:
            continue
        message = f"a held-out {what} that is nearly the training {what} of "
        message += f"{place_of(table, found.row)} ({found.how}); drop one, or read the clean score"
        findings.append(at(table, i, "near-duplicate", "warn", message, column))
    return findings
