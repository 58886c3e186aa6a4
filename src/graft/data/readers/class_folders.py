"""Read images that lie in one folder per class.

    root/CLASS/*                          label: the folder's name
    root/{train,val,test}/CLASS/*         the same, with a given split
    root/*                                no label, as for prediction

The root may be the inside of an archive. Listings are sorted, so the order of the rows does not
depend on the disk. Nothing is opened here: a pipe cannot hang the reading, and a link that leads
out of the root is left out and named.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from graft.data.faults import Finding, Severity, data_error, listed
from graft.data.files import Entry, entries, is_inside, kind_of
from graft.data.images import ENDINGS
from graft.data.rows import Rows
from graft.data.split import FOLDER_PARTS

IGNORED_NAMES = frozenset(["__MACOSX", "Thumbs.db", "desktop.ini"])


@dataclass(frozen=True)
class ClassFolder:
    """Name one folder of images: its path under the root, its label, and its part of a split."""

    path: str
    label: str
    part: str | None


def class_folder_rows(
    path: str, *, follow_links: bool = False, drop_empty_classes: bool = False
) -> Rows:
    """Read a folder of class folders of images; the columns are `path`, `label` and maybe `split`.

    A class folder without an image is an error among the findings, for predicting does without it.

    Args:
        path: the folder.
        follow_links: take what a link leads to, wherever it lies.
        drop_empty_classes: only say that a class folder holds no image.

    Raises:
        DataError: there are no class folders, no image at all, or folders of both kinds.
    """
    findings: list[Finding] = []
    follow = follow_links
    if not any(entry.kind == "folder" for entry in scan(path, "", [], follow)):
        names = [name.removeprefix("/") for name in list_images(path, "", findings, follow)]
        if names:
            because = "image: the files, label: none, for there are no folders of classes"
            return rows_of_files(path, names, {"path": names}, because, findings)
        findings = []
    folders = class_folders(path, findings, follow)
    images: list[tuple[str, ClassFolder]] = []
    for folder in folders:
        images += [(name, folder) for name in list_images(path, folder.path, findings, follow)]

    found = {folder.label for _, folder in images}
    empty = {f.label: str(Path(path) / f.path) for f in folders if f.label not in found}
    message = f"no image in it; add {'/'.join(e[1:] for e in ENDINGS)} files or remove the folder"
    if not found:
        raise data_error(message, path=next(iter(empty.values())))
    if drop_empty_classes:
        message = "a class without an image was left out"
    else:
        message += ", or pass --drop-empty-classes"
    severity: Severity = "repair" if drop_empty_classes else "error"
    findings += [Finding("empty-class", severity, message, place) for place in empty.values()]
    columns: dict[str, list[str]] = {
        "path": [name for name, _ in images],
        "label": [folder.label for _, folder in images],
    }
    if folders[0].part is not None:
        columns["split"] = [str(folder.part) for _, folder in images]
    because = "image: the files, label: the folders' names"
    because += ", split: the folders above them" if "split" in columns else ""
    return rows_of_files(path, [name for name, _ in images], columns, because, findings)


def rows_of_files(
    root: str,
    names: list[str],
    columns: dict[str, list[str]],
    because: str,
    findings: list[Finding],
) -> Rows:
    """Return rows each of which is a file under the root."""
    import pyarrow as pa

    return Rows(
        data=pa.table(columns),
        name=root,
        sources=tuple(str(Path(root) / name) for name in names),
        source_of=np.arange(len(names)),
        row_of=np.zeros(len(names), dtype=np.int64),
        root=root,
        because=because,
        findings=tuple(findings),
    )


def class_folders(root: str, findings: list[Finding], follow: bool = False) -> list[ClassFolder]:
    """Return the class folders under a root, sorted by path; name what lies beside them."""
    names = subfolders(root, "", findings, follow)
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
            for name in subfolders(root, part, findings, follow)
        ]
    if not folders:
        raise data_error("no class folders in it; make one folder per class", path=root)
    nested = [folder for folder in folders if folder.label.casefold() in FOLDER_PARTS]
    if nested:
        message = "the name of a split where a class is expected; put the split's folders on top"
        raise data_error(message, path=Path(root) / nested[0].path)
    return folders


def list_images(
    root: str, folder: str, findings: list[Finding], follow: bool = False
) -> Iterator[str]:
    """Yield the images under a class folder as paths from the root; name what is left out."""
    for entry in scan(root, folder, findings, follow):
        name = f"{folder}/{entry.name}"
        if entry.kind == "folder":
            if entry.name.casefold() in FOLDER_PARTS:
                message = "the name of a split inside a class; put the split's folders on top"
                raise data_error(message, path=Path(root) / name)
            yield from list_images(root, name, findings, follow)
            continue
        why = why_not(root, name, entry)
        if why is None:
            yield name
        else:
            code, message = why
            findings.append(Finding(code, "skip", message, str(Path(root) / name)))


def why_not(root: str, name: str, entry: Entry) -> tuple[str, str] | None:
    """Return code and reason why a file is left out, or None for an image."""
    if entry.kind == "link":
        base = Path(root).resolve()
        try:
            target = (base / name).resolve(strict=True)
        except (OSError, RuntimeError):
            return "broken-link", "the link leads nowhere; remove it"
        if not is_inside(target, base):
            message = "the link leaves the data root; copy the file into it or pass --follow-links"
            return "link-outside", message
        if not target.is_file():
            return "link-not-file", "the link leads to no file; copy what it leads to"
    elif entry.kind != "file":
        return "not-a-file", "a pipe, socket or device; remove it"
    if Path(name).suffix.lower() not in ENDINGS:
        return "not-an-image", "not the ending of an image; remove or rename it"
    try:
        name.encode()
    except UnicodeEncodeError:
        return "bad-name", "the name is not UTF-8; rename the file"
    return None


def subfolders(root: str, folder: str, findings: list[Finding], follow: bool = False) -> list[str]:
    """Return the sorted names of the folders in a folder; name links and stray images."""
    names = []
    for entry in scan(root, folder, findings, follow):
        place = str(Path(root) / folder / entry.name)
        if entry.kind == "folder":
            names.append(entry.name)
        elif entry.kind == "link" and Path(place).is_dir():
            message = "a link to a folder, not followed; copy the folder or pass --follow-links"
            findings.append(Finding("linked-folder", "skip", message, place))
        elif Path(entry.name).suffix.lower() in ENDINGS:
            message = "an image beside the class folders; move it into one"
            findings.append(Finding("stray-image", "skip", message, place))
    return names


def scan(root: str, folder: str, findings: list[Finding], follow: bool = False) -> list[Entry]:
    """Return what lies in a folder, sorted by name, without hidden files.

    A folder below the root that may not be listed is left out and named.

    Args:
        follow: return what links lead to, unless that is a folder that they lie in.
    """
    place = str(Path(root) / folder)
    try:
        found = [e for e in entries(place) if is_shown(e.name)]
        return [followed(root, folder, e, findings) for e in found] if follow else found
    except OSError as error:
        message = f"cannot be listed ({error.strerror}); change its permissions"
        if not folder:
            raise data_error(message, path=place) from None
        findings.append(Finding("unreadable-folder", "skip", message, place))
        return []


def followed(root: str, folder: str, entry: Entry, findings: list[Finding]) -> Entry:
    """Return what an entry leads to where it is a link; one that leads in a circle stays a link."""
    if entry.kind != "link":
        return entry
    place = Path(root) / folder / entry.name
    above = [place.parent, *itertools.islice(place.parent.parents, len(Path(folder).parts))]
    try:
        if place.resolve(strict=True) in {p.resolve() for p in above}:
            message = "a link to a folder that it lies in; remove it"
            findings.append(Finding("link-loop", "skip", message, str(place)))
            return Entry(entry.name, "other")
        kind = kind_of(place)
    except (OSError, RuntimeError):
        kind = None
    return entry if kind is None else Entry(entry.name, kind)


def is_shown(name: str) -> bool:
    """Tell whether a name is not hidden, nor what an operating system leaves behind."""
    return not name.startswith(".") and name not in IGNORED_NAMES
