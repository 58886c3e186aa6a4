"""Where a finding belongs."""

from __future__ import annotations

from pathlib import Path

from graft.data.faults import Finding, Severity
from graft.data.table import Table


def at(
    table: Table, i: int, code: str, severity: Severity, message: str, column: str | None = None
) -> Finding:
    """Return a finding at the place that row `i` came from; a file has no column."""
    origin = table.origin(i)
    named = None if origin.row is None else column
    return Finding(code, severity, message, origin.path, origin.row, named)


def place_of(table: Table, i: int) -> str:
    """Return the short name of a row: its number, or the name of its file and the folder's."""
    origin = table.origin(i)
    parts = Path(origin.path).parts[-2:]
    return "/".join(parts) if origin.row is None else f"row {origin.row}"


def kind_of_input(table: Table) -> str:
    """Return what one input is called: a text or an image."""
    return "text" if table.roles.modality == "text" else "image"
