"""`graft evaluate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def evaluate(
    run: Path,
    data: str,
    /,
    *,
    input: str | None = None,
    label: str | None = None,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """Evaluate the model of a run on labelled data.

    Parameters
    ----------
    run
        Folder of a run, or of its model.
    data
        A table with labels, or a folder of class folders.
    input
        Column of the inputs, where it is not found by name.
    label
        Column of the labels, where it is not found by name.
    as_json
        Print the metrics as JSON.
    """
    from graft import api
    from graft.cli.quiet import hush_libraries
    from graft.cli.show import console, plain_table
    from graft.engine.threads import choose_threads, computing_with
    from graft.records import plain

    hush_libraries()
    with computing_with(choose_threads()):
        metrics, n_rows = api.evaluate(run, data, input=input, label=label)
    if as_json:
        print(json.dumps(plain({"n_rows": n_rows, **metrics})))
        return
    table = plain_table(f"{n_rows} rows", "value", right=("value",))
    for name, value in metrics.items():
        table.add_row(name.replace("_", " "), f"{value:.3f}")
    console.print(table)
