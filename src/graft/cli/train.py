"""`graft train`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from graft.cli.options import RecipeOptions


def train(
    data: str | None = None,
    /,
    *,
    out: Path | None = None,
    recipe: Path | None = None,
    options: RecipeOptions | None = None,
    overwrite: bool = False,
    resume: bool = False,
    quiet: bool = False,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """Fine-tune a pretrained model on your examples.

    Ends with a table, before and after, and the folder of the run, whose `model/` opens without
    graft. Examples:

        graft train tickets.csv

        graft train tickets.csv --method unfreeze --epochs 2

        graft train photos/ --model timm:mobilenetv3_small_100 --method probe

        graft train reviews.csv --target new-reviews.csv

        graft train --out runs/tickets-lp-ft-1 --resume

    Ctrl-C, SIGTERM and SIGHUP finish the step, write a checkpoint and stop with 130, 143 or 129.

    Parameters
    ----------
    data
        A table with a text and a label column, or a folder of class folders of images; may be
        left out where `--recipe` or the run to resume names it.
    out
        Folder of the run; a new one under runs/ unless given.
    recipe
        YAML file of options; flags win over it.
    overwrite
        Replace the run that is in `--out`.
    resume
        Go on with the run that is in `--out`, from its last checkpoint: the result is, byte for
        byte, that of a run that was never stopped. Needs nothing else; begins where there is none.
    quiet
        Print nothing but the folder of the run.
    as_json
        Print the record as JSON.
    """
    from graft import api
    from graft.cli.progress import ProgressBars
    from graft.cli.quiet import hush_libraries
    from graft.cli.show import console, show_depths, show_domain, show_run
    from graft.cli.stopped import told_when_stopped
    from graft.data.faults import Finding, first_lines
    from graft.engine.processes import is_main
    from graft.engine.stopping import stoppable
    from graft.errors import InputError
    from graft.serial import to_json
    from graft.wording import human_bytes

    if data is None and recipe is None and not (resume and out is not None):
        raise InputError("no data; name a file or folder, or pass --recipe with a file that does")
    hush_libraries()
    given = (options or RecipeOptions()).given()
    is_shown = is_main() and not (quiet or as_json)
    with told_when_stopped(is_main()), stoppable(), ProgressBars(enabled=is_shown) as bars:
        run = api.train(
            data,
            out=out,
            overwrite=overwrite,
            resume=resume,
            recipe=recipe,
            listener=bars.listener(),
            **given,
        )
    if not is_main():
        return
    if as_json:
        print(json.dumps({"folder": str(run.folder), **json.loads(to_json(run.record))}))
        return
    if quiet:
        print(run.folder)
        return
    record = run.record
    new = (note for note in record.notes if note not in bars.notes)
    for note in (*first_lines(map(Finding.of, record.findings)), *new):
        console.print(f"note: {note}", markup=False, soft_wrap=True)
    if record.depths:
        show_depths(record.depths)
        console.print("by cross-validation on training rows\n", style="dim")
    if record.after:
        show_run(record)
    if record.domain is not None:
        show_domain(record.domain, record.headline)
    console.print(
        f"\n{record.model} · {record.method} · {record.n_trained:,} of {record.n_parameters:,} "
        f"parameters trained · {record.seconds:.1f} s",
        soft_wrap=True,
    )
    console.print(
        f"model   {run.folder / 'model'}  (opens with {record.opens_with})",
        markup=False,
        soft_wrap=True,
    )
    if record.adapter_bytes:
        size = human_bytes(record.adapter_bytes)
        console.print(
            f"adapter {run.folder / 'adapter'}  ({size}: what was trained, alone)",
            markup=False,
            soft_wrap=True,
        )
    console.print(f"report  {run.folder / 'report.html'}", markup=False, soft_wrap=True)
    console.print(f"run     {run.folder}", markup=False, soft_wrap=True)
