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
    no_examples: Annotated[bool, Parameter(negative="")] = False,
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
        Leave out the rows of which the model was surest and yet wrong: then the page holds no text
        and no picture of the data.
    """
    from graft.run_folder import write_report

    print(write_report(run, out=out, examples=not no_examples))
