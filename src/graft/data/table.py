"""The Table: examples with roles, each of which remembers the file and row it came from.

The columns stay in Arrow, compact and typed, as they were read. The roles say which column is the
input, the label, the group and the split, so nothing downstream looks at names again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from graft.data.faults import Finding
from graft.data.files import Embedded, join, kind_of, open_binary
from graft.data.targets import EMPTY_LABELS, TargetKind, as_list, as_number, is_empty_label
from graft.errors import DataError, InputError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["EMPTY_LABELS", "Origin", "Roles", "Table", "is_empty_label"]


@dataclass(frozen=True)
class Roles:
    """Say what each column is for.

    Args:
        inputs: names of the input columns.
        label: name of the target column, or None for unlabelled data.
        group: name of the column whose values must not be torn apart by a split.
        split: name of the column that says train, validation or test.
        modality: whether an input is a text or an image (its path, or its bytes); `image-text`
            where the first input is an image and the second its caption.
        target: whether the target is one class, several, or a number.
    """

    inputs: tuple[str, ...]
    label: str | None
    group: str | None = None
    split: str | None = None
    modality: Literal["text", "image", "image-text"] = "text"
    target: TargetKind = "single"


@dataclass(frozen=True)
class Origin:
    """Name where a row was read: the file, and its 1-based data row where the file has rows."""

    path: str
    row: int | None

    def __str__(self) -> str:
        return self.path if self.row is None else f"{self.path} row {self.row}"


@dataclass(frozen=True, eq=False)
class Table:
    """Hold N examples with roles.

    Args:
        data: the columns, N rows.
        roles: what each column is for.
        name_of_source: the path that was read, as the user named it.
        sources: the files that were read, as the user would name them.
        source_of: (N,) index into `sources`.
        row_of: (N,) 1-based data row in that file; 0 where the file itself is the example.
        root: folder that relative image paths start from.
        because: one sentence on how the roles were found.
        findings: what the reader repaired or left out.
        thumbnails: (N, 16, 16) uint8, grey, of pictures that were examined.
        max_pixels: largest picture that was let through, None where none was examined.
    """

    data: pa.Table
    roles: Roles
    name_of_source: str
    sources: tuple[str, ...]
    source_of: np.ndarray
    row_of: np.ndarray
    root: str = "."
    because: str = ""
    findings: tuple[Finding, ...] = ()
    thumbnails: np.ndarray | None = None
    max_pixels: int | None = None

    @classmethod
    def of_values(
        cls, values: Sequence[Any] | str, modality: Literal["text", "image"], name: str = "values"
    ) -> Table:
        """Return a table of unlabelled inputs that no file holds.

        Args:
            values: texts; or pictures: their paths, or `Embedded` bytes. One alone stands for a
                list of it.
            modality: which of the two.
            name: what errors call them.

        Raises:
            InputError: a value is neither.
        """
        import pyarrow as pa

        kinds = (str,) if modality == "text" else (str, PathLike, Embedded)
        values = [values] if isinstance(values, kinds) else list(values)
        expected = "a text" if modality == "text" else "the path of a picture"
        for i, value in enumerate(values):
            if not isinstance(value, kinds):
                kind = "None" if value is None else f"of type {type(value).__name__}"
                raise InputError(f"{name}[{i}] is {kind}; give {expected}, or leave it out")
        n = len(values)
        cells: pa.Array = pa.array([str(v) for v in values], pa.large_string())
        if any(isinstance(v, Embedded) for v in values):
            kind = pa.struct({"bytes": pa.large_binary(), "path": pa.large_string()})
            stored = [bytes(v.data) if isinstance(v, Embedded) else None for v in values]
            pairs = zip(stored, cells.to_pylist(), strict=True)
            cells = pa.array([{"bytes": b, "path": p} for b, p in pairs], kind)
        data = pa.table({modality: cells})
        numbers = np.arange(1, n + 1)
        roles = Roles((modality,), None, modality=modality)
        return cls(data, roles, name, (name,), np.zeros(n, np.int64), numbers)

    def __post_init__(self) -> None:
        assert len(self.source_of) == len(self.row_of) == self.data.num_rows

    def __len__(self) -> int:
        return self.data.num_rows

    def __repr__(self) -> str:
        return f"Table({self.name_of_source!r}, {len(self)} rows, {', '.join(self.columns)})"

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the names of the columns."""
        return tuple(self.data.column_names)

    def column(self, name: str) -> list[Any]:
        """Return the values of one column as Python objects."""
        return self.data.column(name).to_pylist()

    @property
    def target_kind(self) -> TargetKind:
        """Return whether the target is one class (`single`), several (`multi`) or a `number`."""
        return self.roles.target

    def inputs(self) -> list[Any]:
        """Return the values of the input column.

        A text that is written as a number is its digits. For images the absolute place of each
        file, which may lie in an archive (`/data/d.zip!/a.png`), or `Embedded` bytes where the
        column holds them; `images.decode` takes either. Where a row has several inputs (a pair, a
        triplet), each value is a tuple of them.
        """
        if len(self.roles.inputs) > 1:
            return list(zip(*(view.inputs() for view in self.views()), strict=True))
        (name,) = self.roles.inputs
        if self.roles.modality == "text":
            values = self.column(name)
            return [v if v is None or isinstance(v, str) else str(v) for v in values]
        if is_embedded(self.data.column(name).type):
            return self.embedded(name)
        root = str(Path(self.root).absolute())
        return [None if v is None else join(root, str(v)) for v in self.column(name)]

    def views(self) -> tuple[Table, ...]:
        """Return the table once for each input column, as if it had no other."""
        kinds = self.roles.modality.split("-") * len(self.roles.inputs)
        return tuple(
            replace(self, roles=replace(self.roles, inputs=(name,), modality=kind))  # type: ignore[arg-type]
            for name, kind in zip(self.roles.inputs, kinds, strict=False)
        )

    def embedded(self, name: str) -> list[Any]:
        """Return the pictures of a column of bytes; a row may also name a file."""
        column = self.data.column(name)
        values: list[Any] = []
        for i, cell in enumerate(column):
            in_struct = cell.is_valid and column.type.num_fields > 0
            data = cell["bytes"] if in_struct else cell
            has_path = in_struct and column.type.get_field_index("path") >= 0
            path = cell["path"].as_py() if has_path else None
            if data.is_valid:
                origin = self.origin(i)
                shown = str(path or f"{origin.path} row {origin.row}")
                values.append(Embedded(shown, data.as_buffer()))
            else:
                values.append(None if path is None else join(self.root, path))
        return values

    def labels(self) -> list[str] | None:
        """Return the labels as strings, "" where one is missing; None for unlabelled data.

        Several labels of a row are joined by `;`, no label is `[]`.
        """
        if self.roles.label is None:
            return None
        if self.target_kind == "multi":
            lists = self.label_lists() or []
            return ["" if x is None else ";".join(x) or "[]" for x in lists]
        return ["" if is_empty_label(v) else str(v) for v in self.column(self.roles.label)]

    def label_lists(self) -> list[tuple[str, ...] | None] | None:
        """Return the labels of each row, None where they are missing; None for unlabelled data.

        A row of which no label holds has an empty tuple; that is not the same as missing.
        """
        if self.roles.label is None:
            return None
        values = self.column(self.roles.label)
        if self.target_kind != "multi":
            return [None if is_empty_label(v) else (str(v),) for v in values]
        return [as_list(v) for v in values]

    def numbers(self) -> np.ndarray | None:
        """Return the targets (N,) as float64, NaN where a cell holds no finite number."""
        if self.roles.label is None:
            return None
        return np.array([as_number(v) for v in self.column(self.roles.label)], dtype=np.float64)

    def take(self, indices: Sequence[int] | np.ndarray) -> Table:
        """Return the table of the rows at `indices`, in that order."""
        rows = np.asarray(indices, dtype=np.int64)
        return replace(
            self,
            data=self.data.take(rows),
            source_of=self.source_of[rows],
            row_of=self.row_of[rows],
            thumbnails=None if self.thumbnails is None else self.thumbnails[rows],
        )

    def origin(self, i: int) -> Origin:
        """Return the file and row that example `i` came from."""
        row = int(self.row_of[i])
        return Origin(self.sources[int(self.source_of[i])], row or None)

    def identities(self) -> list[Sequence[Any]]:
        """Return each input column by what is in it: texts as they are, of pictures the sha256."""
        return [
            view.inputs() if view.roles.modality == "text" else list(map(file_hash, view.inputs()))
            for view in self.views()
        ]

    def content_hash(self) -> str:
        """Return the sha256 of inputs and labels in order, wherever the data lies.

        An image counts by the bytes of its file, so moving a data set does not change its hash.
        """
        digest = hashlib.sha256()
        for column in (*self.identities(), self.labels() or []):
            digest.update(len(column).to_bytes(8, "little"))
            update_with(digest, column)
        return digest.hexdigest()


def is_embedded(kind: pa.DataType) -> bool:
    """Tell whether a column holds pictures as bytes: binary, or bytes beside a path."""
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def file_hash(place: str | Embedded | None) -> str | None:
    """Return the sha256 of a file's bytes, or None where it cannot be read."""
    if place is None:
        return None
    try:
        if not isinstance(place, Embedded) and kind_of(place) != "file":
            return None
        with open_binary(place) as file:
            digest = hashlib.sha256()
            while chunk := file.read(2**20):
                digest.update(chunk)
            return digest.hexdigest()
    except (OSError, DataError, ValueError):
        return None


def update_with(digest: hashlib._Hash, values: Iterable[object]) -> None:
    """Feed values to a hash, each after its length, so that no two lists look alike."""
    for value in values:
        if value is None:
            digest.update(b"\xff" * 8)
        else:
            data = str(value).encode("utf-8", "surrogatepass")
            digest.update(len(data).to_bytes(8, "little") + data)
