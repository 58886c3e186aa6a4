"""Read images that lie in one folder per class.

    root/CLASS/*                          label: the folder's name
    root/{train,val,test}/CLASS/*         the same, with a given split

Listings are sorted, so the order of the rows does not depend on the disk. Nothing is opened here:
a pipe cannot hang the reading, and a link that leads out of the root is left out and named.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from graft.data.faults import Finding, data_error, listed, shorten
from graft.data.images import ENDINGS
from graft.data.roles import Asked, find_roles
from graft.data.split import FOLDER_PARTS
from graft.data.table import Table

IGNORED_NAMES = frozenset(["__MACOSX", "Thumbs.db", "desktop.ini"])


@dataclass(frozen=True)
class ClassFolder:
    """Name one folder of images: its path under the root, its label, and its part of a split."""

    path: str
    label: str
    part: str | None


def read_folder(path: str, asked: Asked) -> Table:
    """Read a folder of class folders of images; the columns are `path`, `label` and maybe `split`.

    Raises:
        DataError: there are no class folders, an empty one, or folders of both kinds.
    """
    import pyarrow as pa

    findings: list[Finding] = []
    folders = class_folders(path, findings)
    images: list[tuple[str, ClassFolder]] = []
    for folder in folders:
        images += [(name, folder) for name in list_images(path, folder.path, findings)]

    found = {folder.label for _, folder in images}
    empty = sorted({folder.label for folder in folders} - found)
    if empty:
        place = next(folder.path for folder in folders if folder.label == empty[0])
        message = (
            f"no image in it; add {'/'.join(e[1:] for e in ENDINGS)} files or remove the folder"
        )
        raise data_error(message, path=Path(path) / place)
    columns: dict[str, list[str]] = {
        "path": [name for name, _ in images],
        "label": [folder.label for _, folder in images],
    }
    if folders[0].part is not None:
        columns["split"] = [str(folder.part) for _, folder in images]
    roles = find_roles(columns, asked, path=path).roles
    because = "image: the files, label: the folders' names"
    because += ", split: the folders above them" if roles.split else ""
    return Table(
        data=pa.table(columns),
        roles=roles,
        name_of_source=path,
        sources=tuple(str(Path(path) / name) for name, _ in images),
        source_of=np.arange(len(images)),
        row_of=np.zeros(len(images), dtype=np.int64),
        root=path,
        because=because,
        findings=tuple(findings),
    )


def class_folders(root: str, findings: list[Finding]) -> list[ClassFolder]:
    """Return the class folders under a root, sorted by path; name what lies beside them."""
    names = subfolders(root, "", findings)
    parts = [name for name in names if name.casefold() in FOLDER_PARTS]
    others = [name for name in names if name.casefold() not in FOLDER_PARTS]
    if parts and others:
        message = f"folders of a split ({listed(parts)}) beside others ({listed(others)}); "
        raise data_error(message + "move the classes into the split's folders", path=root)
    if not parts:
        folders = [ClassFolder(name, name, None) for name in others]
    else:
        folders = [
            ClassFolder(f"{part}/{name}", name, FOLDER_PARTS[part.casefold()])
            for part in parts
            for name in subfolders(root, part, findings)
        ]
    if not folders:
        tables = [entry.name for entry in scan(root, "") if entry.name.lower().endswith(".csv")]
        mend = f"pass {shorten(tables[0], 40)} in it" if tables else "make one folder per class"
        raise data_error(f"no class folders in it; {mend}", path=root)
    nested = [folder for folder in folders if folder.label.casefold() in FOLDER_PARTS]
    if nested:
        message = "the name of a split where a class is expected; put the split's folders on top"
        raise data_error(message, path=Path(root) / nested[0].path)
    return folders


def list_images(root: str, folder: str, findings: list[Finding]) -> Iterator[str]:
    """Yield the images under a class folder as paths from the root; name what is left out."""
    for entry in scan(root, folder):
        name = f"{folder}/{entry.name}"
        mode = entry.stat(follow_symlinks=False).st_mode
        if stat.S_ISDIR(mode):
            if entry.name.casefold() in FOLDER_PARTS:
                message = "the name of a split inside a class; put the split's folders on top"
                raise data_error(message, path=Path(root) / name)
            yield from list_images(root, name, findings)
            continue
        why = why_not(root, name, mode)
        if why is None:
            yield name
        else:
            code, message = why
            findings.append(Finding(code, "skip", message, str(Path(root) / name)))


def why_not(root: str, name: str, mode: int) -> tuple[str, str] | None:
    """Return code and reason why a file is left out, or None for an image."""
    if stat.S_ISLNK(mode):
        base = Path(root).resolve()
        try:
            target = (base / name).resolve(strict=True)
        except (OSError, RuntimeError):
            return "broken-link", "the link leads nowhere; remove it"
        if not target.is_relative_to(base):
            return "link-outside", "the link leaves the data root; copy the file into it"
        if not target.is_file():
            return "link-not-file", "the link leads to no file; copy what it leads to"
    elif not stat.S_ISREG(mode):
        return "not-a-file", "a pipe, socket or device; remove it"
    if Path(name).suffix.lower() not in ENDINGS:
        return "not-an-image", "not the ending of an image; remove or rename it"
    try:
        name.encode()
    except UnicodeEncodeError:
        return "bad-name", "the name is not UTF-8; rename the file"
    return None


def subfolders(root: str, folder: str, findings: list[Finding]) -> list[str]:
    """Return the sorted names of the folders in a folder; name links and stray images."""
    names = []
    for entry in scan(root, folder):
        place = str(Path(root) / folder / entry.name)
        if entry.is_dir(follow_symlinks=False):
            names.append(entry.name)
        elif entry.is_symlink() and entry.is_dir():
            message = "a link to a folder, which is not followed; copy the folder here"
            findings.append(Finding("linked-folder", "skip", message, place))
        elif Path(entry.name).suffix.lower() in ENDINGS:
            message = "an image beside the class folders; move it into one"
            findings.append(Finding("stray-image", "skip", message, place))
    return names


def scan(root: str, folder: str) -> list[os.DirEntry[str]]:
    """Return what lies in a folder, sorted by name, without hidden files."""
    place = Path(root) / folder
    try:
        with os.scandir(place) as entries:
            shown = [
                e for e in entries if not e.name.startswith(".") and e.name not in IGNORED_NAMES
            ]
    except OSError as error:
        message = f"cannot be listed ({error.strerror}); change its permissions"
        raise data_error(message, path=place) from None
    return sorted(shown, key=lambda entry: entry.name)
