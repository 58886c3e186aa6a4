"""Open a text file that may be packed with gzip or lie in an archive."""

from __future__ import annotations

import io
import os
from collections.abc import Generator
from contextlib import contextmanager

from graft.data.faults import data_error
from graft.data.files import kind_of, size_bytes, unpacked
from graft.errors import DataError


def check_file(path: str, mend: str) -> None:
    """Refuse what is no regular file, what is empty and what cannot be read.

    Args:
        path: the file, as the user named it.
        mend: what to add to an empty file.
    """
    try:
        kind = kind_of(path)
        if kind != "file":
            raise data_error("is not a regular file; save the table as a file", path=path)
        if size_bytes(path) == 0:
            raise data_error(f"the file is empty; {mend}", path=path)
        if os.path.exists(path) and not os.access(path, os.R_OK):  # noqa: PTH110 - a place
            raise data_error("no permission to read it; change its permissions", path=path)
    except DataError:
        raise
    except OSError as error:
        message = f"cannot be read ({error.strerror}); correct the path"
        raise data_error(message, path=path) from None


@contextmanager
def open_text(path: str, encoding: str) -> Generator[io.TextIOWrapper, None, None]:
    """Open a text file, its line ends as they are."""
    with (
        unpacked(path) as file,
        io.TextIOWrapper(file, encoding=encoding, newline="") as text,
    ):
        yield text


def all_bytes(path: str) -> bytes:
    """Return what a text file holds, unpacked."""
    with unpacked(path) as file:
        return file.read()
