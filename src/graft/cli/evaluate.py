"""`graft evaluate`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

N_CLASSES_SHOWN = 20


def evaluate(
    run: Path,
    data: str,
    /,
    *,
    input: str | None = None,
    label: str | None = None,
    split_column: str | None = None,
    only: Literal["train", "validation", "test"] | None = None,
    encoding: str | None = None,
    sep: str | None = None,
    quiet: bool = False,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """Evaluate the model of a run on labelled data.

    Prints every metric with its 95 % bootstrap interval, and how well each class is told from the
    rest, the hardest first. Examples:

        graft evaluate runs/tickets new-tickets.csv

        graft evaluate runs/photos photos/ --only test --json

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
    split_column
        Column that says train, validation or test.
    only
        Evaluate the rows of one part of the split that the data brings.
    encoding
        Encoding of a text file, where it is not UTF-8.
    sep
        Character between cells, where it is not the comma.
    quiet
        Print nothing but the value of the metric that counts first.
    as_json
        Print the metrics as JSON.
    """
    from graft import api
    from graft.cli.quiet import hush_libraries
    from graft.cli.show import (
        console,
        show_findings,
        show_metrics,
        show_pairs,
        show_per_class,
    )
    from graft.engine.threads import choose_threads, computing_with
    from graft.serial import plain

    hush_libraries()
    with computing_with(choose_threads()):
        found = api.evaluate(
            run,
            data,
            only=only,
            input=input,
            label=label,
            split=split_column,
            encoding=encoding,
            sep=sep,
        )
    show_findings(found.findings)
    if as_json:
        print(json.dumps(plain({**found.metrics, **dataclasses.asdict(found)})))
    elif quiet:
        print(found.metrics[found.headline])
    else:
        show_metrics(found.intervals, f"{found.n_rows:,} rows")
        show_pairs(found.pairs)
        if found.per_class:
            console.print()
            show_per_class(found.per_class, N_CLASSES_SHOWN)
    found.refuse_if_many_skipped()
