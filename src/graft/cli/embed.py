"""`graft embed`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

FORMATS = (".npy", ".parquet")


def embed(
    model: str,
    data: str,
    /,
    *,
    out: Path,
    input: str | None = None,
    precision: Literal["fp32", "bf16"] = "fp32",
    quiet: bool = False,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """Write the features that a model computes, one vector per row.

    They are what the head of the model reads: a run's own features after training, or those of
    any pretrained model. Examples:

        graft embed runs/tickets tickets.csv --out tickets.npy

        graft embed minilm tickets.csv --out tickets.parquet

    Parameters
    ----------
    model
        A run, or a model as `graft train --model` takes it.
    data
        A table, a folder of images, an image, one text, or `-` for lines of standard input.
    out
        A `.npy` file, an array (rows, width) of float32; or `.parquet`, with file and row of each.
    input
        Column of the inputs, where it is not found by name.
    precision
        `bf16` is faster on processors that multiply it, and rounds to three digits.
    quiet
        Print nothing.
    as_json
        Print the file, the number of rows and their width as JSON.
    """
    from graft.api.embedding import embed as embed_data
    from graft.cli.quiet import hush_libraries
    from graft.cli.show import console, show_findings
    from graft.engine.threads import choose_threads, computing_with
    from graft.errors import InputError
    from graft.rows_out import write_features

    if out.suffix.lower() not in FORMATS:
        raise InputError(f"{out}: features are written as {' or '.join(FORMATS)}; rename --out")
    hush_libraries()
    named = [line.rstrip("\r\n") for line in sys.stdin] if data == "-" else data
    with computing_with(choose_threads()):
        found = embed_data(model, named, input=input, precision=precision)
    write_features(out, found.features, found.origins, from_files=found.from_files)
    show_findings(found.findings)
    n, width = found.features.shape
    if as_json:
        print(json.dumps({"out": str(out), "n_rows": n, "width": width}))
    elif not quiet:
        console.print(f"{out}  {n:,} rows × {width}", markup=False, soft_wrap=True)
    found.refuse_if_many_skipped()
