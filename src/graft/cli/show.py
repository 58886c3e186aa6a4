"""What the verbs print: tables and lines for people, JSON for machines."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from rich.console import Console
from rich.table import Table

from graft.errors import UnknownName
from graft.records import DepthRecord

TABLES = {
    "methods": "graft.methods:METHODS",
    "heads": "graft.heads:HEADS",
    "sources": "graft.backbones:SOURCES",
    "tasks": "graft.tasks:TASKS",
    "objectives": "graft.objectives:OBJECTIVES",
    "readers": "graft.data.readers:READERS",
}

BAR_WIDTH = 24

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


def show_table(what: str) -> None:
    """Print the names and summaries of one of graft's tables."""
    if what not in TABLES:
        raise UnknownName("list", what, TABLES)
    module, name = TABLES[what].split(":")
    rows = getattr(import_module(module), name)
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


def show_before_after(before: Mapping[str, Any], after: Mapping[str, Any], title: str) -> None:
    """Print metrics of the untouched backbone beside those of the trained model.

    Micro F1 is left out: where every row has one label it is the accuracy.
    """
    table = plain_table(title, "before", "after", "change", right=("before", "after", "change"))
    for name, value in after.items():
        if name == "micro_f1":
            continue
        old = before.get(name)
        change = "" if old is None else f"{value - old:+.3f}"
        table.add_row(
            name.replace("_", " "), "" if old is None else f"{old:.3f}", f"{value:.3f}", change
        )
    console.print(table)


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


def readable_cut(label: str) -> str:
    """Return what is frozen: `frozen below block 4 of 6`, `nothing frozen`."""
    return "nothing frozen" if label == "nothing is frozen" else f"frozen {label}"


def readable_rule(rule: str, n_blocks: int) -> str:
    """Return which parameters a rule selects, its blocks counted from 0 as in their paths.

    >>> readable_rule("blocks[-2:]", 6), readable_rule("blocks[-2:-1]", 6)
    ('blocks 4–5', 'block 4')
    """
    found = re.fullmatch(r"blocks\[(-?\d*):(-?\d*)\]", rule)
    if found is None:
        return rule
    start, stop = (int(number) if number else None for number in found.groups())
    chosen = range(n_blocks)[start:stop]
    if not chosen:
        return rule
    return f"block {chosen[0]}" if len(chosen) == 1 else f"blocks {chosen[0]}–{chosen[-1]}"


def human_bytes(n: int) -> str:
    """Return a size with its unit: 9.6 MB."""
    size = float(n)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def human_seconds(seconds: float) -> str:
    """Return a duration to two digits with its unit: 4.2 s, 2 min 10 s, 3 h 20 min.

    >>> human_seconds(4.21), human_seconds(130), human_seconds(12_000)
    ('4.2 s', '2 min 10 s', '3 h 20 min')
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"
