"""Read Parquet and Arrow files, and what `Dataset.save_to_disk` of Hugging Face datasets wrote.

The `datasets` package is not needed: its files are Arrow streams, and the names of the classes
stand in their metadata. Nothing that such a folder says is run or looked up; the names of its
files must be plain.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO

from graft.data.faults import Finding, data_error, listed, shorten
from graft.data.files import kind_of, open_binary, size_bytes
from graft.data.readers.text_files import check_file
from graft.data.rows import Rows, joined
from graft.data.split import part_of

if TYPE_CHECKING:
    import pyarrow as pa

LARGEST_JSON_BYTES = 50_000_000
ARROW_FILE_MAGIC = b"ARROW1"


def read_parquet(path: str) -> Rows:
    """Read a Parquet file.

    Raises:
        DataError: it is damaged, empty, or holds text that is not UTF-8.
    """
    import pyarrow.parquet as parquet

    return read_columns(path, "Parquet", parquet.read_table)


def read_arrow(path: str) -> Rows:
    """Read an Arrow file or stream, as Hugging Face datasets write them.

    Raises:
        DataError: as for `read_parquet`.
    """
    return read_columns(path, "Arrow", arrow_table)


def arrow_table(file: BinaryIO) -> pa.Table:
    """Return the table of an Arrow file, or of an Arrow stream."""
    from pyarrow import ipc

    magic = file.read(len(ARROW_FILE_MAGIC))
    file.seek(0)
    opened = ipc.open_file(file) if magic == ARROW_FILE_MAGIC else ipc.open_stream(file)
    return opened.read_all()


def read_columns(path: str, kind: str, read: Callable[[BinaryIO], pa.Table]) -> Rows:
    """Read a file by pyarrow; whatever breaks names the file."""
    import pyarrow as pa

    check_file(path, "save the table again")
    try:
        with open_binary(path) as file:
            data = read(file)
        data.validate(full=True)
    except MemoryError:  # a damaged length, or indeed too much
        message = f"needs more memory than there is: too large, or no whole {kind} file; save again"
        raise data_error(message, path=path) from None
    except (pa.ArrowException, OSError, EOFError, ValueError, KeyError, OverflowError) as error:
        text = str(error)
        if "UTF8" in text:
            message = "holds text that is not UTF-8; save the table again from decoded texts"
            raise data_error(message, path=path) from None
        why = shorten(" ".join(text.split()), 60)
        message = f"no whole {kind} file ({why}); save or download it again"
        raise data_error(message, path=path) from None
    twice = [name for name, count in Counter(data.column_names).items() if count > 1]
    if twice:
        message = f"two columns have the same name ({listed(twice)}); rename one"
        raise data_error(message, path=path, column=twice[0])
    if not data.num_rows:
        message = "no rows in it; add rows"
        raise data_error(message, path=path)
    return Rows.of_file(with_class_names(plain(data), path), path)


def plain(data: pa.Table) -> pa.Table:
    """Return the table with dictionary-coded columns spelled out, and bytes that are text as text.

    Some writers do not mark text as such; no picture is by chance UTF-8.
    """
    import pyarrow as pa

    for i, field in enumerate(data.schema):
        if pa.types.is_dictionary(field.type):
            data = data.set_column(i, field.name, data.column(i).cast(field.type.value_type))
        elif pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type):
            try:
                data = data.set_column(i, field.name, data.column(i).cast(pa.large_string()))
            except pa.ArrowInvalid:
                continue
    return data


# --------------------------------------------------------------------------- Hugging Face datasets


def with_class_names(data: pa.Table, path: str) -> pa.Table:
    """Return the table with the names of classes instead of their numbers.

    Hugging Face datasets store a `ClassLabel` as a number and its names in the schema; -1 stands
    for a missing label. A list of numbers becomes a list of names.

    Raises:
        DataError: a number has no name.
    """
    import pyarrow as pa

    for name, names in class_names(data.schema).items():
        if name not in data.column_names:
            continue
        i = data.column_names.index(name)
        values = data.column(i).to_pylist()
        try:
            named = [
                [names[k] for k in map(checked, value)]
                if isinstance(value, list)
                else None
                if value is None or value == -1
                else names[checked(value)]
                for value in values
            ]
        except (IndexError, TypeError, ValueError):
            message = f"a class number without a name among the {len(names)}; mend the dataset"
            raise data_error(message, path=path, column=name) from None
        is_list = any(isinstance(value, list) for value in named)
        kind = pa.list_(pa.large_string()) if is_list else pa.large_string()
        data = data.set_column(i, name, pa.array(named, kind))
    return data


def checked(number: Any) -> int:
    """Return the number of a class, which counts from the start of the names."""
    if not isinstance(number, int) or number < 0:
        raise ValueError(number)
    return number


def class_names(schema: pa.Schema) -> dict[str, list[str]]:
    """Return column → names of its classes, as Hugging Face datasets note them in a schema."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        found = {}
        for name, feature in features.items():
            while isinstance(feature, (list, dict)) and "names" not in feature:
                feature = feature[0] if isinstance(feature, list) else feature.get("feature")
            if feature and feature.get("_type") == "ClassLabel":
                found[name] = [str(label) for label in feature["names"]]
    except (KeyError, IndexError, ValueError, TypeError, AttributeError, RecursionError):
        return {}
    return found


