"""Readers: plain functions that turn a path into Rows, and the table of their names.

A reader takes a path and returns the rows as it found them, each with the place where it came
from. Its name in the table is the ending of the files it reads; `folder` reads a directory. A
keyword that a reader has and the user set is passed on. `read` makes the Table of the rows.
"""

from __future__ import annotations

import difflib
import inspect
from pathlib import Path

from graft.data.faults import data_error
from graft.data.files import kind_of
from graft.data.readers.endings import READERS, ending_of, load
from graft.data.roles import Asked
from graft.data.rows import Rows, assembled
from graft.data.table import Table
from graft.data.targets import KINDS, TargetKind
from graft.errors import UnknownName

__all__ = ["HUB", "READERS", "load", "read", "read_rows", "reader_for"]

HUB = "hub:"
SHOWN_ENDINGS = ".csv .tsv .jsonl .parquet .zip .tar (.gz)"


def read(
    path: str | Path,
    *,
    input: str | None = None,
    label: str | None = None,
    group: str | None = None,
    split: str | None = None,
    encoding: str | None = None,
    sep: str | None = None,
    target_kind: TargetKind | None = None,
    follow_links: bool = False,
    drop_empty_classes: bool = False,
) -> Table:
    """Read examples from a file or folder.

    Args:
        path: a table (`.csv`, `.tsv`, `.jsonl`, `.parquet`, the first three also with `.gz`), a
            folder of class folders of images or of tables, an archive of any of these, a place
            in an archive (`d.zip!/train.csv`), or `hub:NAME` for a dataset of the Hugging Face
            Hub, the only one of these that reaches for the network.
        input: name of the input column; found by name or content if None.
        label: name of the label column, or names of several 0/1 columns with commas between;
            found likewise.
        group: name of the column whose values must stay in one part of a split.
        split: name of the column that says train, validation or test; found by name if None.
        encoding: encoding of a text file; UTF-8 if None.
        sep: the character between cells; the comma, or the tab of a `.tsv`, if None.
        target_kind: `single`, `multi` or `number`; found by content if None.
        follow_links: enter links in a folder of images that lead out of it.
        drop_empty_classes: only note class folders without an image.

    Raises:
        DataError: nothing is there, nothing reads it, or the reader found a fault.
        UnknownName: there is no such kind of target.
    """
    if target_kind is not None and target_kind not in KINDS:
        raise UnknownName("target kind", target_kind, KINDS)
    rows = read_rows(
        path,
        encoding=encoding,
        sep=sep,
        follow_links=follow_links,
        drop_empty_classes=drop_empty_classes,
    )
    return assembled(rows, Asked(input, label, group, split, target_kind))


def read_rows(
    path: str | Path,
    *,
    encoding: str | None = None,
    sep: str | None = None,
    follow_links: bool = False,
    drop_empty_classes: bool = False,
) -> Rows:
    """Read a file or folder as `read` does, up to where roles are found.

    Raises:
        DataError: as `read`.
    """
    reader = load(reader_for(path))
    options = {
        name: value for name, value in (("encoding", encoding), ("sep", sep)) if value is not None
    }
    takes = inspect.signature(reader).parameters.keys()
    for name in options.keys() - takes:
        raise data_error(f"--{name} has no meaning here; leave it out", path=path)
    switches = {"follow_links": follow_links, "drop_empty_classes": drop_empty_classes}
    given = {name: True for name, is_set in switches.items() if is_set and name in takes}
    return reader(str(path), **options, **given)


def reader_for(path: str | Path) -> str:
    """Return the name of the reader for what lies at `path`.

    Raises:
        DataError: nothing lies there, or no reader is for it.
    """
    if str(path).startswith(HUB):
        return "hub"
    try:
        kind = kind_of(path)
    except OSError as error:
        message = f"cannot be read ({error.strerror}); change its permissions"
        raise data_error(message, path=path) from None
    if kind == "folder":
        return "folder"
    if kind is None:
        raise no_such_file(path)
    place = Path(path)
    name = ending_of(place.name, archives="!" not in str(path))
    if name is not None:
        return name
    found = f"cannot read {place.suffix} files" if place.suffix else "the name has no ending"
    message = f"{found}; pass a file that ends in {SHOWN_ENDINGS}, or a folder"
    raise data_error(message, path=path)


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
