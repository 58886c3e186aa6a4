"""`graft predict`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def predict(
    run: Path,
    data: Annotated[str, Parameter(allow_leading_hyphen=True)],
    /,
    *,
    input: str | None = None,
    zero_shot: str | None = None,
    template: list[str] | None = None,
    out: Path | None = None,
    quiet: bool = False,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """Predict with the model of a run, row for row.

    Writes a CSV: the file and row of each example (the row alone for texts that no file holds),
    its label, and the probability of every class. A row that cannot be used has no label, and a
    note on the error stream says why; more than 1 % of such rows ends with exit code 3. Cells of a
    CSV that a spreadsheet would run as a formula begin with a quote. Examples:

        graft predict runs/tickets "where is my parcel?"

        graft predict runs/tickets new.csv --out answers.parquet

        graft predict runs/captions photos/ --zero-shot "rose,tulip" --template "a photo of a {}."

    Parameters
    ----------
    run
        Folder of a run, or of its model.
    data
        A table, a folder of images, an image, one text, or `-` for lines of standard input.
    input
        Column of the inputs, where it is not found by name.
    zero_shot
        Names of classes with commas between, for a model of pictures and texts that knows none.
    template
        Prompt with {} where the name stands (default "a photo of a {}."); give it several times
        to take the mean of several wordings.
    out
        File to write to, instead of printing: .csv, .jsonl or .parquet.
    quiet
        Print no notes.
    as_json
        Print one JSON object per row.
    """
    from graft import api
    from graft.api.predicting import predict_data
    from graft.cli.quiet import hush_libraries
    from graft.cli.show import console, show_findings
    from graft.engine.threads import choose_threads, computing_with
    from graft.errors import InputError
    from graft.rows_out import check_ending, write_answers, write_csv, write_json_lines

    if out is not None:
        check_ending(out)
    if template and zero_shot is None:
        raise InputError("--template needs --zero-shot, which names the classes")
    hush_libraries()
    named = [line.rstrip("\r\n") for line in sys.stdin] if data == "-" else data
    with computing_with(choose_threads()):
        if zero_shot is not None:
            templates = template or list(api.TEMPLATES)
            found = api.zero_shot(
                run, named, zero_shot.split(","), templates=templates, input=input
            )
        else:
            found = predict_data(run, named, input=input)
    parts = found.rows, found.origins, found.classes
    if out is not None:
        write_answers(out, *parts, from_files=found.from_files)
        if not quiet:
            console.print(f"{out}  {len(found.rows):,} rows", markup=False, soft_wrap=True)
    else:
        write = write_json_lines if as_json else write_csv
        write(sys.stdout, *parts, from_files=found.from_files)
    if not quiet:
        show_findings(found.findings)
    found.refuse_if_many_skipped()
