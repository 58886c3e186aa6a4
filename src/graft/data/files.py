"""Places: files and folders on the disk, and those inside an archive, by one kind of name.

    data/train.csv            a file
    data.zip!/train.csv       a member of an archive
    data.zip!                 the top of an archive, which is like a folder

A place is a string, so it can stand in a cell, in an error and in a list that goes to another
process; nothing but these functions asks whether it lies in an archive. `Embedded` is the other
way a picture may come: bytes in a column.
"""

from __future__ import annotations

import gzip
import io
import itertools
import os
import stat
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

from graft.data.archives import LARGEST_RATIO, SMALL_BYTES, open_archive, split_place
from graft.data.faults import PlacedError, data_error

Kind = Literal["file", "folder", "link", "other"]


@dataclass(frozen=True)
class Entry:
    """Name one thing in a folder; a link is not followed."""

    name: str
    kind: Kind


@dataclass(frozen=True, eq=False)
class Embedded:
    """Hold a file whose bytes lie in a column.

    Args:
        name: what an error may call it.
        data: the bytes, or a buffer over them.
    """

    name: str
    data: Any

    def __str__(self) -> str:
        return self.name


def join(folder: str, name: str) -> str:
    """Return the absolute place of `name` under `folder`; no name leads out of an archive."""
    place = str(Path(folder).absolute())
    return f"{place}/{name}" if split_place(place) is not None else str(Path(place) / name)


def kind_of(place: str | Path) -> Kind | None:
    """Return what lies at a place, behind links; None where nothing does.

    Raises:
        OSError: it cannot be looked at.
    """
    inside = split_place(str(place))
    if inside is not None:
        archive, name = open_archive(inside[0]), inside[1]
        if name in archive.members:
            return "file"
        return "folder" if name in archive.folders else None
    try:
        mode = Path(place).stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    if stat.S_ISDIR(mode):
        return "folder"
    return "file" if stat.S_ISREG(mode) else "other"


def leaves(root: str, place: str) -> bool:
    """Tell whether a file below a folder is a link that leads out of it; any other file is not.

    Args:
        root: the folder of the data.
        place: absolute path of a file on the disk.
    """
    base, path = Path(root).absolute(), Path(place)
    if not path.is_relative_to(base):
        return False
    above = itertools.takewhile(lambda p: p != base, (path, *path.parents))
    try:
        return any(p.is_symlink() for p in above) and not is_inside(path.resolve(), base.resolve())
    except (OSError, RuntimeError, ValueError):
        return False


def is_inside(target: Path, base: Path) -> bool:
    """Tell whether a resolved path lies in a folder, or in the blobs of its Hub snapshot."""
    above = [place for place in (base, *base.parents) if place.parent.name == "snapshots"]
    blobs = [place.parent.parent / "blobs" for place in above[:1]]
    return any(target.is_relative_to(place) for place in (base, *blobs))


def size_bytes(place: str | Path) -> int:
    """Return the size of a file.

    Raises:
        OSError: there is no such file, or it cannot be looked at.
    """
    inside = split_place(str(place))
    if inside is None:
        return Path(place).stat().st_size
    member = open_archive(inside[0]).members.get(inside[1])
    if member is None:
        raise FileNotFoundError(2, "No such file in the archive", str(place))
    return member.size_bytes


def open_binary(place: str | Path | Embedded) -> BinaryIO:
    """Open a file for reading, wherever it lies; a member of an archive is in memory.

    Raises:
        OSError: it cannot be read.
        DataError: it is damaged inside its archive.
    """
    if isinstance(place, Embedded):
        return io.BytesIO(place.data)
    inside = split_place(str(place))
    if inside is None:
        return Path(place).open("rb")
    try:
        return io.BytesIO(open_archive(inside[0]).read(inside[1]))
    except PlacedError as error:
        raise data_error(error.message, path=place) from None


def entries(place: str) -> list[Entry]:
    """Return what lies in a folder, sorted by name.

    Raises:
        OSError: it cannot be listed.
    """
    inside = split_place(place)
    if inside is None:
        with os.scandir(place) as found:
            return sorted((Entry(e.name, kind_of_entry(e)) for e in found), key=lambda e: e.name)
    listed = open_archive(inside[0]).folders.get(inside[1])
    if listed is None:
        raise FileNotFoundError(2, "No such folder in the archive", place)
    folders, files = listed
    both = [Entry(name, "folder") for name in folders] + [Entry(name, "file") for name in files]
    return sorted(both, key=lambda e: e.name)


def kind_of_entry(entry: os.DirEntry[str]) -> Kind:
    """Return what an entry of a folder is, links not followed; never fails."""
    try:
        if entry.is_symlink():
            return "link"
        if entry.is_dir(follow_symlinks=False):
            return "folder"
        return "file" if entry.is_file(follow_symlinks=False) else "other"
    except OSError:
        return "other"


@contextmanager
def unpacked(place: str) -> Generator[BinaryIO, None, None]:
    """Open a file, and read through its gzip packing where its name ends in `.gz`.

    Raises:
        DataError: the packing is damaged, or unpacks to absurdly much.
    """
    with open_binary(place) as file:
        if not place.lower().endswith(".gz"):
            yield file
            return
        try:
            with gzip.open(file) as unzipped:
                capped = Capped(cast(BinaryIO, unzipped), size_bytes(place), place)
                with io.BufferedReader(capped, 2**16) as buffered:
                    yield cast(BinaryIO, buffered)
        except (gzip.BadGzipFile, EOFError, zlib.error):
            message = "the gzip packing is damaged or cut off; download or pack it again"
            raise data_error(message, path=place) from None


class Capped(io.RawIOBase):
    """Read a stream that is unpacked on the way, and refuse one that grows without end."""

    def __init__(self, stream: BinaryIO, packed_bytes: int, place: str) -> None:
        self.stream = stream
        self.most_bytes = max(packed_bytes * LARGEST_RATIO, SMALL_BYTES)
        self.place = place

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.stream.read(len(buffer))
        self.most_bytes -= len(data)
        if self.most_bytes < 0:
            message = f"unpacks to over {LARGEST_RATIO} times its size (a gzip bomb?); unpack it"
            raise data_error(message + " yourself", path=self.place)
        buffer[: len(data)] = data
        return len(data)
