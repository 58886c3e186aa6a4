"""Examples that go beside a training table for their inputs alone.

    file or folder + training table ─read_unlabelled→ Unlabelled: a Table whose roles name no label

They are read as the training table was: by its columns, of its modality. A label column among them
is kept in the data for whoever evaluates at the end, but no role names it, so nothing that trains
can see it and no hash depends on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from graft.data.check import too_many_skipped, usable
from graft.data.doctor.rows import LARGEST_SKIPPED_SHARE
from graft.data.faults import Finding, data_error, listed, refuse, shorten_path
from graft.data.images import MAX_PIXELS
from graft.data.readers import read_rows
from graft.data.roles import SPLIT_NAMES, Asked, by_name, find_input
from graft.data.rows import Rows, assembled, shown
from graft.data.table import Table
from graft.errors import DataError
from graft.wording import counted


@dataclass(frozen=True, eq=False)
class Unlabelled:
    """Hold N usable examples without labels.

    Args:
        table: its roles name no label.
        findings: what was left out or repaired, nothing of it an error.
        label: the column that holds labels all the same, or None; nothing reads it.
    """

    table: Table
    findings: tuple[Finding, ...] = ()
    label: str | None = None

    @property
    def note(self) -> str:
        """Say what was read, and that labels are not used where there are some."""
        rows = counted(len(self.table), "row", "rows")
        note = f"{shorten_path(self.table.name_of_source, 60)}: {rows} read for their inputs alone"
        return note if self.label is None else f"{note}; labels (`{self.label}`) are not used"


def read_unlabelled(
    path: str | Path,
    like: Table,
    *,
    encoding: str | None = None,
    sep: str | None = None,
    max_pixels: int = MAX_PIXELS,
    max_skip: float = LARGEST_SKIPPED_SHARE,
    follow_links: bool = False,
) -> Unlabelled:
    """Read a file or folder for its inputs alone.

    Args:
        path: as `graft.data.readers.read` takes it.
        like: the training table, with one input a row. Columns of its names have its roles.
        encoding: as for `read`.
        sep: as for `read`.
        max_pixels: leave out larger images.
        max_skip: largest share of the rows that may be left out.
        follow_links: use images whose file is a link that leads out of the data.

    Raises:
        DataError: nothing is there, no column is the input, it holds another modality than the
            training table, or too few rows can be used.
    """
    assert len(like.roles.inputs) == 1, "rows of several inputs are not read without labels"
    rows = read_rows(
        path, encoding=encoding, sep=sep, follow_links=follow_links, drop_empty_classes=True
    )
    head = dict.fromkeys(rows.data.column_names, ())
    column, label = input_column(rows, like), label_column(rows, like)
    kept = [column, *by_name(head, SPLIT_NAMES, {column, label or ""})]
    group = like.roles.group
    if group not in head or group == label:
        group = None
    elif group not in kept:
        kept.append(group)
    table = assembled(replace(rows, data=rows.data.select(kept)), Asked(column, group=group))
    if table.roles.modality != like.roles.modality:
        raise data_error(
            f"holds {table.roles.modality}, and {shorten_path(like.name_of_source, 50)} holds "
            f"{like.roles.modality}; pass {like.roles.modality} data",
            path=path,
            column=column,
        )
    if label is not None and label not in table.columns:
        table = replace(table, data=table.data.append_column(label, rows.data.column(label)))
    # labels do not matter here, so a row without one is as good as any
    table = replace(table, roles=replace(table.roles, label=None))
    found, skipped = usable(
        table, max_pixels=max_pixels, max_skip=max_skip, follow_links=follow_links
    )
    findings = (*table.findings, *skipped)
    findings += too_many_skipped(findings, len(found), max_skip)
    refuse(findings)
    return Unlabelled(found, findings, label)


def input_column(rows: Rows, like: Table) -> str:
    """Return the column of the training table's name, or the one that is found without it.

    Raises:
        DataError: no column, or more than one, can be meant.
    """
    names = rows.data.column_names
    (wanted,) = like.roles.inputs
    if wanted in names:
        return wanted
    head = {name: shown(rows.data.column(name)) for name in names}
    taken = {like.roles.label or "", like.roles.group or ""}
    try:
        return find_input(head, taken, path=rows.name)[0]
    except DataError:
        raise no_input(wanted, names, like, rows.name) from None


def no_input(wanted: str, names: Sequence[str], like: Table, path: str) -> DataError:
    """Return the error for a table that lacks the input column of the training table."""
    return data_error(
        f"no column `{wanted}`, which is the input in {shorten_path(like.name_of_source, 50)}; "
        f"rename the one that is meant (columns: {listed(names)})",
        path=path,
    )


def label_column(rows: Rows, like: Table) -> str | None:
    """Return the column of the labels: of the training table's name, or that of class folders."""
    names = rows.data.column_names
    if like.roles.label in names:
        return like.roles.label
    return "label" if rows.because and "label" in names else None
