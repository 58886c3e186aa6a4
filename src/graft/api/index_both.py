"""Rows of an index of two towers: each picture once with all its captions, each caption once.

    image, caption (T) ─rows_of_both→ pictures (U), captions (V): V rows that belong to a picture

A caption that two pictures share is a row for each of them; its vector is computed once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from graft.api.both_towers import told_apart
from graft.api.embedding import Embedder
from graft.api.index_rows import Rows, filled_ids, shown_columns
from graft.backbones.pair import Side
from graft.data.captions import first_of_each
from graft.data.doctor.groups import ID_NAMES
from graft.data.faults import data_error
from graft.data.invisible import visible
from graft.data.roles import plain
from graft.data.table import Table
from graft.retrieval.rows import Row
from graft.retrieval.segments import Batch
from graft.wording import counted


@dataclass(frozen=True, eq=False)
class Captioned:
    """Say which rows of a table are which picture and which caption.

    Args:
        first: (U,) the row where each picture is met first.
        picture_of: (T,) the picture of each row.
        told: rows whose caption is one that their picture has not had before, ascending.
        captions: (T,) what each row says, None where that is nothing.
    """

    first: np.ndarray
    picture_of: np.ndarray
    told: np.ndarray
    captions: Sequence[Any]

    @classmethod
    def of(cls, table: Table) -> Captioned:
        """Look through a table of pictures and captions."""
        images, texts = table.views()
        first, picture_of = first_of_each(images.inputs())
        captions = [v if v is not None and visible(str(v)) else None for v in texts.inputs()]
        _, pair_of = first_of_each(list(zip(picture_of.tolist(), captions, strict=True)))
        is_new = np.diff(np.maximum.accumulate(pair_of), prepend=-1) > 0
        is_told = np.array([caption is not None for caption in captions], bool)
        return cls(first, picture_of, np.flatnonzero(is_new & is_told), captions)

    @property
    def n_without(self) -> int:
        """Return how many pictures have no caption."""
        return len(self.first) - len(set(self.picture_of[self.told].tolist()))


def rows_of_both(
    embedder: Embedder, table: Table, *, id_column: str | None, only: Side | None = None
) -> Rows:
    """Return the pictures of a table, and their captions.

    Args:
        embedder: of two towers.
        table: T rows of a picture and a caption each.
        id_column: of ids of pictures, or of captions; one named like ids unless given. Pictures
            without are named as the table names them, captions after their picture: `a.jpg#1`.
        only: leave the other side out.

    Raises:
        DataError: the column holds ids of neither, or one is missing.
    """
    known = Captioned.of(table)
    images, texts = table.views()
    of_pictures, of_captions = _ids(table, known, id_column)
    findings, n_skipped, vectors, rows = table.findings, 0, [], []
    usable = np.ones(len(known.first), bool)
    if only != "text":
        found = embedder.embed(images.take(known.first))
        usable = np.asarray(~np.isnan(found.features).any(1))
        vectors.append(found.features[usable])
        rows += _pictures(table, known, of_pictures, np.flatnonzero(usable))
        findings, n_skipped = (*findings, *found.findings), int((~usable).sum())
    if only != "image":
        told = known.told[usable[known.picture_of[known.told]]]
        first, text_of = first_of_each([known.captions[i] for i in told.tolist()])
        if only == "text" and not len(told):
            raise data_error("no row has a caption; write some", path=table.name_of_source)
        if len(told):
            found = embedder.embed(told_apart(texts.take(told[first])))
            features = found.features[text_of]
            is_usable = ~np.isnan(features).any(1)
            vectors.append(features[is_usable])
            rows += _captions(table, known, of_pictures, of_captions, told[is_usable])
            findings, n_skipped = (*findings, *found.findings), n_skipped + int((~is_usable).sum())
    if only == "text":
        rows = [replace(row, owner="") for row in rows]
    notes = ()
    if known.n_without and only != "text":
        n = counted(known.n_without, "picture has", "pictures have")
        notes = (f"{n} no caption, and can only be found as pictures",)
    batch = Batch(np.concatenate(vectors), rows)
    return Rows(batch, tuple(dict.fromkeys(findings)), n_skipped, notes)


def _pictures(table: Table, known: Captioned, ids: Sequence[str], numbers: np.ndarray) -> list[Row]:
    """Return the rows of pictures: the captions as a list, and what else the table says of them."""
    caption = table.roles.inputs[1]
    rows_of: list[list[int]] = [[] for _ in known.first]
    for row, picture in enumerate(known.picture_of.tolist()):
        rows_of[picture].append(row)
    told = set(known.told.tolist())
    inputs = [str(v) for v in table.views()[0].take(known.first).inputs()]
    columns = shown_columns(table)
    found = []
    for number in numbers.tolist():
        cells: dict[str, Any] = {}
        for name, values in columns.items():
            if name == caption:
                cells[name] = [str(values[row]) for row in rows_of[number] if row in told]
            else:
                cells[name] = _one_or_all([values[row] for row in rows_of[number]])
        origin = table.origin(int(known.first[number]))
        found.append(Row(ids[number], origin.path, origin.row, inputs[number], cells, "image"))
    return found


def _one_or_all(values: Sequence[Any]) -> Any:
    """Return the value that all rows have, else the different ones."""
    different = [v for i, v in enumerate(values) if v not in values[:i]]
    return different[0] if len(different) == 1 else different


def _captions(
    table: Table,
    known: Captioned,
    of_pictures: Sequence[str],
    of_captions: Sequence[str],
    rows: np.ndarray,
) -> list[Row]:
    """Return the rows of captions, each of which belongs to its picture."""
    columns = shown_columns(table)
    found = []
    for row in rows.tolist():
        origin, owner = table.origin(row), of_pictures[int(known.picture_of[row])]
        cells = {name: values[row] for name, values in columns.items()}
        text = str(known.captions[row])
        found.append(Row(of_captions[row], origin.path, origin.row, text, cells, "text", owner))
    return found


def _ids(table: Table, known: Captioned, column: str | None) -> tuple[Sequence[str], Sequence[str]]:
    """Return the ids of pictures (U,), and of captions (T,), empty where a row tells none.

    Raises:
        DataError: the column holds ids of neither, or one is missing.
    """
    image = table.roles.inputs[0]
    cells = shown_columns(table).get(image)
    firsts = known.first.tolist()
    if cells is None:  # bytes
        pictures = [str(v) for v in table.views()[0].take(known.first).inputs()]
    else:
        pictures = [str(cells[row]) for row in firsts]
    named = [column] if column else [n for n in table.columns if plain(n) in ID_NAMES]
    for name in named:
        ids = filled_ids(table, name)
        own = [ids[row] for row in firsts]
        if len(set(own)) == len(own) and all(
            ids[row] == own[picture] for row, picture in enumerate(known.picture_of.tolist())
        ):
            pictures = own
        elif len(set(ids)) == len(ids):
            return pictures, ids
        elif column is not None:
            message = "names neither each picture nor each caption; name another column with --id"
            raise data_error(message, path=table.name_of_source, column=column)
    captions, counts = [""] * len(table), [0] * len(pictures)
    for row in known.told.tolist():
        picture = int(known.picture_of[row])
        counts[picture] += 1
        captions[row] = f"{pictures[picture]}#{counts[picture]}"
    return pictures, captions
