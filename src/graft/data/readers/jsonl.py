"""Read a file of one JSON object per line.

The file is streamed. A column has every key that occurs, in the order of their first appearance;
a row without it is empty there. Rows are numbered as the lines are, empty ones included.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from graft.data.faults import Finding, data_error, shorten
from graft.data.readers.encodings import has_mark, known_encoding, refuse_encoding, refuse_unmarked
from graft.data.readers.text_files import check_file, open_text
from graft.data.rows import Rows

if TYPE_CHECKING:
    import io

    import pyarrow as pa

LONGEST_LINE = 10_000_000
N_ROWS_PER_CHUNK = 65_536


def read_jsonl(path: str, *, encoding: str | None = None) -> Rows:
    """Read a file of one JSON object per line.

    Args:
        path: the file, as the user named it; one that ends in `.gz` is unpacked on the way.
        encoding: encoding of the file; UTF-8, with or without a byte-order mark, if None.

    Raises:
        DataError: the file or a line is not what it must be.
    """
    check_file(path, "add lines")
    encoding = known_encoding(encoding, path)
    names: dict[str, None] = {}
    tables: list[pa.Table] = []
    numbers: list[int] = []
    objects: list[dict[str, Any]] = []
    try:
        with open_text(path, encoding) as file:
            for number, found in each_object(file, path):
                names.update(dict.fromkeys(found))
                objects.append(found)
                numbers.append(number)
                if len(objects) == N_ROWS_PER_CHUNK:
                    tables.append(table_of(objects, numbers, names, path))
                    objects = []
    except UnicodeError:
        refuse_encoding(path, encoding, lambda text: (text.count("\n") + 1, None))
    if objects:
        tables.append(table_of(objects, numbers, names, path))
    if not tables:
        raise data_error("only empty lines; add one JSON object per line", path=path)
    if not names:
        raise data_error("the objects have no keys; write text and label", path=path, row=1)
    findings = []
    if has_mark(path):
        message = "a byte-order mark at the start was left out"
        findings.append(Finding("byte-order-mark", "repair", message, path))
    return Rows.of_file(together(tables), path, np.array(numbers, dtype=np.int64), findings)


def each_object(file: io.TextIOWrapper, path: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield line numbers and objects; refuse a line that is none."""
    decoder = json.JSONDecoder(parse_constant=lambda _: None)
    number = 0
    while line := file.readline(LONGEST_LINE + 1):
        number += 1
        if len(line) > LONGEST_LINE:
            message = f"a line of more than {LONGEST_LINE:,} characters; shorten or drop it"
            raise data_error(message, path=path, row=number)
        line = line.strip().removeprefix("\ufeff")
        if not line:
            continue
        try:
            found = decoder.decode(line)
        except (ValueError, RecursionError) as error:
            refuse_line(line, error, path, number)
        if not isinstance(found, dict):
            kind = "a list" if isinstance(found, list) else "a single value"
            message = f"{kind} where an object is expected; write one {{…}} per line"
            raise data_error(message, path=path, row=number)
        yield number, found


def refuse_line(line: str, error: Exception, path: str, number: int) -> NoReturn:
    """Raise the error for a line that is no JSON, in words."""
    if "\0" in line:
        refuse_unmarked(path)
    if line in ("[", "{"):
        message = "JSON over several lines; write one object per line (.jsonl)"
    elif isinstance(error, json.JSONDecodeError):
        what = shorten(error.msg.lower(), 50)
        message = f"no JSON ({what} at character {error.pos + 1}); write one object per line"
    else:
        message = "JSON that is nested too deeply or out of range; write plain values"
    raise data_error(message, path=path, row=number) from None


def table_of(
    objects: Sequence[dict[str, Any]], numbers: Sequence[int], names: Iterable[str], path: str
) -> pa.Table:
    """Return one chunk of objects as columns; `numbers` ends with theirs."""
    import pyarrow as pa

    columns = {}
    for name in names:
        values = [found.get(name) for found in objects]
        try:
            columns[name] = array_of(values)
        except UnicodeEncodeError:
            first = next(i for i, value in enumerate(values) if not encodes(value))
            row = numbers[len(numbers) - len(objects) + first]
            message = "half of a surrogate pair, which is no character; mend or drop the row"
            raise data_error(message, path=path, row=row, column=name) from None
    try:
        return pa.table(columns)
    except UnicodeEncodeError:
        raise data_error("a key that is no text; rename it", path=path) from None


def array_of(values: list[Any]) -> pa.Array:
    """Return values as a typed array; what is of several kinds becomes text."""
    import pyarrow as pa

    kinds = {type(value) for value in values if value is not None}
    if kinds <= {str}:
        return pa.array(values, pa.large_string())
    if kinds <= {int, float} or kinds in ({bool}, {list}, {dict}):
        try:
            return pa.array([float(v) if type(v) is int and float in kinds else v for v in values])
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
            pass
    return pa.array([as_text(value) for value in values], pa.large_string())


def as_text(value: Any) -> str | None:
    """Return a JSON value as a cell of text."""
    return value if value is None or isinstance(value, str) else json.dumps(value)


def encodes(value: Any) -> bool:
    """Tell whether every text in a JSON value is made of whole characters."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def together(tables: Sequence[pa.Table]) -> pa.Table:
    """Return chunks as one table; a column whose type differs between them becomes text."""
    import pyarrow as pa

    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        names = dict.fromkeys(name for table in tables for name in table.column_names)
        columns = {
            name: pa.chunked_array(
                pa.array(
                    [as_text(v) for v in table.column(name).to_pylist()]
                    if name in table.column_names
                    else [None] * table.num_rows,
                    pa.large_string(),
                )
                for table in tables
            )
            for name in names
        }
        return pa.table(columns)
