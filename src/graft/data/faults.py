"""Findings, and how a fault in a data file is put into one line.

A finding is a record, so that `doctor` can list what `train` would stop at. Every line that a
user sees is at most 200 characters: where a path is too long its beginning is left out, because
the file's name and the mend at the end of the message are what the reader needs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from graft.errors import DataError
from graft.records import FindingRecord
from graft.wording import (
    LONGEST_LINE,
    SHORTEST_PATH,
    one_line,
    shorten,
    shorten_middle,
    shorten_path,
)

N_SHOWN = 20

Severity = Literal["error", "skip", "warn", "repair"]


@dataclass(frozen=True)
class Finding(FindingRecord):
    """One thing that was found in the data, while it is being read and checked."""

    severity: Severity

    def __str__(self) -> str:
        return str(self.as_error())

    def record(self) -> FindingRecord:
        """Return the same for the record of a run."""
        return FindingRecord(**dataclasses.asdict(self))

    @classmethod
    def of(cls, record: FindingRecord) -> Finding:
        """Return the finding that the record of a run holds."""
        return cls(**vars(record))

    def as_error(self) -> DataError:
        """Return the error that says the same."""
        return data_error(self.message, path=self.path, row=self.row, column=self.column)


def first_lines(findings: Iterable[Finding], n_shown: int = N_SHOWN) -> list[str]:
    """Return the lines of the first findings of each code, and how many more there are."""
    by_code: dict[str, list[Finding]] = {}
    for finding in findings:
        by_code.setdefault(finding.code, []).append(finding)
    lines = []
    for code, some in by_code.items():
        lines += [str(finding) for finding in some[:n_shown]]
        if len(some) > n_shown:
            lines.append(f"and {len(some) - n_shown:,} more of the kind {code}")
    return lines


def refuse(findings: Iterable[Finding]) -> None:
    """Raise the first finding that is an error; where there are several, say how many.

    Raises:
        DataError: at least one finding has the severity `error`.
    """
    errors = [finding for finding in findings if finding.severity == "error"]
    if not errors:
        return
    first = errors[0]
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    raise data_error(first.message + more, path=first.path, row=first.row, column=first.column)


class PlacedError(DataError):
    """A DataError that also keeps its `message` without the place."""

    message: str = ""


def data_error(
    message: str, *, path: object = None, row: int | None = None, column: str | None = None
) -> PlacedError:
    """Return a DataError whose text is one line of at most 200 characters.

    The attributes `path` and `column` keep their full values.
    """
    message = one_line(message)
    shown_column = None if column is None else shorten(column, 30)
    place = "" if row is None else f" row {row}"
    place += "" if shown_column is None else f" column `{shown_column}`"
    shown_path = None
    if path is not None:
        n_left = LONGEST_LINE - len(message) - len(place) - len(": ")
        shown_path = shorten_path(str(path), max(n_left, SHORTEST_PATH))
    n_left = LONGEST_LINE - len(shown_path or "") - len(place) - len(": ")
    message = shorten_middle(message, n_left)  # the imperative stands at the end
    error = PlacedError(message, path=shown_path, row=row, column=shown_column)
    error.path = None if path is None else str(path)
    error.column = column
    error.message = message
    return error


def listed(names: Iterable[str], *, n_shown: int = 5, n_chars: int = 60) -> str:
    """Return the first names, comma-separated, in at most about `n_chars` characters."""
    names = list(names)
    text = ""
    for i, name in enumerate(names):
        word = (", " if i else "") + shorten(name, 24)
        if i == n_shown or (i and len(text) + len(word) > n_chars):
            return f"{text}, … ({len(names)} in all)"
        text += word
    return text
