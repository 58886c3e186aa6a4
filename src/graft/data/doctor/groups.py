"""Groups that a split tears apart, columns that look like one, and ids that come twice."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

import numpy as np

from graft.data.doctor.places import at
from graft.data.faults import Finding, listed, shorten
from graft.data.roles import plain
from graft.data.table import Table

ID_NAMES = frozenset(
    ["id", "ids", "uid", "uuid", "guid", "key", "row_id", "sample_id", "example_id", "item_id"]
)
GROUP_NAMES = re.compile(
    r"(patient|subject|speaker|person|participant|user|author|writer|customer|client|session|"
    r"group|family|household|hospital|site|device|camera|video|scene|series|study|document|"
    r"thread|conversation|dialogue)s?(_?(id|ids|no|nr|num|number|name|key|code))?"
)
SMALLEST_GROUP = 2
LARGEST_SHARE_OF_IDS_REPEATED = 0.1


def torn_groups(table: Table, part_of_row: np.ndarray) -> list[Finding]:
    """Return an error where a group of the group column lies on both sides of the split."""
    column = table.roles.group
    if column is None:
        return []
    torn = torn_values(table, column, part_of_row)
    if not torn:
        return []
    n = "1 group is" if len(torn) == 1 else f"{len(torn)} groups are"
    message = f"{n} in more than one part ({listed(torn)}); give each group one part, or leave out "
    message += "the split and let it be drawn"
    return [at(table, min(torn.values()), "torn-group", "error", message, column)]


def torn_values(table: Table, column: str, part_of_row: np.ndarray) -> dict[str, int]:
    """Return value → first row that is in another part of the split than the value's first."""
    first_part: dict[object, int] = {}
    torn: dict[str, int] = {}
    for i, value in enumerate(table.column(column)):
        if value is None or str(value).strip() == "":
            continue
        if part_of_row[i] != first_part.setdefault(value, int(part_of_row[i])):
            torn.setdefault(str(value), i)
    return torn


def likely_groups(table: Table, part_of_row: np.ndarray) -> list[Finding]:
    """Return a warning for each column that is named like a group and is torn by the split."""
    if table.roles.group is not None:
        return []
    findings = []
    for column in free_columns(table):
        if not GROUP_NAMES.fullmatch(plain(column)):
            continue
        values = [v for v in table.column(column) if v is not None and str(v).strip()]
        n_groups = len(set(map(str, values)))
        if n_groups < 2 or len(values) < SMALLEST_GROUP * n_groups:
            continue
        torn = torn_values(table, column, part_of_row)
        if torn:
            message = f"looks like groups, of which {len(torn):,} of {n_groups:,} are on both "
            message += f"sides of the split ({listed(torn, n_shown=3, n_chars=30)}); pass --group "
            message += f"{shorten(column, 24)} if so"
            findings.append(at(table, min(torn.values()), "likely-group", "warn", message, column))
    return findings


def repeated_ids(table: Table) -> list[Finding]:
    """Return a warning where a column of ids names several rows alike."""
    findings = []
    for column in free_columns(table):
        if plain(column) not in ID_NAMES:
            continue
        values = [None if v is None else str(v) for v in table.column(column)]
        counts = Counter(v for v in values if v)
        twice = [v for v, n in counts.items() if n > 1]
        # ids of which most come back name something else than rows
        if not twice or len(twice) > LARGEST_SHARE_OF_IDS_REPEATED * len(counts):
            continue
        first = values.index(twice[0], values.index(twice[0]) + 1)
        n = "1 id names" if len(twice) == 1 else f"{len(twice):,} ids name"
        message = f"{n} several rows each ({listed(twice, n_shown=3)}); give every row an id of "
        message += "its own"
        findings.append(at(table, first, "duplicate-ids", "warn", message, column))
    return findings


def free_columns(table: Table) -> Iterator[str]:
    """Yield the columns that have no role."""
    roles = table.roles
    taken = {*roles.inputs, roles.label, roles.group, roles.split}
    yield from (column for column in table.columns if column not in taken)
