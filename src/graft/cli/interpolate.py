"""`graft interpolate`, and how its curve is shown."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    from graft.api.interpolating import Interpolation


def interpolate(
    run: Path,
    /,
    *,
    alphas: str = "",
    out: Path | None = None,
    quiet: bool = False,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """Score models between the weights before training and those after it.

    A model between both often keeps most of what training gained and most of what was there
    before. The best on validation rows is named, and the curve goes into the report of
    the run. Examples:

        graft interpolate runs/tickets-full-1

        graft interpolate runs/tickets-full-1 --alphas 0.25,0.5,0.75,1 --out tickets-between

    Parameters
    ----------
    run
        Folder of a run; its data must lie where they were.
    alphas
        From 0, the weights before training, to 1, those after it, with commas between them; eleven
        unless given.
    out
        Folder for the model that is best on validation rows.
    quiet
        Print nothing but the best alpha.
    as_json
        Print the curve as JSON.
    """
    from graft.api.interpolating import ALPHAS
    from graft.api.interpolating import interpolate as interpolate_run
    from graft.cli.quiet import hush_libraries
    from graft.serial import to_json

    hush_libraries()
    chosen = _numbers(alphas) if alphas.strip() else ALPHAS
    found = interpolate_run(run, alphas=chosen, out=out)
    if as_json:
        print(to_json(found))
    elif quiet:
        print(found.chosen)
    else:
        _show(found, run, out)


def _numbers(text: str) -> tuple[float, ...]:
    from graft.errors import InputError

    try:
        return tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise InputError(
            f"--alphas {text}: write numbers with commas between them, 0,0.5,1"
        ) from None


def _show(found: Interpolation, run: Path, out: Path | None) -> None:
    from graft.cli.show import console, plain_table
    from graft.report.words import readable

    splits = list(found.at_chosen.scores)
    table = plain_table("alpha", *splits, "", right=("alpha", *splits))
    for point in found.points:
        scores = (f"{point.scores[split]:.3f}" for split in splits)
        table.add_row(f"{point.alpha:g}", *scores, "← best" if point.chosen else "")
    console.print(f"{readable(found.metric)} between before (0) and after training (1)\n")
    console.print(table)
    console.print()
    if out is not None:
        console.print(f"model   {out}", markup=False)
    console.print(f"report  {run / 'report.html'}", markup=False)
