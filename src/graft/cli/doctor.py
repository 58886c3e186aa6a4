"""`graft doctor`."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from graft.cli.options import RecipeOptions

if TYPE_CHECKING:
    from graft.api import Diagnosis

WORDS = {
    "error": ("error, which stops a training", "errors, which stop a training"),
    "skip": ("skipped", "skipped"),
    "warn": ("warning", "warnings"),
    "repair": ("repaired", "repaired"),
}
"""severity → how one of its findings is headed, and several."""


def doctor(
    data: str | None = None,
    /,
    *,
    task: Literal["classify", "retrieval", "embed"] = "classify",
    out: Path | None = None,
    recipe: Path | None = None,
    options: RecipeOptions | None = None,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> int:
    """Find what is wrong with data before anything is trained.

    Takes the options of `graft train` and reads the data in the same way; every finding names file,
    row and column, and says how to mend it. Ends with exit code 2 where a training would stop.
    With `--model` the model's tokenizer and features are asked too. Examples:

        graft doctor tickets.csv

        graft doctor photos/ --out findings.csv

        graft doctor tickets.csv --model minilm --json

    Parameters
    ----------
    data
        As `graft train` takes it; may be left out where `--recipe` names it.
    task
        classify; embed, as graft train takes it: labels may be new in the test; or retrieval, for
        the rows of an index, whose ids must be unique.
    out
        File for all findings, .csv or .jsonl; printed are the first twenty of each kind.
    recipe
        YAML file of options; flags win over it.
    as_json
        Print everything as JSON.
    """
    from graft import api
    from graft.cli.quiet import hush_libraries
    from graft.errors import InputError
    from graft.rows_out import write_findings

    if data is None and recipe is None:
        raise InputError("no data; name a file or folder, or pass --recipe with a file that does")
    if out is not None and out.suffix.lower() not in (".csv", ".jsonl"):
        raise InputError(f"{out}: findings are written as .csv or .jsonl; rename --out")
    hush_libraries()
    found = api.doctor(data, task=task, recipe=recipe, **(options or RecipeOptions()).given())
    if out is not None:
        write_findings(out, found.findings)
    if as_json:
        print(json.dumps({"is_sound": found.is_sound, **dataclasses.asdict(found)}))
    else:
        show(found)
    return 0 if found.is_sound else 2


def show(found: Diagnosis) -> None:
    """Print findings by severity, with their numbers."""
    from graft.cli.show import console
    from graft.data.faults import first_lines
    from graft.wording import counted

    if found.how_read:
        how = f"{counted(found.n_rows, 'usable row')}; {found.how_read}"
        how += f"; split: {found.how_split}" if found.how_split else ""
        console.print(how, markup=False, soft_wrap=True)
    for severity, n in found.counts().items():
        console.print(f"\n{counted(n, *WORDS[severity])}", style="bold")
        for line in first_lines(f for f in found.findings if f.severity == severity):
            console.print(f"  {line}", markup=False, soft_wrap=True)
    if found.stopped_at:
        print(f"\nstopped at {found.stopped_at}: there may be more", file=sys.stdout)
    elif not found.findings:
        console.print("nothing found")
