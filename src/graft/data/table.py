"""The Table: examples with roles, each of which remembers the file and row it came from.

The columns stay in Arrow, compact and typed, as they were read. The roles say which column is the
input, the label, the group and the split, so nothing downstream looks at names again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from graft.data.faults import Finding

if TYPE_CHECKING:
    import pyarrow as pa

EMPTY_LABELS = frozenset(
    ["", "nan", "NaN", "NAN", "None", "null", "NULL", "<NA>", "N/A", "#N/A", "NaT"]
)
"""What exports write where a label is missing; none of these is ever a class."""


@dataclass(frozen=True)
class Roles:
    """Say what each column is for.

    Args:
        inputs: names of the input columns.
        label: name of the target column, or None for unlabelled data.
        group: name of the column whose values must not be torn apart by a split.
        split: name of the column that says train, validation or test.
        modality: whether an input is a text or the path of an image.
    """

    inputs: tuple[str, ...]
    label: str | None
    group: str | None = None
    split: str | None = None
    modality: Literal["text", "image"] = "text"


@dataclass(frozen=True)
class Origin:
    """Name where a row was read: the file, and its 1-based data row where the file has rows."""

    path: str
    row: int | None


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

    @classmethod
    def of_values(
        cls, values: Sequence[Any], modality: Literal["text", "image"], name: str = "values"
    ) -> Table:
        """Return a table of unlabelled inputs that no file holds."""
        import pyarrow as pa

        n = len(values)
        data = pa.table({modality: pa.array([str(v) for v in values], pa.string())})
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

    def inputs(self) -> list[Any]:
        """Return the values of the input column; for images the absolute path of each file."""
        (name,) = self.roles.inputs
        values = self.column(name)
        if self.roles.modality == "text":
            return values
        root = Path(self.root).absolute()
        return [None if value is None else str(root / value) for value in values]

    def labels(self) -> list[str] | None:
        """Return the labels as strings, "" where one is missing; None for unlabelled data."""
        if self.roles.label is None:
            return None
        return ["" if is_empty_label(v) else str(v) for v in self.column(self.roles.label)]

    def take(self, indices: Sequence[int] | np.ndarray) -> Table:
        """Return the table of the rows at `indices`, in that order."""
        rows = np.asarray(indices, dtype=np.int64)
        return replace(
            self,
            data=self.data.take(rows),
            source_of=self.source_of[rows],
            row_of=self.row_of[rows],
        )

    def origin(self, i: int) -> Origin:
        """Return the file and row that example `i` came from."""
        row = int(self.row_of[i])
        return Origin(self.sources[int(self.source_of[i])], row or None)

    def content_hash(self) -> str:
        """Return the sha256 of inputs and labels in order, wherever the data lies.

        An image counts by the bytes of its file, so moving a data set does not change its hash.
        """
        values = self.inputs()
        if self.roles.modality == "image":
            values = [file_hash(path) for path in values]
        digest = hashlib.sha256()
        for column in (values, self.labels() or []):
            digest.update(len(column).to_bytes(8, "little"))
            update_with(digest, column)
        return digest.hexdigest()


def is_empty_label(value: object) -> bool:
    """Tell whether a cell of the label column holds no label.

    >>> [is_empty_label(v) for v in (None, float("nan"), " ", "nan", "none", 0)]
    [True, True, True, True, False, False]
    """
    return value is None or value != value or str(value).strip() in EMPTY_LABELS


def file_hash(path: str | None) -> str | None:
    """Return the sha256 of a file's bytes, or None where it cannot be read."""
    if path is None or not Path(path).is_file():
        return None
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def update_with(digest: hashlib._Hash, values: Iterable[object]) -> None:
    """Feed values to a hash, each after its length, so that no two lists look alike."""
    for value in values:
        if value is None:
            digest.update(b"\xff" * 8)
        else:
            data = str(value).encode("utf-8", "surrogatepass")
            digest.update(len(data).to_bytes(8, "little") + data)
