"""Changes of the data that a user asked for: labels written alike, classes and conflicts dropped.

Each returns the changed table and what to say of the change; a table that needs none comes back
as it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from graft.data.doctor.labels import variants_of
from graft.data.doctor.repeats import conflicting, repeated_rows
from graft.data.faults import Finding, data_error, listed
from graft.data.split import same_inputs
from graft.data.table import Table
from graft.wording import counted

Mended = tuple[Table, tuple[Finding, ...]]


def mended(
    table: Table, *, fold_labels: bool, drop_conflicts: bool, min_per_class: int | None
) -> Mended:
    """Apply the mends that are asked for, in this order.

    Args:
        table: N examples with labels.
        fold_labels: write labels alike that differ only in case or spaces.
        drop_conflicts: drop all rows of an input that has different labels.
        min_per_class: drop classes with fewer rows.

    Raises:
        DataError: a mend has no meaning for such labels, or leaves nothing.
    """
    findings: tuple[Finding, ...] = ()
    if table.roles.label is None:  # said elsewhere
        return table, findings
    if table.target_kind == "number" and fold_labels:
        raise without_meaning(table, "--fold-labels")
    if table.target_kind != "single" and min_per_class is not None:
        raise without_meaning(table, "--min-per-class")
    steps = (
        (fold_labels, folded_labels),
        (drop_conflicts, without_conflicts),
        (min_per_class is not None, lambda t: without_small_classes(t, min_per_class or 1)),
    )
    for is_asked, step in steps:
        if is_asked:
            table, found = step(table)
            findings += found
    if findings and not len(table):
        message = "nothing is left after the mends that were asked for; ask for fewer"
        raise data_error(message, path=table.name_of_source)
    return table, findings


def without_meaning(table: Table, flag: str) -> Exception:
    """Return the error for a mend that goes with another kind of label."""
    kind = "numbers" if table.target_kind == "number" else "several labels a row"
    message = f"holds {kind}, for which {flag} has no meaning; leave it out"
    return data_error(message, path=table.name_of_source, column=table.roles.label)


def folded_labels(table: Table) -> Mended:
    """Write labels that differ only in case, spaces or composition as their most frequent form."""
    lists = table.label_lists() or []
    counts = Counter(label for found in lists for label in found or ())
    spelling: dict[str, str] = {}
    for variants in variants_of(counts):
        usual = min(variants, key=lambda v: (-counts[v], v))
        spelling |= dict.fromkeys(variants, usual.strip())
    changed = {v: usual for v, usual in spelling.items() if v != usual}
    if not changed:
        return table, ()
    n_rows = sum(counts[v] for v in changed)
    names = listed(f"{v!r} to {usual!r}" for v, usual in sorted(changed.items()))
    message = (
        f"{counted(n_rows, 'label was', 'labels were')} written as the usual spelling ({names})"
    )
    return with_labels(table, lists, changed), (
        Finding("folded-labels", "repair", message, table.name_of_source, None, table.roles.label),
    )


def with_labels(
    table: Table, lists: list[tuple[str, ...] | None], spelling: Mapping[str, str]
) -> Table:
    """Return the table with labels spelt anew."""
    import pyarrow as pa

    assert table.roles.label is not None
    new = [None if x is None else list(dict.fromkeys(spelling.get(v, v) for v in x)) for x in lists]
    if table.target_kind == "multi":
        column = pa.array(new, pa.list_(pa.large_string()))
    else:
        column = pa.array([x[0] if x else None for x in new], pa.large_string())
    i = table.columns.index(table.roles.label)
    return replace(table, data=table.data.set_column(i, table.roles.label, column))


def without_conflicts(table: Table) -> Mended:
    """Drop every row whose input stands elsewhere with another label: none of them is known."""
    found = conflicting(repeated_rows(same_inputs(table)), table.labels() or [])
    if not found:
        return table, ()
    dropped = sorted(i for rows in found for i in rows)
    message = (
        f"{counted(len(dropped), 'row')} of {counted(len(found), 'input')} with different labels "
    )
    message += "were dropped"
    finding = Finding("dropped-conflicts", "repair", message, table.name_of_source)
    return table.take(np.setdiff1d(np.arange(len(table)), dropped)), (finding,)


def without_small_classes(table: Table, fewest: int) -> Mended:
    """Drop classes with fewer than `fewest` rows."""
    labels = table.labels() or []
    counts = Counter(labels)
    small = sorted(label for label, n in counts.items() if n < fewest)
    if not small:
        return table, ()
    kept = np.array([i for i, label in enumerate(labels) if counts[label] >= fewest], np.int64)
    n = f"{len(small):,} {'class' if len(small) == 1 else 'classes'}"
    message = f"{n} with under {fewest} rows left out ({listed(small)})"
    finding = Finding(
        "dropped-classes", "repair", message, table.name_of_source, None, table.roles.label
    )
    return table.take(kept), (finding,)
