"""Texts that look alike and are not: how they are normalised, and what is said of their form."""

from __future__ import annotations

import unicodedata

from graft.data.doctor.places import at
from graft.data.faults import Finding
from graft.data.table import Table
from graft.wording import counted


class _Spaces(dict[int, int | None]):
    """Map punctuation, separators and control characters to a space, found when first met.

    Symbols stay, and so do combining marks: emoji and vowel signs carry meaning.
    """

    def __missing__(self, code: int) -> int:
        found = 0x20 if unicodedata.category(chr(code))[0] in "PZC" else code
        self[code] = found
        return found


_SPACES = _Spaces()


def normalised(text: str) -> str:
    """Return a text without differences of case, width, punctuation and white space.

    A text of punctuation alone stays what it is.

    >>> normalised("  Where IS my parcel?! ")
    'where is my parcel'
    """
    alike = unicodedata.normalize("NFKC", text).casefold()
    words = " ".join(alike.translate(_SPACES).split())
    return words or alike.strip()


def decomposed_texts(table: Table) -> list[Finding]:
    """Return a warning where texts hold letters and accents as characters of their own (NFD)."""
    if table.roles.modality != "text":
        return []
    (column,) = table.roles.inputs
    rows = [
        i
        for i, text in enumerate(table.inputs())
        if isinstance(text, str) and not unicodedata.is_normalized("NFC", text)
    ]
    if not rows:
        return []
    n = counted(len(rows), "text is", "texts are")
    message = f"{n} not in Unicode's composed form (NFC), which some tokenizers read as other "
    message += "words; normalise them if others are composed"
    return [at(table, rows[0], "not-composed", "warn", message, column)]
