"""Lines for people that every room writes: one line, short enough, sizes with their unit."""

from __future__ import annotations

LONGEST_LINE = 200
"""Characters of a message."""
SHORTEST_PATH = 24
"""Characters that a message leaves to a path, however long it is itself."""


def one_line(text: str) -> str:
    """Return `text` with line ends and other unprintable characters written as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shorten(text: str, n: int) -> str:
    """Return `text` on one line of at most `n` characters."""
    text = one_line(text)
    return text if len(text) <= n else f"{text[: n - 1]}…"


def shorten_path(path: str, n: int) -> str:
    """Return the last `n` characters of a path on one line."""
    path = one_line(path)
    return path if len(path) <= n else f"…{path[len(path) - n + 1 :]}"


def shorten_middle(text: str, n: int) -> str:
    """Return at most `n` characters of a message: its beginning, and the mend at its end."""
    if len(text) <= n:
        return text
    n_head = n // 3
    return f"{text[:n_head]}…{text[len(text) - (n - n_head - 1) :]}"


def human_bytes(n: float) -> str:
    """Return a size with its unit: 9.6 MB.

    >>> human_bytes(999), human_bytes(1_234_567)
    ('999 B', '1.2 MB')
    """
    size = float(n)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def flag(option: str) -> str:
    """Return the name of an option as it is typed.

    >>> flag("batch_size")
    '--batch-size'
    """
    return f"--{option.replace('_', '-')}"


def counted(n: int, one: str, many: str = "") -> str:
    """Return a number and what is counted, in the number that fits.

    >>> counted(1, "row"), counted(2_000, "row"), counted(3, "class", "classes")
    ('1 row', '2,000 rows', '3 classes')
    """
    return f"{n:,} {one if n == 1 else many or f'{one}s'}"
