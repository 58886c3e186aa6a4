"""What a safetensors file says of itself, checked by us before any library reads it.

A file is eight bytes N (little-endian), N bytes of JSON, then the tensors' bytes. The library
itself lets some odd files pass (names given twice, tensors of no bytes that overlap others), so the
rules are written out here: each name once; exactly `dtype`, `shape` and `data_offsets` for each;
the size that dtype and shape make; the tensors one after the other, without a hole or an overlap,
up to the file's last byte.

Source: the format's description in the repository of safetensors.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from graft.weights.faults import model_error, printable

LARGEST_HEADER_BYTES = 100_000_000
BITS = {
    **dict.fromkeys(["BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0"], 8),
    **dict.fromkeys(["F8_E4M3FNUZ", "F8_E5M2FNUZ"], 8),
    **dict.fromkeys(["U16", "I16", "F16", "BF16"], 16),
    **dict.fromkeys(["U32", "I32", "F32"], 32),
    **dict.fromkeys(["U64", "I64", "F64", "C64"], 64),
}
"""dtype → bits of one number."""


@dataclass(frozen=True)
class TensorEntry:
    """One tensor of a file: its dtype in the format's own word, its shape, its size in bytes."""

    dtype: str
    shape: tuple[int, ...]
    size_bytes: int


@dataclass(frozen=True)
class Header:
    """What a file holds: tensors in the order of their bytes, and notes of text."""

    tensors: Mapping[str, TensorEntry]
    metadata: Mapping[str, str]


def read_header(path: Path) -> Header:
    """Read and check the header of a safetensors file; the tensors' bytes are not read.

    Raises:
        ModelError: the file is absent, cut off, or says anything that the format does not allow.
    """
    try:
        size_bytes = path.stat().st_size
        with path.open("rb") as file:
            raw = _raw_header(file, path, size_bytes)
    except OSError as error:
        raise model_error(
            path, f"does not open ({error.strerror or type(error).__name__}); restore the file"
        ) from None
    try:
        entries = json.loads(raw.decode("utf-8"), object_pairs_hook=_each_once)
    except (ValueError, RecursionError) as error:
        why = str(error) if isinstance(error, _Twice) else "no JSON in UTF-8"
        raise _damaged(path, f"its header is damaged: {why}") from None
    if not isinstance(entries, dict):
        raise _damaged(path, "its header is no JSON object")
    metadata = entries.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise _damaged(path, "its __metadata__ is not text by name")
    tensors = _tensors(path, entries, size_bytes - 8 - len(raw))
    return Header(tensors, metadata)


class _Twice(ValueError):
    """A name that stands twice in one JSON object."""


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise _Twice(f"`{printable(name, 60)}` stands in it twice")
        found[name] = value
    return found


def _damaged(path: Path, what: str) -> Exception:
    return model_error(path, f"does not open: {what}; restore the file")


def _raw_header(file: BinaryIO, path: Path, size_bytes: int) -> bytes:
    n = int.from_bytes(file.read(8), "little")
    if size_bytes < 10 or n > min(size_bytes - 8, LARGEST_HEADER_BYTES):
        raise _damaged(path, f"{size_bytes:,} bytes are no whole safetensors file")
    raw = file.read(n)
    if not raw.startswith(b"{"):
        raise _damaged(path, "is no safetensors file")
    return raw


def _tensors(path: Path, entries: dict[str, Any], n_bytes: int) -> dict[str, TensorEntry]:
    """Return the tensors in the order of their bytes, which must lie without hole or overlap."""
    spans = sorted(
        (*_span(path, name, entry), name, _entry(path, name, entry))
        for name, entry in entries.items()
    )
    found, position = {}, 0
    for start, end, name, tensor in spans:
        if start != position or end - start != tensor.size_bytes:
            raise _damaged(path, f"tensor `{printable(name, 60)}` does not lie where it must")
        found[name], position = tensor, end
    if position != n_bytes:
        raise _damaged(path, f"{n_bytes:,} bytes of tensors where its header says {position:,}")
    return found


def _span(path: Path, name: str, entry: Any) -> tuple[int, int]:
    is_whole = isinstance(entry, dict) and entry.keys() == {"dtype", "shape", "data_offsets"}
    offsets = entry["data_offsets"] if is_whole else None
    if not (isinstance(offsets, list) and len(offsets) == 2 and all(map(_is_size, offsets))):
        raise _damaged(path, f"tensor `{printable(name, 60)}` is not described as it must be")
    return offsets[0], offsets[1]


def _entry(path: Path, name: str, entry: dict[str, Any]) -> TensorEntry:
    dtype, shape = entry["dtype"], entry["shape"]
    bits = BITS.get(dtype) if isinstance(dtype, str) else None
    if bits is None or not isinstance(shape, list) or not all(map(_is_size, shape)):
        raise _damaged(path, f"tensor `{printable(name, 60)}` has no dtype and shape that exist")
    return TensorEntry(dtype, tuple(shape), math.prod(shape) * bits // 8)


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 63
