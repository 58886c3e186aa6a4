"""`graft search`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter


def search(
    run: str,
    query: Annotated[str, Parameter(allow_leading_hyphen=True)],
    /,
    *,
    k: Annotated[int, Parameter(name=["-k", "--k"])] = 10,
    where: Annotated[tuple[str, ...], Parameter(negative="", show_default=False)] = (),
    exact: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    side: Literal["image", "text"] | None = None,
    index: Path | None = None,
    input: str | None = None,
    out: Path | None = None,
    quiet: bool = False,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """Search an index for what is nearest to a text, an image, or each row of a file.

    Where the index has a threshold, what does not reach it is unknown. Examples:

        graft search runs/tickets "where is my parcel?" -k 5

        graft search runs/tickets new.csv --where label=delivery --out found.csv

        graft search runs/photos dog.jpg --side image

    Parameters
    ----------
    run
        The run, or the model, that made the index.
    query
        A text, an image, a table or folder of queries, or `-` for lines of standard input.
    k
        How many rows are found for each query.
    where
        A condition on a column: `label=delivery`, `price<=9.5`, also != < > >=. May be given
        several times; then all must hold.
    exact
        Search exactly where the index has an approximate graph.
    side
        Of a run on pictures with captions: find pictures or texts. Unless given, a text finds
        pictures and a picture finds texts.
    index
        Folder of the index; `index` in the run's folder unless given.
    input
        Column of the inputs, where the queries stand in a table and it is not found by name.
    out
        File to write to, instead of printing: .csv or .jsonl.
    quiet
        Print no notes.
    as_json
        Print one JSON object per query.
    """
    from graft.api.answers_out import as_object, check_answers_ending, write_answers_of_search
    from graft.api.searching import search as search_index
    from graft.cli.hits import show_hits
    from graft.cli.quiet import hush_libraries
    from graft.cli.show import console, errors, show_findings
    from graft.engine.threads import choose_threads, computing_with

    if out is not None:
        check_answers_ending(out)
    hush_libraries()
    lines = [line.rstrip("\r\n") for line in sys.stdin] if query == "-" else query
    with computing_with(choose_threads()):
        found = search_index(
            run, lines, k=k, where=where, exact=exact, side=side, folder=index, input=input
        )
    if out is not None:
        write_answers_of_search(out, found)
        if not quiet:
            text = f"{out}  answers to {len(found.answers):,} queries"
            console.print(text, markup=False, soft_wrap=True)
    elif as_json:
        for answer in found.answers:
            print(json.dumps(as_object(answer)))
    else:
        show_hits(found)
    if not quiet:
        show_findings(found.findings)
        for note in found.notes:
            errors.print(f"note: {note}", markup=False, soft_wrap=True)
    found.refuse_if_many_skipped()
