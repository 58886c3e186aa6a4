"""Faults of pairs and triplets: columns that look swapped, items paired with themselves."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from graft.data.doctor.places import at
from graft.data.faults import Finding
from graft.data.roles import plain
from graft.data.split import Splits, part_numbers, units_of
from graft.data.table import Table
from graft.data.tuples import holds_relevance
from graft.wording import counted

QUERIES = frozenset(["query", "question", "anchor"])
"""Names of what asks; what belongs to it is rarely much shorter."""
MUCH_LONGER = 2.0
FEWEST_COMPARED = 20
MOST_COMPARED = 2_000
LARGEST_SHARE = 0.6
"""Of the triplets that words tell apart, those whose negative looks nearer than the positive."""


def tuple_faults(table: Table, splits: Splits, *, allow_leak: bool = False) -> list[Finding]:
    """Return what is wrong with a table of pairs or triplets as a whole.

    Args:
        table: N usable examples of R inputs each.
        splits: their rows for training, validation and test.
        allow_leak: only warn where a held-out example is also a training example.
    """
    columns = [[str(value) for value in view.inputs()] for view in table.views()]
    findings = [*equal_items(table, columns), *leaks(table, splits, allow_leak=allow_leak)]
    if table.roles.modality == "text":
        findings += swapped_columns(table, columns)
    if table.roles.label is not None:
        numbers = table.numbers()
        assert numbers is not None
        if holds_relevance(table.roles):
            findings += irrelevant_parts(table, splits, numbers)
        elif len(numbers) and np.ptp(numbers) == 0:
            message = f"every pair has {numbers[0]:g}; nothing tells alike from unlike, so write "
            message += "scores that differ, or leave the column out with other names"
            findings.append(at(table, 0, "constant-scores", "error", message, table.roles.label))
    return findings


def irrelevant_parts(table: Table, splits: Splits, numbers: np.ndarray) -> list[Finding]:
    """Return an error for each part in which no document is relevant to its query."""
    parts = {"train": splits.train, "validation": splits.validation, "test": splits.test}
    return [
        at(
            table,
            int(rows[0]),
            "nothing-relevant",
            "error",
            f"no row of {name} is above 0, and 0 means not relevant; add some, or correct --label",
            table.roles.label,
        )
        for name, rows in parts.items()
        if len(rows) and not (numbers[rows] > 0).any()
    ]


def equal_items(table: Table, columns: Sequence[Sequence[str]]) -> list[Finding]:
    """Return a finding for every two columns that hold the same item in a row."""
    if table.roles.label is not None:  # to say that equal texts are alike is no fault
        return []
    findings = []
    names = table.roles.inputs
    for one, other in combinations(range(len(columns)), 2):
        both = zip(columns[one], columns[other], strict=True)
        same = [i for i, (a, b) in enumerate(both) if a == b]
        if not same:
            continue
        first, second = names[one], names[other]
        if len(same) == len(table):
            message = f"`{second}` equals `{first}` in every row; name two different columns"
            findings.append(at(table, same[0], "equal-items", "error", message, second))
            continue
        message = f"`{second}` equals `{first}` in {len(same):,} of {len(table):,} rows; nothing "
        message += "is learned from them, so drop them"
        findings.append(at(table, same[0], "equal-items", "warn", message, second))
    return findings


def leaks(table: Table, splits: Splits, *, allow_leak: bool) -> list[Finding]:
    """Return a finding where a held-out example is a training example too."""
    keys, parts = units_of(table), part_numbers(splits, len(table))
    told: set[int] = set()
    findings = []
    for number, earlier in enumerate(("training", "validation"), start=1):
        seen = {keys[i] for i in np.flatnonzero(parts == number - 1).tolist()}
        later = [i for i in np.flatnonzero(parts >= number).tolist() if i not in told]
        found = [i for i in later if keys[i] in seen]
        if not found:
            continue
        told.update(found)
        what = "a query" if holds_relevance(table.roles) else "an example"
        n = counted(len(found), f"held-out row has {what}", f"held-out rows have {what}")
        message = f"{n} of {earlier} too, as this one; drop them or pass --allow-leak"
        findings.append(at(table, found[0], "leak", "warn" if allow_leak else "error", message))
    return findings


def swapped_columns(table: Table, columns: Sequence[Sequence[str]]) -> list[Finding]:
    """Return warnings where columns of texts look as if they stood in each other's place."""
    names = table.roles.inputs
    found = []
    lengths = [sum(map(len, column)) / max(len(column), 1) for column in columns]
    if plain(names[0]) in QUERIES and lengths[0] > MUCH_LONGER * lengths[1] > 0:
        message = f"`{names[0]}` is {lengths[0] / lengths[1]:.0f} times as long as `{names[1]}`; "
        message += f"if they are swapped, pass --input {','.join([names[1], names[0], *names[2:]])}"
        found.append(at(table, 0, "swapped-columns", "warn", message, names[0]))
    if len(names) == 3:
        share, n = nearer_negatives(columns)
        if n >= FEWEST_COMPARED and share > LARGEST_SHARE:
            message = f"in {share:.0%} of the rows `{names[2]}` shares more words with "
            message += f"`{names[0]}` than `{names[1]}` does; if they are swapped, pass "
            message += f"--input {names[0]},{names[2]},{names[1]}"
            found.append(at(table, 0, "swapped-columns", "warn", message, names[1]))
    return found


def nearer_negatives(columns: Sequence[Sequence[str]]) -> tuple[float, int]:
    """Return the share of triplets whose negative has more words of the anchor, and of how many."""
    n_nearer, n = 0, 0
    for anchor, positive, negative in zip(*(c[:MOST_COMPARED] for c in columns), strict=True):
        words = set(anchor.casefold().split())
        near, far = (len(words & set(x.casefold().split())) for x in (positive, negative))
        n += near != far
        n_nearer += far > near
    return n_nearer / max(n, 1), n
