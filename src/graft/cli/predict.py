"""`graft predict`."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

if TYPE_CHECKING:
    from graft.api.predicting import Predictions

N_NOTES = 10


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

    Writes a CSV: the file and row of each example (the row alone for texts that no file holds),
    its label, and the probability of every class. A row that cannot be used has no label, and a
    note on the error stream says why; more than 1 % of such rows ends with exit code 3.

    Parameters
    ----------
    run
        Folder of a run, or of its model.
    data
        A table, a folder of images, an image, one text, or `-` for lines of standard input.
    input
        Column of the inputs, where it is not found by name.
    out
        File to write to, instead of printing.
    as_json
        Write one JSON object per row.
    """
    from graft.api.predicting import predict_data
    from graft.cli.quiet import hush_libraries
    from graft.engine.threads import choose_threads, computing_with

    hush_libraries()
    named = [line.rstrip("\r\n") for line in sys.stdin] if data == "-" else data
    with computing_with(choose_threads()):
        found = predict_data(run, named, input=input)
    with _opened(out) as file:
        (_write_json if as_json else _write_csv)(found, file)
    _show_notes(found)
    found.refuse_if_many_skipped()


@contextmanager
def _opened(out: Path | None) -> Iterator[IO[str]]:
    """Open the file to write to, or the standard output."""
    from graft.errors import StorageError

    if out is None:
        yield sys.stdout
        return
    try:
        file = out.open("w", newline="", encoding="utf-8")
    except OSError as error:
        message = f"{out}: cannot be written ({error.strerror}); choose another --out"
        raise StorageError(message) from None
    with file:
        yield file


def _write_csv(found: Predictions, file: IO[str]) -> None:
    from graft.run_folder import harmless

    writer = csv.writer(file)
    place = ["file", "row"] if found.from_files else ["row"]
    writer.writerow([*place, "label", *map(harmless, found.classes)])
    for cells, prediction in _placed(found):
        label = "" if prediction is None else prediction.label
        numbers = [""] * len(found.classes)
        if prediction is not None:
            numbers = [f"{prediction.probabilities[c]:.6f}" for c in found.classes]
        writer.writerow([*map(harmless, cells.values()), harmless(label), *numbers])


def _write_json(found: Predictions, file: IO[str]) -> None:
    for cells, prediction in _placed(found):
        result: dict[str, Any] = {"label": None, "probabilities": None}
        if prediction is not None:
            result = {"label": prediction.label, "probabilities": prediction.probabilities}
        file.write(json.dumps({**cells, **result}) + "\n")


def _placed(found: Predictions) -> Iterator[tuple[dict[str, Any], Any]]:
    """Yield where each row came from, and its prediction."""
    for origin, prediction in zip(found.origins, found.rows, strict=True):
        place = {"file": origin.path} if found.from_files else {}
        yield {**place, "row": origin.row}, prediction


def _show_notes(found: Predictions) -> None:
    from graft.cli.show import errors

    for finding in found.findings[:N_NOTES]:
        errors.print(f"note: {finding}", markup=False, soft_wrap=True)
    n_more = len(found.findings) - N_NOTES
    if n_more > 0:
        errors.print(f"note: and {n_more:,} more", markup=False)
