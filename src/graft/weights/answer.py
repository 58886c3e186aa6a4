"""What the child process of `convert` says, which nobody has to believe: its shape is checked."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

FENCES = ("audit", "landlock", "seccomp")
"""Every fence that may stand; all but the first bind native code."""
LARGEST_ERRNO = 4095
LONGEST = 2000
"""Characters of a text that is no name of a tensor."""


@dataclass(frozen=True)
class Answer:
    """Hold what the child says it did.

    Args:
        tensors: dtype in the word of safetensors, and shape, by name.
        key: where in the file the weights lay.
        prefixes: what was taken off every name.
        dropped: the first names that were left, with their kind.
        n_dropped: how many were.
        n_shared: tensors that shared memory with another.
        fences: those of `FENCES` that stood.
    """

    tensors: dict[str, tuple[str, tuple[int, ...]]]
    key: str
    prefixes: tuple[str, ...]
    dropped: tuple[str, ...]
    n_dropped: int
    n_shared: int
    fences: tuple[str, ...]


@dataclass(frozen=True)
class Refusal:
    """Hold why the child gave up.

    Args:
        error: one line.
        kind: name of the exception.
        errno: the system's number where the result could not be written, else 0.
    """

    error: str
    kind: str
    errno: int = 0


def read_answer(line: str) -> Answer | Refusal:
    """Return the answer in a line.

    Raises:
        ValueError: it has another shape than the child of this release gives.
    """
    try:
        said = json.loads(line)
    except RecursionError:
        raise ValueError("nested without end") from None
    if not isinstance(said, dict):
        raise ValueError("no object")
    if "error" in said:
        number = _count(said.get("errno", 0))
        if number > LARGEST_ERRNO:
            raise ValueError("no error of a system")
        return Refusal(_text(said["error"]), _text(said.get("kind")), number)
    tensors = said.get("tensors")
    if not isinstance(tensors, dict):
        raise ValueError("no tensors")
    fences = _row(said.get("fences"), _text)
    if not set(fences) <= set(FENCES):
        raise ValueError("fences that are not known")
    return Answer(
        {name: _tensor(about) for name, about in tensors.items()},
        _text(said.get("key")),
        _row(said.get("prefixes"), _text),
        _row(said.get("dropped"), _text),
        _count(said.get("n_dropped")),
        _count(said.get("n_shared")),
        fences,
    )


def _tensor(about: Any) -> tuple[str, tuple[int, ...]]:
    if not isinstance(about, list) or len(about) != 2:
        raise ValueError("no dtype and shape")
    return _text(about[0]), _row(about[1], _count)


def _row(value: Any, of: Callable[[Any], T]) -> tuple[T, ...]:
    if not isinstance(value, list):
        raise ValueError("no list")
    return tuple(of(item) for item in value)


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > LONGEST:
        raise ValueError("no text")
    return value


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:  # True is an int too
        raise ValueError("no number")
    return value
