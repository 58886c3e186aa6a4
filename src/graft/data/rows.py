"""Rows as a reader found them, and how they become a Table.

    read_csv(path) ─→ Rows ─┐
    read_jsonl(path) → Rows ┴─joined→ Rows ─assembled→ Table

A reader knows a format and nothing of roles. Here the roles are found, in one place for all of
them; several labels of a row become a list, and pictures are looked for where they lie.
"""

from __future__ import annotations

import itertools
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graft.data.archives import ENDINGS as ARCHIVE_ENDINGS
from graft.data.archives import open_archive
from graft.data.captions import find_captions, one_caption_a_row
from graft.data.faults import Finding, data_error, listed, shorten
from graft.data.files import entries, join, kind_of
from graft.data.roles import N_LOOKED_AT, Asked, Found, find_roles, holds_numbers
from graft.data.split import FOLDER_PARTS
from graft.data.table import Table, is_embedded
from graft.data.targets import as_list, delimiter_of, is_empty_label, likely_delimiter
from graft.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

N_PATHS_TRIED = 50
YES = frozenset(["1", "1.0", "true", "yes"])
NO = frozenset(["0", "0.0", "false", "no"])
"""What a column of one label holds where it does and does not apply."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Hold the columns of a file or folder and where each row came from.

    Args:
        data: the columns, N rows.
        name: the path that was read, as the user named it.
        sources: the files that were read, as the user would name them.
        source_of: (N,) index into `sources`.
        row_of: (N,) 1-based data row in that file; 0 where the file itself is the example.
        root: folder that relative image paths start from.
        because: how the roles were found, where names and contents do not say it.
        findings: what the reader repaired or left out.
    """

    data: pa.Table
    name: str
    sources: tuple[str, ...]
    source_of: np.ndarray
    row_of: np.ndarray
    root: str
    because: str = ""
    findings: tuple[Finding, ...] = ()

    @classmethod
    def of_file(
        cls,
        data: pa.Table,
        path: str,
        row_of: np.ndarray | None = None,
        findings: Sequence[Finding] = (),
    ) -> Rows:
        """Return the rows of one file; they are numbered from 1 unless `row_of` says otherwise."""
        n = data.num_rows
        numbers = np.arange(1, n + 1) if row_of is None else row_of
        none = np.zeros(n, dtype=np.int64)
        return cls(data, path, (path,), none, numbers, parent(path), "", tuple(findings))


def parent(path: str) -> str:
    """Return the folder that a file lies in; `d.zip!` for the members at the top of `d.zip`."""
    return str(Path(path).parent)


