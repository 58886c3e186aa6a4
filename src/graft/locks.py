"""Locks between processes: who writes into a folder, told by the system rather than by a file.

The lock is `flock`'s, so it ends with the process, however that ends: there are no stale ones. What
stands in the file (process and machine) is for people alone.
"""

from __future__ import annotations

import errno
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # no such locks on Windows
    fcntl = None  # type: ignore[assignment]

SECONDS_BETWEEN = 0.2


@contextmanager
def locked(path: Path, on_wait: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold the lock of a file inside the context; the file is gone afterwards.

    Args:
        path: of the lock's file, in a folder that exists.
        on_wait: called once with the holder where somebody else has it, and then it is waited for.

    Raises:
        Held: somebody else has it, and `on_wait` is not given.
        OSError: the file cannot be written.
    """
    handle = _take(path)
    while handle is None:
        holder = who_holds(path)
        if on_wait is None:
            raise Held(holder)
        on_wait(holder)
        while (handle := _take(path)) is None:
            time.sleep(SECONDS_BETWEEN)
    try:
        yield
    finally:
        # before it is let go, or it could be another's
        with suppress(OSError):
            path.unlink()
        os.close(handle)


class Held(Exception):
    """Say who holds a lock.

    Args:
        holder: `process 123 on machine`.
    """

    def __init__(self, holder: str) -> None:
        super().__init__(holder)
        self.holder = holder


def is_held(path: Path) -> bool:
    """Return whether another process holds the lock of a file now."""
    if fcntl is None or not path.exists():
        return False
    try:
        handle = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        _lock(handle)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def who_holds(path: Path) -> str:
    """Return what the holder wrote about itself."""
    try:
        return path.read_text(encoding="utf-8").strip() or "another process"
    except (OSError, ValueError):
        return "another process"


def _take(path: Path) -> int | None:
    """Open and lock a file; None where another holds it."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _lock(handle)
        # whoever had it may have removed the file in between
        if path.stat().st_ino == os.fstat(handle).st_ino:
            os.truncate(handle, 0)
            os.write(handle, f"process {os.getpid()} on {platform.node()}\n".encode())
            return handle
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(handle)
        raise
    os.close(handle)
    return None


def _lock(handle: int) -> None:
    """Lock an open file; where the file system has no locks there is nothing to wait for."""
    if fcntl is None:
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
            raise
