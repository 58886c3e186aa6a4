"""Pairs and triplets as items and who belongs to whom.

    table (T rows of R inputs) ─unfolded→ items (U rows, each different) + members (T, R)

An item that several tuples share, a picture with five captions, is then read, computed and stored
once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from graft.data.files import Embedded
from graft.data.table import Roles, Table

if TYPE_CHECKING:
    import pyarrow as pa

ITEM = "item"
RELEVANCE = frozenset(["relevance", "grade"])
"""Names of columns of judgements, as information retrieval has them: 0 is not relevant."""


@dataclass(frozen=True, eq=False)
class Tuples:
    """Hold who belongs to whom among U items.

    Args:
        members: (T, R) items of each pair (R = 2) or triplet (R = 3): anchor, positive, negative.
        scores: (T,) how alike a pair is, or None where every pair is alike.
        grades: (T,) how relevant the second item of a pair is to the first, above 0; or None.
    """

    members: np.ndarray
    scores: np.ndarray | None = None
    grades: np.ndarray | None = None

    @property
    def is_binary(self) -> bool:
        """Whether the scores only say alike (1) or not (0)."""
        return self.scores is not None and bool(np.isin(self.scores, (0.0, 1.0)).all())


def holds_relevance(roles: Roles) -> bool:
    """Tell whether a row says how relevant a document is to a query: by the column's name."""
    return len(roles.inputs) == 2 and (roles.label or "").casefold() in RELEVANCE


def relevant_of(table: Table, rows: np.ndarray) -> np.ndarray:
    """Return those of some rows whose document is relevant to their query."""
    numbers = table.numbers()
    assert numbers is not None
    return rows[numbers[rows] > 0]


def relevant(table: Table) -> Table:
    """Return the rows whose document is relevant to their query, as a table."""
    return table.take(relevant_of(table, np.arange(len(table))))


def unfolded(table: Table, *, graded: bool = False) -> tuple[Table, Tuples]:
    """Return the different items of a table of pairs or triplets, and its tuples.

    Items stand in the order in which they are met, row by row; each keeps the file and row where
    it was met first.

    Args:
        graded: rows are judgements of relevance: their numbers are grades, and no scores.
    """
    import pyarrow as pa

    columns = [view.inputs() for view in table.views()]
    number: dict[object, int] = {}
    first: list[tuple[int, int]] = []
    members = np.zeros((len(table), len(columns)), np.int64)
    for row, values in enumerate(zip(*columns, strict=True)):
        for role, value in enumerate(values):
            key = bytes(value.data) if isinstance(value, Embedded) else value
            if key not in number:
                number[key] = len(first)
                first.append((row, role))
            members[row, role] = number[key]
    rows = np.asarray([row for row, _ in first], np.int64)
    chunks = []
    for role, name in enumerate(table.roles.inputs):
        cells = table.data.column(name)
        met = np.asarray([row for row, own in first if own == role], np.int64)
        chunks.append(cells.take(pa.array(met)))
    order = np.argsort([role for _, role in first], kind="stable")
    joined = pa.concat_arrays([c for chunk in chunks for c in _alike(chunk, chunks[0].type)])
    cells = joined.take(np.argsort(order, kind="stable"))
    items = replace(
        table,
        data=pa.table({ITEM: cells}),
        roles=Roles((ITEM,), None, modality=table.roles.modality),
        source_of=table.source_of[rows],
        row_of=table.row_of[rows],
        thumbnails=None,
    )
    numbers = table.numbers()
    return items, Tuples(members, grades=numbers) if graded else Tuples(members, numbers)


def _alike(column: pa.ChunkedArray, kind: pa.DataType) -> list[pa.Array]:
    return column.cast(kind).chunks
