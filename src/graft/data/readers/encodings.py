"""Which encoding a text file has, and where the bytes that disagree are."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from typing import NoReturn

from graft.data.faults import data_error, shorten
from graft.data.files import unpacked
from graft.data.readers.text_files import all_bytes

SOME_ENCODINGS = "utf-8, utf-16, cp1252, latin-1, shift_jis or gb18030"
N_BYTES_LOOKED_AT = 4_096

QUOTES = frozenset([0x80, 0x85, *range(0x91, 0x98)])
"""Of cp1252's signs those that texts are full of: euro, ellipsis, quotes, dashes."""
LONGEST_RUN = 2.2
"""Mean length of a run of bytes beyond ASCII in western texts, at most."""

Place = Callable[[str], tuple[int | None, str | None]]


def has_mark(path: str) -> bool:
    """Tell whether a file starts with the byte-order mark of UTF-8."""
    with unpacked(path) as file:
        return file.read(3) == codecs.BOM_UTF8


def known_encoding(encoding: str | None, path: str) -> str:
    """Return the codec for a name; UTF-8 takes a byte-order mark along."""
    try:
        name = codecs.lookup(encoding or "utf-8").name
        "a".encode(name)  # refuses codecs that are not for text, such as base64
    except LookupError:
        message = f"unknown encoding {shorten(str(encoding), 20)!r}; pass {SOME_ENCODINGS}"
        raise data_error(message, path=path) from None
    return "utf-8-sig" if name == "utf-8" else name


def refuse_encoding(path: str, encoding: str, place_of: Place) -> NoReturn:
    """Raise the error for bytes that are not of the encoding, naming row, column and byte.

    Another encoding is offered only where it decodes the whole file.

    Args:
        path: the file, as the user named it.
        encoding: the codec that failed.
        place_of: a function from the text before the bad byte to the row and column it ends in.
    """
    data = all_bytes(path)
    shown = encoding.removesuffix("-sig").upper()
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) and encoding != "utf-16":
        hint = " or pass --encoding utf-16" if decodes(data, "utf-16") else ""
        raise data_error(f"not {shown} but UTF-16; re-save it as UTF-8{hint}", path=path)
    if encoding.startswith("utf-8"):
        refuse_unmarked(path)
    offered = "cp1252" if encoding.startswith("utf-8") else "utf-8"
    hint = f" or pass --encoding {offered}" if decodes(data, offered) else ""
    if hint and offered == "cp1252" and not is_western(data):
        hint = " or pass --encoding with the one it has (shift_jis, gb18030, cp1251 …)"
    try:
        decode_as_stream(data, encoding)
        raise data_error("the file changed while it was read; read it again", path=path)
    except UnicodeDecodeError as error:
        # utf-8-sig counts positions from behind the mark.
        marked = encoding == "utf-8-sig" and data.startswith(codecs.BOM_UTF8)
        at = error.start + (3 if marked else 0)
        before = data[:at].decode(encoding, "replace")
        message = f"byte 0x{data[at]:02X} is not {shown}; re-save it as UTF-8{hint}"
        row, column = place_of(before)
    except UnicodeError as error:
        message = f"not {shown} ({shorten(str(error), 40)}); re-save it as UTF-8{hint}"
        row, column = None, None
    raise data_error(message, path=path, row=row, column=column) from None


def refuse_unmarked(path: str) -> None:
    """Raise the error for UTF-16 without a byte-order mark; do nothing where it is something else.

    Its plain letters are valid UTF-8 with a NUL byte beside each.
    """
    data = all_bytes(path)
    found = unmarked_utf16(data[:N_BYTES_LOOKED_AT])
    if found is not None and decodes(data, found):
        message = "not UTF-8 but UTF-16 without a byte-order mark; re-save it as UTF-8 or pass "
        raise data_error(message + f"--encoding {found}", path=path)


def unmarked_utf16(head: bytes) -> str | None:
    """Return which UTF-16 some bytes look like: every other byte is mostly NUL.

    >>> unmarked_utf16("text,label".encode("utf-16-le")), unmarked_utf16(b"text,label")
    ('utf-16-le', None)
    """
    even, odd = head[::2], head[1::2]
    for name, zeros, letters in (("utf-16-le", odd, even), ("utf-16-be", even, odd)):
        if zeros and 2 * zeros.count(0) > len(zeros) and 10 * letters.count(0) < len(letters):
            return name
    return None


def is_western(data: bytes) -> bool:
    """Tell whether bytes beyond ASCII stand as accented letters among plain ones do.

    cp1252 decodes nearly anything, so that it does says nothing of Japanese or Russian. There such
    bytes come in long runs, or many are of those that cp1252 has for signs.

    >>> is_western("a informação, Größe".encode("cp1252")), is_western("トマト".encode("shift_jis"))
    (True, False)
    """
    runs = re.findall(rb"[\x80-\xff]+", data.removeprefix(codecs.BOM_UTF8))
    n = sum(map(len, runs))
    n_signs = sum(byte in range(0x80, 0xA0) and byte not in QUOTES for run in runs for byte in run)
    return n <= LONGEST_RUN * len(runs) and 4 * n_signs <= n


def decodes(data: bytes, encoding: str) -> bool:
    """Tell whether an encoding decodes all of the bytes."""
    try:
        decode_as_stream(data, encoding)
    except UnicodeError:
        return False
    return True


def decode_as_stream(data: bytes, encoding: str) -> str:
    """Return the text as an opened file would give it: UTF-16 without a mark is refused."""
    return codecs.getincrementaldecoder(encoding)().decode(data, final=True)
