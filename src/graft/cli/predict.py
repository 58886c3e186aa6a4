"""`graft predict`."""

from __future__ import annotations

import csv
import json
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
    out: Path | None = None,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """Predict labels with the model of a run, row for row.

    Parameters
    ----------
    run: Folder of a run, or of its model.
    data: A CSV, a folder of images, `-` for lines of standard input, or one text.
    input: Column of the inputs, where it is not found by name.
    out: Write a CSV there instead of printing.
    as_json: Print one JSON object per row.
    """
    from graft import api
    from graft.cli.quiet import hush_libraries
    from graft.engine.threads import choose_threads, computing_with

    hush_libraries()
    with computing_with(choose_threads()):
        predictions = api.predict(run, _values(data, input))
    if as_json:
        for p in predictions:
            print(json.dumps({"label": p.label, "probabilities": p.probabilities}))
        return
    handle = sys.stdout if out is None else out.open("w", newline="", encoding="utf-8")
    writer = csv.writer(handle)
    names = list(predictions[0].probabilities) if predictions else []
    writer.writerow(["label", *names])
    for p in predictions:
        writer.writerow([p.label, *(f"{p.probabilities[n]:.6f}" for n in names)])
    if out is not None:
        handle.close()


def _values(data: str, column: str | None) -> list[str]:
    if data == "-":
        return [line.rstrip("\n") for line in sys.stdin]
    if not Path(data).exists() and " " in data:
        return [data]
    from graft.data.readers import read

    return read(data, input=column).inputs()
