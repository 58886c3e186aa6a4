"""`graft report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def report(
    run: Path,
    /,
    *,
    out: Path | None = None,
    no_examples: Annotated[bool, Parameter(negative="", show_default=False)] = False,
) -> None:
    """Make the page of a finished run anew, from its folder alone.

    Writes `report.html`: one file that opens offline, with what was found in the data, how good
    the model is, what it gets wrong, and what it cost. Neither data nor model is needed. Examples:

        graft report runs/tickets

        graft report runs/tickets --no-examples --out for-the-board.html

    Parameters
    ----------
    run
        Folder of a finished run.
    out
        Where the page is written; `report.html` in the folder of the run unless given.
    no_examples
        Leave out the rows that the model gets most wrong, or the queries of an embedding, with
        their texts and pictures. What was found in the data stays, and so do names of classes.
    """
    from graft.api.reporting import report as make

    print(make(run, out=out, examples=not no_examples))