def joined(tables: Sequence[Rows], parts: Sequence[str | None], name: str, root: str) -> Rows:
    """Return the rows of several files with the same columns as one.

    Args:
        tables: at least one.
        parts: the part of a split that each file is, or all None. They become the column `split`.
        name: what was read, as the user named it.
        root: folder that image paths shall start from; those of a `file_name` column are changed.

    Raises:
        DataError: the files have other columns, or columns of another type.
    """
    import pyarrow as pa

    first = tables[0]
    chunks = []
    for rows, part in zip(tables, parts, strict=True):
        missing = [c for c in first.data.column_names if c not in rows.data.column_names]
        added = [c for c in rows.data.column_names if c not in first.data.column_names]
        if missing or added:
            what = f"lacks {listed(missing)}" if missing else f"has {listed(added)} more"
            message = f"{what}, unlike {shorten(Path(first.name).name, 30)}; write the same columns"
            raise data_error(message, path=rows.name)
        data = moved(rows, root)
        if part is not None:
            if "split" in data.column_names:
                data = data.drop_columns("split")
            data = data.append_column("split", pa.repeat(pa.scalar(part), data.num_rows))
        chunks.append(data)
    try:
        data = pa.concat_tables(chunks, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        for rows, column in itertools.product(tables[1:], first.data.column_names):
            fields = [t.data.schema.field(column).remove_metadata() for t in (first, rows)]
            if not fit(fields):
                kinds = [field.type for field in fields]
                message = f"{kinds[1]} here, {kinds[0]} in {Path(first.name).name}; save alike"
                raise data_error(message, path=rows.name, column=column) from None
        raise
    starts = np.cumsum([0, *(len(rows.sources) for rows in tables)])
    return Rows(
        data=data,
        name=name,
        sources=tuple(source for rows in tables for source in rows.sources),
        source_of=np.concatenate(
            [rows.source_of + start for rows, start in zip(tables, starts, strict=False)]
        ),
        row_of=np.concatenate([rows.row_of for rows in tables]),
        root=root,
        findings=tuple(finding for rows in tables for finding in rows.findings),
    )


def fit(fields: Sequence[pa.Field]) -> bool:
    """Tell whether columns of these types can be one."""
    import pyarrow as pa

    try:
        pa.unify_schemas([pa.schema([field]) for field in fields], promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        return False
    return True


def moved(rows: Rows, root: str) -> pa.Table:
    """Return the columns with the image paths of `file_name` as seen from another folder."""
    import pyarrow as pa

    if rows.root == root or "file_name" not in rows.data.column_names:
        return rows.data
    below = posixpath.relpath(Path(rows.root).as_posix(), Path(root).as_posix())
    i = rows.data.column_names.index("file_name")
    names = [None if v is None else f"{below}/{v}" for v in rows.data.column(i).to_pylist()]
    return rows.data.set_column(i, "file_name", pa.array(names, pa.large_string()))


def assembled(rows: Rows, asked: Asked) -> Table:
    """Find the roles of the columns and return the Table.

    Raises:
        DataError: a column that was asked for is missing, two would do, or cells are not what a
            label must be.
    """
    rows, asked = with_listed_columns(rows, asked)
    head = {name: shown(rows.data.column(name)) for name in rows.data.column_names}
    found = find_captions(head, asked, path=rows.name) or find_roles(head, asked, path=rows.name)
    rows = one_caption_a_row(rows, found.roles)
    because = rows.because or found.because
    data, root = rows.data, rows.root
    roles = found.roles
    if roles.label is not None and roles.target == "multi":
        data = with_lists(data, roles.label)
    name = roles.inputs[0]
    if roles.modality != "text" and not is_embedded(data.column(name).type):
        paths = data.column(name)
        root, note = where_pictures_lie(paths.slice(0, N_PATHS_TRIED).to_pylist(), root)
        because += note
        if roles.split is None and not rows.because:
            parts = parts_in_paths(paths.to_pylist())
            if parts is not None:
                data, column = with_column(data, "split", parts)
                roles = replace(roles, split=column)
                because += ", split: the first folder of the paths"
    return Table(
        data=data,
        roles=roles,
        name_of_source=rows.name,
        sources=rows.sources,
        source_of=rows.source_of,
        row_of=rows.row_of,
        root=root,
        because=because,
        findings=rows.findings,
    )


def shown(column: pa.ChunkedArray) -> list[Any]:
    """Return the first values of a column, of numbers all; stored pictures only by a name.

    Whether numbers repeat, as those of classes do, shows in the whole of them.
    """
    if is_embedded(column.type):
        return ["stored.png" if cell.is_valid else None for cell in column.slice(0, N_LOOKED_AT)]
    first = column.slice(0, N_LOOKED_AT).to_pylist()
    are_numbers = holds_numbers([v for v in first if not is_empty_label(v)])
    return column.to_pylist() if are_numbers else first


# --------------------------------------------------------------------------------------- targets


def with_listed_columns(rows: Rows, asked: Asked) -> tuple[Rows, Asked]:
    """Return rows in which the 0/1 columns of `--label a,b,c` are one column of lists.

    Raises:
        DataError: a cell is neither 0 nor 1.
    """
    import pyarrow as pa

    known = rows.data.column_names
    if asked.label is None or "," not in asked.label or asked.label in known:
        return rows, asked
    names = [name.strip() for name in asked.label.split(",") if name.strip()]
    if not all(name in known for name in names):
        missing = next(name for name in names if name not in known)
        if not any(name in known for name in names):
            return rows, asked
        found: Mapping[str, Sequence[Any]] = {name: [] for name in known}
        find_roles(found, Asked(label=missing), path=rows.name)
    columns = [rows.data.column(name).to_pylist() for name in names]
    cells: list[list[str] | None] = []
    for i, values in enumerate(zip(*columns, strict=True)):
        if any(is_empty_label(value) for value in values):
            cells.append(None)
            continue
        words = [str(value).strip().casefold() for value in values]
        for name, word in zip(names, words, strict=True):
            if word not in YES | NO:
                message = f"{shorten(word, 20)!r} is neither 0 nor 1; mend it or pass one --label"
                place = rows.sources[int(rows.source_of[i])]
                row = int(rows.row_of[i]) or None
                raise data_error(message, path=place, row=row, column=name)
        cells.append([name for name, word in zip(names, words, strict=True) if word in YES])
    kind = pa.list_(pa.large_string())
    data = rows.data.drop_columns(names).append_column(asked.label, pa.array(cells, kind))
    return replace(rows, data=data), replace(asked, target=asked.target or "multi")


def with_lists(data: pa.Table, label: str) -> pa.Table:
    """Return the table with the label column as lists of labels."""
    import pyarrow as pa

    values = data.column(label).to_pylist()
    filled = [value for value in values[:N_LOOKED_AT] if not is_empty_label(value)]
    delimiter = delimiter_of(filled) or likely_delimiter(filled) if filled else None
    lists = [as_list(value, delimiter) for value in values]
    i = data.column_names.index(label)
    return data.set_column(i, label, pa.array(lists, pa.list_(pa.large_string())))


# ---------------------------------------------------------------------------------------- images


def where_pictures_lie(names: Sequence[Any], root: str) -> tuple[str, str]:
    """Return the folder that image paths start from, and what to say of it.

    Where none of the first files is there, they may be in an archive beside the table: at its
    top, or in the one folder that it holds.
    """
    filled = [str(name) for name in names if name]
    if not filled or any(safe_kind(join(root, name)) == "file" for name in filled):
        return root, ""
    try:
        beside = [e.name for e in entries(root) if e.name.lower().endswith(ARCHIVE_ENDINGS)]
    except (OSError, DataError):
        return root, ""
    for archive in beside:
        place = f"{join(root, archive)}"
        try:
            folders, _ = open_archive(place).folders[""]
        except (OSError, DataError):
            continue
        for inner in ("", *(folders if len(folders) == 1 else ())):
            top = f"{place}!/{inner}".rstrip("/")
            if any(safe_kind(join(top, name)) == "file" for name in filled):
                return top, f", pictures in {shorten(archive, 40)}"
    return root, ""


def safe_kind(place: str) -> str | None:
    """Return what lies at a place, None also where it cannot be looked at."""
    try:
        return kind_of(place)
    except (OSError, ValueError, DataError):
        return None


def parts_in_paths(names: Sequence[Any]) -> list[str] | None:
    """Return the part that the first folder of each path names; None unless all do."""
    parts = [FOLDER_PARTS.get(str(name).split("/")[0].casefold()) for name in names]
    found = set(parts)
    if None in found or "train" not in found or len(found) < 2:
        return None
    return [str(part) for part in parts]


def with_column(data: pa.Table, name: str, values: Sequence[str]) -> tuple[pa.Table, str]:
    """Return the table with one more column, and the name that was free for it."""
    import pyarrow as pa

    while name in data.column_names:
        name += "_"
    return data.append_column(name, pa.array(values, pa.large_string())), name


__all__ = ["Found", "Rows", "assembled", "joined", "parent", "with_column"]
