"""What a search found as a table: a line for each hit, as wide as the screen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from graft.wording import one_line, shorten, shorten_path

if TYPE_CHECKING:
    from graft.api.searching import Answers
    from graft.retrieval.searchable import Hit

GAP = 2
WIDEST = 60
"""Characters of a cell: what is longer says little in a table, and `--json` has it whole."""
NARROWEST = 25
"""Rather than narrow other columns further, those of the data are left out, the last first."""
FIXED = {"rank": 4, "score": 5}


@dataclass(frozen=True)
class Column:
    """Hold the cells of a column.

    Args:
        name: its header.
        cells: one for each line.
        is_extra: whether it may be left out.
        is_path: whether the end of a cell says more than its beginning.
    """

    name: str
    cells: Sequence[Any]
    is_extra: bool = False
    is_path: bool = False

    @property
    def width(self) -> int:
        """Return how wide it would like to be."""
        longest = max((len(_whole(cell)) for cell in self.cells), default=0)
        return max(len(self.name), min(longest, WIDEST))

    def shown(self, width: int) -> list[str]:
        """Return its cells in so many characters."""
        cut = shorten_path if self.is_path else _shortened
        return [cut(cell, width) for cell in self.cells]


def show_hits(found: Answers) -> None:
    """Print the hits of each query that are near enough, or that it is unknown."""
    from rich.text import Text

    from graft.cli.show import console, plain_table

    queries: list[str] = []
    ranks: list[str] = []
    scores: list[str] = []
    lines: list[Hit | None] = []
    for answer in found.answers:
        known: list[Hit | None] = [hit for hit in answer.hits if hit.is_known]
        hits = known or ([None] if answer.hits else [])
        for rank, hit in enumerate(hits, 1):
            queries.append(answer.query if rank == 1 else "")
            ranks.append("–" if hit is None else str(rank))
            scores.append(f"{(hit or answer.hits[0]).score:.3f}")
            lines.append(hit)
    columns, widths = fitted(columns_of_lines(lines, queries, found), console.width)
    names = ["rank", "score", *(column.name for column in columns)]
    cells = [ranks, scores, *(c.shown(w) for c, w in zip(columns, widths, strict=True))]
    if len(found.answers) > 1:  # who asks one thing knows what
        names, cells = [names[2], *names[:2], *names[3:]], [cells[2], *cells[:2], *cells[3:]]
    table = plain_table(*names, right=tuple(FIXED))
    for column in table.columns:
        column.no_wrap = True
    for line in zip(*cells, strict=True):
        table.add_row(*map(Text, line))
    console.print(table)


def columns_of_lines(
    lines: Sequence[Hit | None], queries: Sequence[str], found: Answers
) -> list[Column]:
    """Return the columns that say something: none that repeats another.

    Args:
        lines: the hit of each, None where nothing is near enough.
        queries: of each line, empty where it is that of the line above.
        found: the answers.
    """
    from graft.api.answers_out import columns_of

    def column(name: str, cells: Sequence[Any], unknown: str = "", **more: bool) -> Column:
        own = iter(cells)
        return Column(name, [unknown if hit is None else next(own) for hit in lines], **more)

    hits = [hit for hit in lines if hit is not None]
    ids, inputs = [hit.row.id for hit in hits], [hit.row.input for hit in hits]
    columns = [Column("query", queries)] if len(found.answers) > 1 else []
    columns.append(column("id", ids, "unknown", is_path=True))
    # a picture is found under a path that ends with its id
    if not hits or not all(i.endswith(f"/{id_}") for id_, i in zip(ids, inputs, strict=True)):
        columns.append(column("found", inputs, "nothing is near enough"))
    known = (ids, inputs, [hit.row.owner for hit in hits])
    for name in columns_of(found):
        cells = [hit.row.cells.get(name) for hit in hits]
        if [str(cell) for cell in cells] not in known:
            is_captions = all(isinstance(cell, list) for cell in cells)
            columns.append(column(name, cells, is_extra=not is_captions))
    return columns


def fitted(columns: Sequence[Column], width: int) -> tuple[list[Column], list[int]]:
    """Return the columns that have room beside rank and score, and how wide each is.

    Args:
        columns: in their order.
        width: of the screen.
    """
    kept = list(columns)
    while True:
        taken = sum(FIXED.values()) + GAP * (len(FIXED) + len(kept) - 1)
        widths = shares([column.width for column in kept], width - taken)
        is_tight = any(w < min(c.width, NARROWEST) for c, w in zip(kept, widths, strict=True))
        extra = next((c for c in reversed(kept) if c.is_extra), None)
        if not is_tight or extra is None:
            return kept, [max(w, 1) for w in widths]
        kept.remove(extra)


def shares(wanted: Sequence[int], width: int) -> list[int]:
    """Return how wide each column is: as it likes, and the long ones alike where that is too much.

    >>> shares([5, 25, 60], 63), shares([5, 10], 63)
    ([5, 25, 33], [5, 10])
    """
    found = [0] * len(wanted)
    left, order = width, sorted(range(len(wanted)), key=lambda i: wanted[i])
    for n_before, i in enumerate(order):
        found[i] = min(wanted[i], left // (len(wanted) - n_before))
        left -= found[i]
    return found


def _whole(cell: Any) -> str:
    """Return a cell as it would be without an end to the line."""
    if isinstance(cell, list):
        more = f" +{len(cell) - 1}" if len(cell) > 1 else ""
        return f"{one_line(str(cell[0]))}{more}" if cell else ""
    return "" if cell is None else one_line(str(cell))


def _shortened(cell: Any, width: int) -> str:
    """Return a cell in so many characters; of a list the first, and how many more there are."""
    if isinstance(cell, list) and len(cell) > 1:
        more = f" +{len(cell) - 1}"
        return shorten(str(cell[0]), max(width - len(more), 1)) + more
    return shorten(_whole(cell), width)
