"""Writing: whole files or none, one message for every disk that is full or read-only.

Whatever is written goes into a file or folder beside its place, which then takes the place at once.
What a crash leaves behind ends in `.tmp` and is written anew.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from graft.data.faults import LONGEST_LINE, shorten_path
from graft.disk import fsync
from graft.errors import StorageError
from graft.wording import human_bytes

FULL = (errno.ENOSPC, errno.EDQUOT)
TOO_LARGE = errno.EFBIG


@contextmanager
def storing(what: str, path: Path, mend: str, *, needed_bytes: int = 0) -> Iterator[None]:
    """Report what the system refuses inside the context as one line.

    Args:
        what: is written: `a checkpoint`.
        path: where to.
        mend: what to do, in the imperative.
        needed_bytes: how much would be written, if that is known.

    Raises:
        StorageError: an OSError, or what safetensors makes of one.
    """
    try:
        yield
    except Exception as error:
        number = _number(error)
        if number is None:
            raise
        raise fault(what, path, mend, number=number, needed_bytes=needed_bytes) from None


def fault(what: str, path: Path, mend: str, *, number: int, needed_bytes: int = 0) -> StorageError:
    """Return the error of a write that failed with an error number of the system."""
    reason = os.strerror(number) if number else "the system refused"
    is_full = number in FULL
    if is_full:
        needed = f"needs {human_bytes(needed_bytes)}, " if needed_bytes else ""
        reason += f": {needed}{human_bytes(free_bytes(path))} free"
    text = f": cannot write {what} ({reason}); {mend}"
    return StorageError(shorten_path(str(path), LONGEST_LINE - len(text)) + text, is_full=is_full)


def free_bytes(path: Path) -> int:
    """Return the free space of the disk on which a path lies, or would lie."""
    for place in (path, *path.absolute().parents):
        with suppress(OSError):
            return shutil.disk_usage(place).free
    return 0


def write_text(path: Path, text: str, *, what: str = "", mend: str = "free some space") -> None:
    """Write a file whole or not at all; `path` holds all of it, or what it held before.

    Raises:
        StorageError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    with storing(what or path.name, path.parent, mend, needed_bytes=len(text)):
        try:
            with temporary.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            fsync(path.parent)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Give a folder to write into, which takes the place of `folder` when all is written."""
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        for path in sorted(temporary.rglob("*"), reverse=True):
            fsync(path)
        fsync(temporary)
        if folder.exists():
            shutil.rmtree(folder)
        temporary.replace(folder)
        fsync(folder.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _number(error: Exception) -> int | None:
    """Return the system's error number, 0 if it is not known; None for another kind of error."""
    if isinstance(error, OSError):
        return error.errno or 0
    if type(error).__name__ != "SafetensorError":
        return None
    found = re.search(r"os error (\d+)", str(error))
    return int(found[1]) if found else 0