def read_saved(path: str) -> Rows:
    """Read a folder that `Dataset.save_to_disk` or `DatasetDict.save_to_disk` wrote.

    Raises:
        DataError: a file that the folder names is missing, damaged or elsewhere.
    """
    if kind_of(f"{path}/dataset_dict.json") != "file":
        return read_saved_part(path)
    names = small_json(f"{path}/dataset_dict.json").get("splits", [])
    findings: list[Finding] = []
    tables, parts = [], []
    for name in names if isinstance(names, list) else []:
        place = f"{path}/{plain_name(name, path)}"
        part = part_of(name)
        if part is None and len(names) > 1:
            message = "neither train, validation nor test; pass this folder by itself if meant"
            findings.append(Finding("part-left-out", "warn", message, place))
            continue
        tables.append(read_saved_part(place))
        parts.append(part)
    if not tables:
        raise data_error("dataset_dict.json names no train part; save the dataset again", path=path)
    rows = joined(tables, parts, path, path)
    return replace(rows, findings=(*rows.findings, *findings))


def read_saved_part(path: str) -> Rows:
    """Read the folder of one saved `Dataset`: the Arrow files that its state names, in order."""
    state = small_json(f"{path}/state.json")
    if state.get("_indices_data_files"):
        message = "rows are chosen by an index that is not read; call flatten_indices() and save"
        raise data_error(message, path=path)
    files = state.get("_data_files")
    if not isinstance(files, list) or not files:
        raise data_error("state.json names no data files; save the dataset again", path=path)
    names = [plain_name(f.get("filename") if isinstance(f, dict) else f, path) for f in files]
    tables = [read_arrow(f"{path}/{name}") for name in names]
    return replace(joined(tables, [None] * len(tables), path, path), name=path)


def small_json(path: str) -> dict[str, Any]:
    """Return the object that a small JSON file holds."""
    try:
        if size_bytes(path) > LARGEST_JSON_BYTES:
            raise ValueError
        with open_binary(path) as file:
            found = json.loads(file.read())
        if not isinstance(found, dict):
            raise ValueError
    except (OSError, ValueError, RecursionError):
        message = "missing or no JSON object; save the dataset again"
        raise data_error(message, path=path) from None
    return found


def plain_name(name: Any, path: str) -> str:
    """Return a name that leads to a file or folder right here, or refuse it."""
    if not isinstance(name, str) or name in ("", ".", "..") or set(name) & set("/\\\0"):
        message = f"names {shorten(str(name), 40)!r}, which is not beside it; save it again"
        raise data_error(message, path=path)
    return name
