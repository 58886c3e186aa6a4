"""What an index keeps of each row: id, place, input and cells, in one SQLite file per segment.

A file is written once and then only read, so it is opened as immutable: without locks, and by any
number of readers. Cells are kept twice: as they came, as JSON, to be shown; and by column, a number
where every filled cell of the column is one, else a text, to be compared.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from graft.errors import InputError
from graft.retrieval.filters import Condition, as_number, as_text

MOST_COLUMNS = 1_000
"""SQLite takes 2,000 columns in a table unless it was built otherwise."""
AT_ONCE = 500
"""Values bound to one statement."""


@dataclass(frozen=True)
class Row:
    """Say what an index knows of a row.

    Args:
        id: names it; no two rows of an index have the same.
        path: the file that it came from, as the user named it.
        number: 1-based data row in it, None where the file itself is the example.
        input: the text, or the path of the image.
        cells: column → value.
        side: `image` or `text` where an index holds both; empty where it holds one kind of rows.
        owner: id of the row that this one belongs to and is deleted with; empty for none.
    """

    id: str
    path: str
    number: int | None
    input: str
    cells: Mapping[str, Any] = field(default_factory=dict)
    side: str = ""
    owner: str = ""


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write the rows of a segment, in the order of their vectors.

    Raises:
        InputError: they have too many columns.
    """
    columns = list(dict.fromkeys(name for row in rows for name in row.cells))
    if len(columns) > MOST_COLUMNS:
        raise InputError(
            f"{rows[0].path}: {len(columns):,} columns, and an index keeps {MOST_COLUMNS:,}; drop "
            "some from the table"
        )
    are_numbers = [_are_numbers(row.cells.get(name) for row in rows) for name in columns]
    base = sqlite3.connect(path)
    try:
        # the folder is brought to the disk whole, or thrown away
        base.execute("PRAGMA journal_mode=OFF")
        base.execute("PRAGMA synchronous=OFF")
        base.execute(
            "CREATE TABLE columns (place INTEGER PRIMARY KEY, name TEXT, is_number INTEGER)"
        )
        base.executemany(
            "INSERT INTO columns VALUES (?, ?, ?)",
            [
                (i, name, number)
                for i, (name, number) in enumerate(zip(columns, are_numbers, strict=True))
            ],
        )
        more = "".join(f", c{i}" for i in range(len(columns)))
        base.execute(
            "CREATE TABLE rows (row INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, path TEXT, "
            f"number INTEGER, input TEXT, cells TEXT, side TEXT, owner TEXT{more})"
        )
        marks = ", ".join("?" * (8 + len(columns)))
        base.executemany(
            f"INSERT INTO rows VALUES ({marks})",
            (
                (
                    i,
                    row.id,
                    row.path,
                    row.number,
                    row.input,
                    json.dumps(dict(row.cells), default=str),
                    row.side,
                    row.owner,
                    *(
                        _cell(row.cells.get(name), number)
                        for name, number in zip(columns, are_numbers, strict=True)
                    ),
                )
                for i, row in enumerate(rows)
            ),
        )
        base.commit()
    finally:
        base.close()


class RowFile:
    """Read the rows of one segment.

    Args:
        path: of a file that `write_rows` wrote.
    """

    def __init__(self, path: Path) -> None:
        place = f"file:{quote(str(path.absolute()))}?mode=ro&immutable=1"
        # read only, and SQLite takes turns by itself: threads may share it
        self._base = sqlite3.connect(place, uri=True, check_same_thread=False)
        found = self._base.execute("SELECT name, place, is_number FROM columns ORDER BY place")
        self._columns = {name: (place, bool(number)) for name, place, number in found}

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the names of the columns."""
        return tuple(self._columns)

    @property
    def numbers(self) -> frozenset[str]:
        """Return the names of the columns that are compared as numbers."""
        return frozenset(name for name, (_, is_number) in self._columns.items() if is_number)

    def close(self) -> None:
        """Let go of the file."""
        self._base.close()

    def rows(self, numbers: Iterable[int]) -> dict[int, Row]:
        """Return rows by their number in the segment."""
        names = "row, id, path, number, input, cells, side, owner"
        return {
            row: Row(id_, path, number, input_, json.loads(cells), *more)
            for row, id_, path, number, input_, cells, *more in self._chosen(names, "row", numbers)
        }

    def numbers_of(self, ids: Iterable[str]) -> dict[str, int]:
        """Return the numbers of those ids that are here."""
        return dict(self._chosen("id, row", "id", ids))

    def owned_by(self, ids: Iterable[str]) -> list[int]:
        """Return the numbers of the rows that belong to rows with those ids."""
        return [number for (number,) in self._chosen("row", "owner", ids)]

    def ids(self) -> list[str]:
        """Return all ids, in the order of the rows."""
        return [id_ for (id_,) in self._base.execute("SELECT id FROM rows ORDER BY row")]

    def matching(self, conditions: Sequence[Condition]) -> np.ndarray:
        """Return the numbers (m,) of the rows for which all conditions hold, ascending."""
        parts, values = [], []
        for condition in conditions:
            part, bound = self._part(condition)
            parts.append(part)
            values += bound
        where = " AND ".join(parts) or "1"
        found = self._base.execute(f"SELECT row FROM rows WHERE {where} ORDER BY row", values)
        return np.fromiter((row for (row,) in found), np.int64)

    def _part(self, condition: Condition) -> tuple[str, list[Any]]:
        """Return a condition as SQL with values to bind."""
        place, is_number = self._columns.get(condition.column, (None, False))
        column = "NULL" if place is None else f"c{place}"
        if condition.operator in ("=", "!="):
            is_ = "IS" if condition.operator == "=" else "IS NOT"
            if condition.value == "":
                return f"{column} {is_} NULL", []
            value = condition.number if is_number else condition.value
            # no number equals a word, and the empty value is what is missing
            return (
                (f"{column} {is_} ?", [value]) if value is not None else (str(int(is_ != "IS")), [])
            )
        value = condition.number if is_number else condition.value
        return ("0", []) if value is None else (f"{column} {condition.operator} ?", [value])

    def _chosen(self, names: str, key: str, values: Iterable[Any]) -> Iterable[tuple[Any, ...]]:
        wanted = list(values)
        for start in range(0, len(wanted), AT_ONCE):
            some = wanted[start : start + AT_ONCE]
            marks = ", ".join("?" * len(some))
            yield from self._base.execute(
                f"SELECT {names} FROM rows WHERE {key} IN ({marks})", some
            )


def _are_numbers(values: Iterable[Any]) -> bool:
    filled = [v for v in values if not _is_missing(v)]
    return bool(filled) and all(as_number(v) is not None for v in filled)


def _cell(value: Any, is_number: bool) -> float | str | None:
    if _is_missing(value):
        return None
    if is_number:
        return as_number(value)
    return as_text(value)


def _is_missing(value: Any) -> bool:
    return value is None or value != value or value == ""
