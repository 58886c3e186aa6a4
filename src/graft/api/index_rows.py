"""From data to the rows of an index: ids, places, cells, vectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from graft.api.embedding import Embedder
from graft.data.doctor.groups import ID_NAMES
from graft.data.faults import Finding, data_error, shorten
from graft.data.roles import no_column, plain
from graft.data.table import Table, is_embedded
from graft.retrieval.rows import Row
from graft.retrieval.segments import Batch


@dataclass(frozen=True, eq=False)
class Rows:
    """Hold what of some data can be indexed.

    Args:
        batch: rows with their vectors.
        findings: rows that could not be used, and what else was noticed.
        n_skipped: rows that could not be used.
        notes: what else is worth knowing, a sentence each.
    """

    batch: Batch
    findings: tuple[Finding, ...]
    n_skipped: int
    notes: tuple[str, ...] = ()


def rows_of(
    embedder: Embedder, table: Table, *, from_files: bool, id_column: str | None, side: str = ""
) -> Rows:
    """Return the rows of a table with one input each.

    Args:
        embedder: that makes the vectors.
        table: what is indexed.
        from_files: whether it was read from files.
        id_column: that names the rows; one named like ids unless given, or else file and row.
        side: of the index, where it has two.

    Raises:
        DataError: there is no such column, an id is missing, or one names two rows.
    """
    ids = ids_of(table, id_column)  # before anything is computed
    found = embedder.embed(table, from_files=from_files)
    kept = np.flatnonzero(~np.isnan(found.features).all(1))
    inputs = [str(value) for value in table.inputs()]
    columns = shown_columns(table)
    rows = [
        Row(
            ids[i],
            found.origins[i].path,
            found.origins[i].row,
            inputs[i],
            {name: values[i] for name, values in columns.items()},
            side,
        )
        for i in kept.tolist()
    ]
    return Rows(Batch(found.features[kept], rows), found.findings, len(ids) - len(rows))


def shown_columns(table: Table) -> Mapping[str, list[Any]]:
    """Return the columns that an index keeps: all but pictures that are stored as bytes."""
    names = [n for n in table.columns if not is_embedded(table.data.column(n).type)]
    return {name: table.column(name) for name in names}


def ids_of(table: Table, column: str | None) -> list[str]:
    """Return what names each row: its id, or else its place.

    Raises:
        DataError: there is no such column, an id is missing, or one names two rows.
    """
    origins = [table.origin(i) for i in range(len(table))]
    column = column or _id_column(table)
    if column is None:
        return [o.path if o.row is None else f"{o.path}:{o.row}" for o in origins]
    ids = filled_ids(table, column)
    first: dict[str, int] = {}
    for i, id in enumerate(ids):
        if first.setdefault(id, i) != i:
            message = f"id `{shorten(id, 40)}` names an earlier row too; give every row an id of "
            message += "its own, rename the column, or name another one with --id"
            raise data_error(message, path=origins[i].path, row=origins[i].row, column=column)
    return ids


def filled_ids(table: Table, column: str) -> list[str]:
    """Return the ids that a column holds.

    Raises:
        DataError: there is no such column, or an id is missing.
    """
    if column not in table.columns:
        raise no_column(column, list(table.columns), flag="id", path=table.name_of_source)
    ids = ["" if value is None else str(value).strip() for value in table.column(column)]
    if "" in ids:
        place = table.origin(ids.index(""))
        message = "holds no id; fill it, or name another column with --id"
        raise data_error(message, path=place.path, row=place.row, column=column)
    return ids


def _id_column(table: Table) -> str | None:
    """Return the column that is named like one of ids, the first that names every row differently.

    Where none of them does it is the first, whose repeated ids are then an error.
    """
    named = [n for n in table.columns if plain(n) in ID_NAMES and n not in table.roles.inputs]
    whole = (n for n in named if len(set(map(str, table.column(n)))) == len(table))
    return next(whole, named[0] if named else None)
