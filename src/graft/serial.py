"""Plain values to JSON and back: `to_json` and `from_json` are each other's inverse."""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from collections.abc import Callable
from typing import Any, TypeVar

from graft.errors import ModelError

T = TypeVar("T")


def to_json(record: Any, *, indent: int | None = 2) -> str:
    """Write a record as JSON; floats keep every digit, and NaN and infinity become text."""
    return json.dumps(plain(dataclasses.asdict(record)), indent=indent, allow_nan=False)


def plain(value: Any, odd: Callable[[float], Any] = str) -> Any:
    """Return a value as strict JSON can hold it: floats that are not finite become text.

    Args:
        odd: what else they become.
    """
    if isinstance(value, float) and not math.isfinite(value):
        return odd(value)
    if isinstance(value, dict):
        return {k: plain(v, odd) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v, odd) for v in value]
    return value


def from_json(kind: type[T], text: str) -> T:
    """Read a record of the given kind back.

    Raises:
        ModelError: the text is no such record, or that of another version.
    """
    try:
        return build(kind, json.loads(text))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        reason = " ".join(str(error).split())[:60]
        raise ModelError(
            f"no {kind.__name__} of this version of graft ({reason}); restore the file or train "
            "again"
        ) from None


def build(kind: Any, value: Any) -> Any:
    """Build a record, or a tuple, dict or optional of some, from what JSON can hold."""
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return kind(**{k: build(hints[k], v) for k, v in value.items()})
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple:
        return tuple(build(args[0], v) for v in value)
    if origin is dict:
        return {k: build(args[1], v) for k, v in value.items()}
    if origin in (typing.Union, types.UnionType):
        inner = [a for a in args if a is not type(None)]
        return None if value is None else build(inner[0], value)
    return float(value) if kind is float else value
