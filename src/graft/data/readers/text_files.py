"""Open a text file that may be packed with gzip or lie in an archive."""

from __future__ import annotations

import io
import os
from collections.abc import Generator
from contextlib import contextmanager

from graft.data.faults import data_error
from graft.data.files import kind_of, size_bytes, unpacked
from graft.errors import DataError

NO_TEXT = {
    b"\x1f\x8b": "is packed with gzip; unpack it, or let its name end in .gz",
    b"PK\x03\x04": "is a zip archive or a workbook; save the sheet as CSV, or name an archive .zip",
    b"\xd0\xcf\x11\xe0": "is an old Office file; save the sheet as CSV",
    b"PAR1": "is a Parquet file; let its name end in .parquet",
    b"ARROW1": "is an Arrow file; let its name end in .arrow",
    b"%PDF-": "is a PDF; save its table as CSV",
}
"""first bytes → what such a file is, and the mend."""
N_BYTES_LOOKED_AT = 4_096


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
    """Open a text file, its line ends as they are.

    Raises:
        DataError: it starts as a file of another kind does.
    """
    with unpacked(path) as file:
        head = file.read(N_BYTES_LOOKED_AT)
    for mark, message in NO_TEXT.items():
        # a column may be called PAR1, and texts hold no zero bytes
        if head.startswith(mark) and not (mark.isalnum() and 0 not in head):
            raise data_error(message, path=path)
    with (
        unpacked(path) as file,
        io.TextIOWrapper(file, encoding=encoding, newline="") as text,
    ):
        yield text


def all_bytes(path: str) -> bytes:
    """Return what a text file holds, unpacked."""
    with unpacked(path) as file:
        return file.read()
