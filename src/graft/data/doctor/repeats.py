"""Equal inputs: repeated, with conflicting labels, and on both sides of the split."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from graft.data.doctor.places import at, kind_of_input, place_of
from graft.data.faults import Finding, Severity, listed
from graft.data.table import Table
from graft.wording import counted


def repeated_rows(exact: Sequence[str]) -> list[list[int]]:
    """Return the groups of rows that have exactly the same input.

    Args:
        exact: (N,) texts that only equal inputs share, as `same_inputs` returns them.
    """
    rows_of: dict[str, list[int]] = defaultdict(list)
    for i, value in enumerate(exact):
        rows_of[value].append(i)
    return [rows for rows in rows_of.values() if len(rows) > 1]


def conflicting(repeated: Sequence[list[int]], labels: Sequence[str]) -> list[list[int]]:
    """Return those groups of equal inputs that have different labels."""
    return [rows for rows in repeated if len({labels[i] for i in rows}) > 1]


def duplicates(
    table: Table,
    exact: Sequence[str],
    labels: Sequence[str],
    part_of_row: np.ndarray,
    *,
    allow_leak: bool,
) -> list[Finding]:
    """Return equal inputs: with other labels, with the same, and across the split.

    Args:
        exact: (N,) texts that only equal inputs share.
        labels: (N,) texts; all alike where there are none.
        part_of_row: (N,) 0 for training, else a part that is held out.
    """
    repeated = repeated_rows(exact)
    (column,) = table.roles.inputs
    findings = []
    for rows in conflicting(repeated, labels):
        names = listed(sorted({labels[i] for i in rows}), n_shown=3, n_chars=40)
        where = listed((place_of(table, i) for i in rows), n_shown=3, n_chars=40)
        message = f"the same {kind_of_input(table)} has different labels ({names}: {where}); "
        message += "keep one or pass --drop-conflicts"
        findings.append(at(table, rows[0], "conflicting-labels", "warn", message, column))
    n_spare = sum(len(rows) - len({labels[i] for i in rows}) for rows in repeated)
    if n_spare:
        n = counted(n_spare, "row repeats", "rows repeat")
        message = f"{n} an earlier row exactly; drop them if that is not meant"
        findings.append(Finding("duplicate-rows", "warn", message, table.name_of_source))
    return findings + leaks(table, repeated, part_of_row, allow_leak=allow_leak)


def leaks(
    table: Table, repeated: Sequence[Sequence[int]], part_of_row: np.ndarray, *, allow_leak: bool
) -> list[Finding]:
    """Return a finding where held-out rows repeat the input of a row of an earlier part.

    Validation may not repeat training, nor the test either: what chose the epoch saw both.
    """
    findings = []
    (column,) = table.roles.inputs
    for number, earlier in enumerate(("train", "validation")):
        leaking = sorted(
            i
            for rows in repeated
            if min((part_of_row[j] for j in rows if part_of_row[j] >= 0), default=-1) == number
            for i in rows
            if part_of_row[i] > number
        )
        if not leaking:
            continue
        examples = listed((place_of(table, i) for i in leaking), n_chars=50)
        n = counted(len(leaking), "held-out row is", "held-out rows are")
        message = f"{n} also in {earlier}, this {kind_of_input(table)} "
        message += f"among them ({examples}); drop them"
        message += " for an honest score" if allow_leak else " or pass --allow-leak"
        severity: Severity = "warn" if allow_leak else "error"
        findings.append(at(table, leaking[0], "leaked-rows", severity, message, column))
    return findings
