"""Readers: plain functions that turn a path into a Table, and the table of their names.

A reader takes the path and the columns that the user asked for, and returns a Table whose rows
know where they came from. Its name in the table is the ending of the files it reads; `folder`
reads a directory. A keyword that a reader has and the user set is passed on.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Callable
from pathlib import Path

from graft.data.faults import data_error
from graft.data.roles import Asked
from graft.data.table import Table

READERS: dict[str, tuple[str, str]] = {
    "csv": ("graft.data.readers.delimited:read_csv", "a table with a header line, comma-separated"),
    "folder": ("graft.data.readers.folder:read_folder", "images in one folder per class"),
}
"""ending → (where the function is, one-line summary)."""


def read(
    path: str | Path,
    *,
    input: str | None = None,
    label: str | None = None,
    group: str | None = None,
    split: str | None = None,
    encoding: str | None = None,
    sep: str | None = None,
) -> Table:
    """Read examples from a file or folder.

    Args:
        path: a `.csv` file, or a folder of class folders of images.
        input: name of the input column; found by name or content if None.
        label: name of the label column; found likewise.
        group: name of the column whose values must stay in one part of a split.
        split: name of the column that says train, validation or test; found by name if None.
        encoding: encoding of a text file; UTF-8 if None.
        sep: the character between cells; the comma if None.

    Raises:
        DataError: nothing is there, nothing reads it, or the reader found a fault.
    """
    reader = load(reader_for(path))
    options = {
        name: value for name, value in (("encoding", encoding), ("sep", sep)) if value is not None
    }
    for name in options.keys() - inspect.signature(reader).parameters.keys():
        raise data_error(f"--{name} has no meaning here; leave it out", path=path)
    return reader(str(path), Asked(input, label, group, split), **options)


def reader_for(path: str | Path) -> str:
    """Return the name of the reader for what lies at `path`.

    Raises:
        DataError: nothing lies there, or no reader is for it.
    """
    place = Path(path)
    if place.is_dir():
        return "folder"
    if not place.exists():
        raise no_such_file(path)
    name = place.suffix.lower().removeprefix(".")
    if name in READERS and name != "folder":
        return name
    known = ", ".join(f".{known}" for known in READERS if known != "folder")
    found = f"cannot read {place.suffix} files" if name else "the name has no ending"
    message = f"{found}; pass a file that ends in {known}, or a folder of class folders of images"
    raise data_error(message, path=path)


def load(name: str) -> Callable[..., Table]:
    """Return the function of a reader."""
    module, _, function = READERS[name][0].partition(":")
    return getattr(importlib.import_module(module), function)


def no_such_file(path: str | Path) -> Exception:
    """Return the error for a path where nothing is, with the nearest name that is there."""
    place = Path(path)
    try:
        beside = [other.name for other in place.parent.iterdir()]
    except OSError:
        beside = []
    close = difflib.get_close_matches(place.name, beside, n=1)
    hint = f"did you mean `{close[0]}`? correct the path" if close else "correct the path"
    return data_error(f"no such file or folder; {hint}", path=path)
