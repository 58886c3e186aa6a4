"""What the verbs print: tables and lines for people, JSON for machines."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from graft.errors import UnknownName
from graft.report.teacher import beside_teacher, how_taught
from graft.report.words import IN_A_SPACE, UNTOUCHED, readable, what_is_left, what_pairs

if TYPE_CHECKING:
    from graft.data.faults import Finding
    from graft.phase_records import DepthRecord
    from graft.records import ClassScores, DomainRecord, Interval, PairsRecord, RunRecord

TABLES = {
    "methods": "graft.methods:METHODS",
    "heads": "graft.heads:HEADS",
    "sources": "graft.backbones:SOURCES",
    "tasks": "graft.tasks:TASKS",
    "objectives": "graft.objectives:OBJECTIVES",
    "augmentations": "graft.data.augment:CHOICES",
    "readers": "graft.data.readers:READERS",
}

BAR_WIDTH = 24

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


def show_table(what: str, *, as_json: bool = False) -> None:
    """Print the names and summaries of one of graft's tables."""
    if what not in TABLES:
        raise UnknownName("list", what, TABLES)
    module, name = TABLES[what].split(":")
    rows = getattr(import_module(module), name)
    if as_json:
        print(json.dumps({key: summary for key, (_, summary) in rows.items()}))
        return
    table = plain_table("name", "what it is")
    for key, (_, summary) in rows.items():
        table.add_row(key, summary)
    console.print(table)


def plain_table(*columns: str, right: Sequence[str] = ()) -> Table:
    """Return an empty table without a frame, the columns in `right` aligned right."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left")
    return table


def show_columns(name: str, rows: Sequence[str], columns: Mapping[str, Sequence[str]]) -> None:
    """Print columns of figures beside the rows' names, in several tables where one is too wide.

    Args:
        name: of the rows.
        columns: header → a cell for each row.
    """
    n_names = max(map(len, [name, *rows]))
    parts: list[list[str]] = [[]]
    left = console.width - n_names
    for header, cells in columns.items():
        n_cells = max(map(len, [header, *cells])) + 2
        if parts[-1] and n_cells > left:
            parts.append([])
            left = console.width - n_names
        parts[-1].append(header)
        left -= n_cells
    for number, part in enumerate(parts):
        if number:
            console.print()
        table = plain_table(name, *part, right=part)
        for row, *cells in zip(rows, *(columns[header] for header in part), strict=True):
            table.add_row(Text(row), *cells)
        console.print(table)


def show_run(record: RunRecord) -> None:
    """Print what a run is worth: the untouched backbone beside the trained model, with intervals.

    Micro F1 is left out where every row has one label: there it is the accuracy.
    """
    part = record.judged_on
    n = record.n_test if part == "test" else record.n_validation
    right = ("before", "after", "change")
    table = plain_table(f"{n:,} {part} rows", "before", "after", "", "change", "", right=right)
    before, after, change = (record.intervals[key] for key in ("before", "after", "change"))
    for name, found in after.items():
        if name == "micro_f1" and record.task == "classify":
            continue
        moved = change[name]
        table.add_row(
            readable(name),
            f"{before[name].value:.3f}",
            f"{found.value:.3f}",
            span(found),
            f"{moved.value:+.3f}",
            span(moved, sign="+"),
        )
    console.print(table)
    how = "items are compared by cosine; " if record.task in IN_A_SPACE else ""
    console.print(
        f"{how}before: the {UNTOUCHED[record.task]}; in brackets the 95 % bootstrap interval",
        style="dim",
        soft_wrap=True,
    )
    show_pairs(record.pairs)
    if record.teacher is not None:
        taught = f"teacher: {record.teacher.name}, {how_taught(record.teacher)}"
        console.print(taught, style="dim", markup=False, soft_wrap=True)
        console.print(beside_teacher(record), soft_wrap=True)
    if record.remembered is not None:
        told = f"remembered: {what_is_left(record.remembered)}"
        console.print(told, markup=False, soft_wrap=True)


def show_domain(domain: DomainRecord, headline: str) -> None:
    """Print what a model is worth in the domain that it was adapted to."""
    table = plain_table("another domain", "before", "after", "", right=("before", "after"))
    if domain.intervals:
        before, after = (domain.intervals[key][headline] for key in ("before", "after"))
        name = f"{readable(headline)} on {domain.n_scored:,} rows"
        table.add_row(name, f"{before.value:.3f}", f"{after.value:.3f}", span(after))
    if domain.told_before is not None and domain.told_after is not None:
        told = (f"{share:.3f}" for share in (domain.told_before, domain.told_after))
        table.add_row("domain told by a linear probe", *told, "(0.5 is chance)")
    if table.row_count:
        console.print(table)
    shown = f"{domain.data}: only watched"
    if domain.adapt != "none":
        shown = f"{domain.data}: {domain.n_train:,} rows without labels ({domain.adapt})"
    if domain.criterion is not None:
        shown += f"; criterion without its labels {domain.criterion:.3f}, less is better"
    console.print(shown, style="dim", markup=False, soft_wrap=True)


def show_pairs(pairs: PairsRecord | None) -> None:
    """Say which pairs the metrics of verification are of."""
    if pairs is not None:
        console.print(f"pairs: {what_pairs(pairs)}", style="dim", soft_wrap=True)


def show_metrics(intervals: Mapping[str, Interval], title: str) -> None:
    """Print metrics, each with its interval."""
    table = plain_table(title, "value", "95 % interval", right=("value",))
    for name, found in intervals.items():
        table.add_row(readable(name), f"{found.value:.3f}", span(found))
    console.print(table)


def show_per_class(rows: Sequence[ClassScores], n_shown: int) -> None:
    """Print how well each class is told from the rest, the hardest first."""
    columns = ("rows", "precision", "recall", "f1", "auroc")
    table = plain_table("class", *columns, right=columns)
    hardest = sorted(rows, key=lambda row: -1.0 if math.isnan(row.f1) else row.f1)
    for row in hardest[:n_shown]:
        cells = (row.precision, row.recall, row.f1, row.auroc)
        shown = ["–" if math.isnan(x) else f"{x:.3f}" for x in cells]
        table.add_row(Text(row.name), str(row.support), *shown)
    console.print(table)
    if len(hardest) > n_shown:
        console.print(f"the {n_shown} hardest of {len(hardest)}; --json has all", style="dim")


def show_findings(findings: Sequence[Finding]) -> None:
    """Print on the error stream what was repaired or left out, the first twenty of each kind."""
    from graft.data.faults import first_lines

    for line in first_lines(findings):
        errors.print(f"note: {line}", markup=False, soft_wrap=True)


def span(interval: Interval, sign: str = "") -> str:
    """Return the ends of an interval in brackets, each with its sign where `sign` is `+`."""
    return f"({interval.low:{sign}.3f} to {interval.high:{sign}.3f})"


def show_depths(depths: Sequence[DepthRecord]) -> None:
    """Print what a head on each block would reach, the best block with the longest bar."""
    right = ("width", "accuracy", "loss")
    table = plain_table("a head on", *right, "", right=right)
    longest = max((d.accuracy or 0.0 for d in depths), default=0.0) or 1.0
    for depth in depths:
        share = None if depth.accuracy is None else depth.accuracy / longest
        bar = "" if share is None else "█" * round(BAR_WIDTH * share)
        table.add_row(
            depth.block,
            str(depth.width),
            "" if depth.accuracy is None else f"{depth.accuracy:.3f}",
            f"{depth.loss:.3f}",
            f"{bar}{' ← this model' if depth.chosen else ''}",
        )
    console.print(table)
