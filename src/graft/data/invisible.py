"""Characters that nobody sees: zero-width spaces and joiners, marks of direction, soft hyphens."""

from __future__ import annotations

import unicodedata


def visible(text: str) -> str:
    r"""Return a text without invisible characters, and without white space at its ends.

    >>> visible(" cat\u200b"), visible("\ufeff \u2060")
    ('cat', '')
    """
    if text.isascii() and text.isprintable():
        return text.strip()
    kept = (c for c in text if c.isspace() or unicodedata.category(c) not in ("Cf", "Cc"))
    return "".join(kept).strip()
