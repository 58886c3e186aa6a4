"""A fault of a model's file as one line."""

from __future__ import annotations

from graft.errors import ModelError

LONGEST_LINE = 200
SHORTEST_PATH = 24


def model_error(path: object, message: str) -> ModelError:
    """Return an error of one line, at most 200 characters, that begins with the file's path.

    Of a long path the end is kept, of a long message the beginning and the mend at its end.
    """
    message = printable(message)
    n_left = max(LONGEST_LINE - len(message) - 2, SHORTEST_PATH)
    place = printable(str(path))
    place = place if len(place) <= n_left else f"…{place[1 - n_left :]}"
    n_left = LONGEST_LINE - len(place) - 2
    if len(message) > n_left:
        n_head = n_left // 3
        message = f"{message[:n_head]}…{message[n_head + 1 - n_left :]}"
    return ModelError(f"{place}: {message}")


def printable(text: str, n_chars: int | None = None) -> str:
    """Return `text` on one line, what cannot be printed escaped, cut after `n_chars`."""
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return text if n_chars is None or len(text) <= n_chars else f"{text[: n_chars - 1]}…"
