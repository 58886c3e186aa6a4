"""Find out what a folder holds, and read it; the inside of an archive is a folder too.

dataset_dict.json, state.json       what `Dataset.save_to_disk` of Hugging Face wrote
metadata.csv|jsonl|parquet          a table beside the files that it names (imagefolder)
train.csv, test-00000-of-00002.…    tables that are the parts of a split
CLASS/*, train/CLASS/*              images in class folders
labels.csv                          a single table
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from graft.data.archives import ENDINGS as ARCHIVE_ENDINGS
from graft.data.faults import Finding, data_error, listed
from graft.data.files import Entry
from graft.data.readers.arrow import read_saved
from graft.data.readers.class_folders import class_folder_rows, is_shown, scan
from graft.data.readers.endings import ending_of, load
from graft.data.rows import Rows, joined
from graft.data.split import COLUMN_PARTS, FOLDER_PARTS, Part

SHARD = re.compile(r"-\d{5}-of-\d{5}$")
METADATA = "metadata"
SAVED = ("dataset_dict.json", "state.json")


@dataclass(frozen=True)
class TableFile:
    """Name one table of a folder: its path under the root, its reader, its part of a split."""

    path: str
    ending: str
    part: Part | None


def read_folder(
    path: str,
    *,
    encoding: str | None = None,
    sep: str | None = None,
    follow_links: bool = False,
    drop_empty_classes: bool = False,
) -> Rows:
    """Read what lies in a folder.

    Args:
        path: the folder, or the top of an archive (`d.zip!`).
        encoding: encoding of the tables in it; UTF-8 if None.
        sep: the character between their cells, where they have one.
        follow_links: as for `class_folder_rows`.
        drop_empty_classes: likewise.

    Raises:
        DataError: nothing that is read lies there, or several things that may be meant.
    """
    options = {k: v for k, v in (("encoding", encoding), ("sep", sep)) if v is not None}
    found = scan(path, "", [])
    names = {entry.name for entry in found}
    if names & set(SAVED):
        return without_options(read_saved, path, options)
    described = metadata_files(path, found)
    if described:
        return read_tables(path, described, options)
    files = table_files(found)
    wanted = scan(path, "", [], follow_links)
    folders = [entry.name for entry in wanted if entry.kind == "folder"]
    if folders == ["data"] and not files:
        inner = table_files(scan(path, "data", []))
        files = [replace(file, path=f"data/{file.path}") for file in inner]
    parts = [file for file in files if file.part is not None]
    if any(file.part == "train" for file in parts):
        rows = read_tables(path, parts, options)
        others = [file.path for file in files if file.part is None]
        return with_note(rows, others, "not a part of the split; pass it by itself if meant")
    if files and not has_class_folders(path, folders):
        if len(files) > 1:
            shown = listed(file.path for file in files)
            message = f"several tables ({shown}); pass one, or name them train, validation, test"
            raise data_error(message, path=path)
        return read_tables(path, [replace(files[0], part=None)], options)
    archives = [e.name for e in found if e.name.lower().endswith(ARCHIVE_ENDINGS)]
    if not folders and len(archives) == 1:
        message = f"only the archive {archives[0]}; pass its path"
        raise data_error(message, path=path)
    read = functools.partial(
        class_folder_rows, follow_links=follow_links, drop_empty_classes=drop_empty_classes
    )
    rows = without_options(read, path, options)
    return with_note(rows, [file.path for file in files], "not read; pass it if it holds labels")


def without_options(reader: Callable[[str], Rows], path: str, options: Mapping[str, str]) -> Rows:
    """Return the rows of a reader that takes none of the options of text files."""
    for name in options:
        raise data_error(f"--{name} has no meaning here; leave it out", path=path)
    return reader(path)


def with_note(rows: Rows, names: list[str], why: str) -> Rows:
    """Return the rows with a warning for each file that was not read."""
    notes = tuple(Finding("file-left-out", "warn", why, str(Path(rows.name) / n)) for n in names)
    return replace(rows, findings=(*rows.findings, *notes))


def read_tables(path: str, files: list[TableFile], options: Mapping[str, str]) -> Rows:
    """Read the tables of a folder as one."""
    readers = [load(file.ending) for file in files]
    known = [inspect.signature(reader).parameters.keys() for reader in readers]
    for name in options:
        if not any(name in names for names in known):
            raise data_error(f"--{name} has no meaning here; leave it out", path=path)
    tables = [
        reader(str(Path(path) / file.path), **{k: v for k, v in options.items() if k in names})
        for file, reader, names in zip(files, readers, known, strict=True)
    ]
    if len(tables) == 1 and files[0].part is None:
        return tables[0]
    return joined(tables, [file.part for file in files], path, path)


def metadata_files(path: str, found: list[Entry]) -> list[TableFile]:
    """Return the tables named `metadata`: at the top, or else in the folders of a split."""
    at_top = [file for file in table_files(found) if file.path.startswith(f"{METADATA}.")]
    if len(at_top) > 1:
        message = f"{listed(file.path for file in at_top)} side by side; keep one"
        raise data_error(message, path=path)
    if at_top:
        return at_top
    files = []
    for entry in found:
        part = FOLDER_PARTS.get(entry.name.casefold())
        if entry.kind != "folder" or part is None:
            continue
        files += [
            TableFile(f"{entry.name}/{file.path}", file.ending, part)
            for file in table_files(scan(path, entry.name, []))
            if file.path.startswith(f"{METADATA}.")
        ]
    return files


def table_files(found: list[Entry]) -> list[TableFile]:
    """Return the tables among the entries of a folder, with the parts that their names mean."""
    files = []
    for entry in found:
        ending = ending_of(entry.name)
        if entry.kind != "folder" and ending is not None:
            stem = SHARD.sub("", entry.name[: -len(ending) - 1]).casefold()
            files.append(TableFile(entry.name, ending, COLUMN_PARTS.get(stem)))
    return files


def has_class_folders(path: str, folders: list[str]) -> bool:
    """Tell whether the folders are classes, at least two, or parts of a split that hold some."""
    parts = [name for name in folders if name.casefold() in FOLDER_PARTS]
    if not parts:
        return len(folders) > 1
    inner = [e for part in parts for e in scan(path, part, []) if is_shown(e.name)]
    return any(entry.kind == "folder" for entry in inner)
