"""A fault of a model's file as one line."""

from __future__ import annotations

from graft.errors import ModelError
from graft.wording import (
    LONGEST_LINE,
    SHORTEST_PATH,
    one_line,
    shorten,
    shorten_middle,
    shorten_path,
)


def model_error(path: object, message: str) -> ModelError:
    """Return an error of one line, at most 200 characters, that begins with the file's path.

    Of a long path the end is kept, of a long message the beginning and the mend at its end.
    """
    message = one_line(message)
    place = shorten_path(str(path), max(LONGEST_LINE - len(message) - 2, SHORTEST_PATH))
    return ModelError(f"{place}: {shorten_middle(message, LONGEST_LINE - len(place) - 2)}")


def printable(text: str, n_chars: int | None = None) -> str:
    """Return `text` on one line, what cannot be printed escaped, cut after `n_chars`."""
    return one_line(text) if n_chars is None else shorten(text, n_chars)
