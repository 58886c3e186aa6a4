"""Read a table of delimited text, and refuse what Python's csv module would silently damage.

The file is streamed: one pass, line by line, into Arrow columns. An unclosed quote, a ragged row,
a NUL byte, another encoding or another separator each end in one line that says where and what to
do. Only where decoding failed is the file read again, to find the place.

Rows are counted as a spreadsheet shows them below the header, so an empty line has a number too.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from graft.data.faults import Finding, data_error, listed
from graft.data.readers.encodings import has_mark, known_encoding, refuse_encoding, refuse_unmarked
from graft.data.readers.text_files import check_file, open_text
from graft.data.rows import Rows

if TYPE_CHECKING:
    import pyarrow as pa

LONGEST_CELL = 10_000_000
N_LINES_PER_RECORD = 1_000
N_ROWS_PER_CHUNK = 65_536
N_RAGGED_SHOWN = 5
OTHER_SEPARATORS = {",": "','", ";": "';'", "\t": "tab", "|": "'|'"}
SEPARATOR_WORDS = {"tab": "\t", "\\t": "\t"}


def read_csv(path: str, *, encoding: str | None = None, sep: str | None = None) -> Rows:
    """Read a comma-separated file with a header line.

    Args:
        path: the file, as the user named it; one that ends in `.gz` is unpacked on the way.
        encoding: encoding of the file; UTF-8, with or without a byte-order mark, if None.
        sep: the character between cells (or `tab`); the comma if None.

    Raises:
        DataError: the file, a row or a column is not what it must be.
    """
    return read_delimited(path, encoding=encoding, sep=sep or ",")


def read_tsv(path: str, *, encoding: str | None = None, sep: str | None = None) -> Rows:
    """Read a tab-separated file with a header line; otherwise as `read_csv`."""
    return read_delimited(path, encoding=encoding, sep=sep or "tab")


def read_delimited(path: str, *, encoding: str | None, sep: str) -> Rows:
    """Read delimited text; the reader of every such ending is this with its own separator."""
    import pyarrow as pa

    check_file(path, "add a header line and rows")
    encoding = known_encoding(encoding, path)
    sep = SEPARATOR_WORDS.get(sep, sep)
    if len(sep) != 1 or sep in '"\r\n\0':
        raise data_error("the separator is one character; pass --sep ';' or the like", path=path)
    findings: list[Finding] = []
    chunks: list[list[pa.Array]] = []
    row_numbers: list[int] = []
    try:
        with open_text(path, encoding) as file, long_cells():
            records = Records(file, sep, path)
            header = records.header = clean_header(next(records, None), sep, path, findings)
            for rows, numbers in in_chunks(records, header, path):
                cells = zip(*rows, strict=True)
                chunks.append([pa.array(column, pa.large_string()) for column in cells])
                row_numbers += numbers
    except UnicodeError:
        refuse_encoding(path, encoding, lambda text: place_at_end(text, sep))
    if not chunks:
        message = "only a header line; add rows"
        raise data_error(message, path=path)
    if has_mark(path):
        message = "a byte-order mark at the start was left out"
        findings.append(Finding("byte-order-mark", "repair", message, path))

    data = pa.table(
        {name: pa.chunked_array([chunk[i] for chunk in chunks]) for i, name in enumerate(header)}
    )
    return Rows.of_file(data, path, np.array(row_numbers, dtype=np.int64), findings)


class Records(Iterator[list[str]]):
    """Yield the records of a file; `row` is the number of the last one, 0 for the header.

    csv's strict mode notices a quote that closes before a cell ends, and a file that ends inside
    a quote; a record of more than 1,000 lines has lost its closing quote long before.
    """

    def __init__(self, lines: Iterable[str], sep: str, path: str) -> None:
        self.path = path
        self.row = -1
        self.first_line = 1
        self.n_lines = 0
        self.has_nul = False
        self.header: Sequence[str] = ()
        self.reader = csv.reader(self.watched(lines), delimiter=sep, strict=True)

    def watched(self, lines: Iterable[str]) -> Iterator[str]:
        """Yield the lines, counting those of the record at hand."""
        for line in lines:
            self.n_lines += 1
            if self.n_lines - self.first_line >= N_LINES_PER_RECORD:
                self.unclosed()
            self.has_nul = self.has_nul or "\0" in line
            yield line

    def __next__(self) -> list[str]:
        self.first_line = self.n_lines + 1
        self.row += 1
        try:
            record = next(self.reader)
        except csv.Error as error:
            self.refuse(str(error))
        if self.has_nul:
            self.refuse_nul(record)
        return record

    def refuse(self, why: str) -> NoReturn:
        """Raise what csv found, in words."""
        if "field limit" in why:
            message = f"a cell of more than {LONGEST_CELL:,} characters; shorten or drop it"
            raise data_error(message, path=self.path, row=self.row or None)
        if self.n_lines > self.first_line or "unexpected end" in why:
            self.unclosed()
        message = f"text after a closing quote in line {self.first_line}; write quotes inside a "
        message += 'quoted cell twice ("")'
        raise data_error(message, path=self.path, row=self.row or None)

    def unclosed(self) -> NoReturn:
        """Raise the error for a quote that swallows the lines after it."""
        message = f"a quote opened at line {self.first_line} is never closed; close it, or write "
        message += 'quotes inside a quoted cell twice ("")'
        raise data_error(message, path=self.path, row=self.row or None)

    def refuse_nul(self, record: Sequence[str]) -> NoReturn:
        """Raise the error for a NUL byte, with the column where it is known."""
        refuse_unmarked(self.path)
        at = next((i for i, cell in enumerate(record) if "\0" in cell), 0)
        message = "a NUL byte: the file is damaged or no text; re-save it as UTF-8"
        column = self.header[at] if at < len(self.header) else None
        raise data_error(message, path=self.path, row=self.row or None, column=column)


def in_chunks(
    records: Records, header: Sequence[str], path: str
) -> Iterator[tuple[list[list[str]], list[int]]]:
    """Yield rows and their numbers in chunks; refuse rows of another width than the header."""
    rows: list[list[str]] = []
    numbers: list[int] = []
    ragged: list[tuple[int, int]] = []
    for record in records:
        if not record:
            continue
        if len(record) != len(header):
            ragged.append((records.row, len(record)))
            if len(ragged) == N_RAGGED_SHOWN:
                break
            continue
        rows.append(record)
        numbers.append(records.row)
        if len(rows) == N_ROWS_PER_CHUNK:
            yield rows, numbers
            rows, numbers = [], []
    if ragged:
        places = ", ".join(f"row {row} has {width}" for row, width in ragged)
        message = f"{len(header)} cells expected, but {places}; quote cells that hold a separator"
        raise data_error(message, path=path, row=ragged[0][0])
    if rows:
        yield rows, numbers


def clean_header(
    record: list[str] | None, sep: str, path: str, findings: list[Finding]
) -> list[str]:
    """Return the names of the columns, without the white space around them."""
    if not record or not any(name.strip() for name in record):
        message = "no header line; write the names of the columns in the first line"
        raise data_error(message, path=path)
    if len(record) == 1:
        counts = Counter({other: record[0].count(other) for other in OTHER_SEPARATORS})
        other, n_found = counts.most_common(1)[0]
        if n_found and other != sep:
            shown = OTHER_SEPARATORS[other]
            message = (
                f"found 1 column; it looks like {shown} separates the cells: pass --sep {shown}"
            )
            raise data_error(message, path=path)
    header = [name.strip() or f"column {i}" for i, name in enumerate(record, start=1)]
    twice = [name for name, count in Counter(header).items() if count > 1]
    if twice:
        message = f"two columns have the same name ({listed(twice)}); rename one"
        raise data_error(message, path=path, column=twice[0])
    if any(name != name.strip() for name in record):
        message = "white space around the names of the columns was left out"
        findings.append(Finding("padded-header", "repair", message, path))
    return header


def place_at_end(text: str, sep: str) -> tuple[int | None, str | None]:
    """Return row and column of the cell that the text ends in."""
    # A mark instead of the bad byte, so that an empty last cell is a cell.
    lines = io.StringIO(text + "?", newline="")
    try:
        with long_cells():
            records = list(csv.reader(lines, delimiter=sep))
    except csv.Error:
        return None, None
    header, row = records[0], len(records) - 1
    column = header[len(records[-1]) - 1] if len(records[-1]) <= len(header) else None
    return (row, column) if row else (None, None)


@contextmanager
def long_cells() -> Generator[None, None, None]:
    """Let csv take cells of up to 10 million characters, and put its limit back afterwards."""
    before = csv.field_size_limit(LONGEST_CELL)
    try:
        yield
    finally:
        csv.field_size_limit(before)
