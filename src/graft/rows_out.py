"""Tables that graft writes, row for row: predictions, features, findings in the data.

Every form says where a row came from, and keeps a row that could not be used, without an answer.
"""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from graft.data.faults import Finding
from graft.data.table import Origin, Table
from graft.errors import InputError, StorageError
from graft.records import Prediction

PREDICTION_FORMATS = (".csv", ".jsonl", ".parquet")


def check_ending(path: Path) -> None:
    """Refuse a file for predictions whose ending names no form.

    Raises:
        InputError: as said.
    """
    if path.suffix.lower() not in PREDICTION_FORMATS:
        known = ", ".join(PREDICTION_FORMATS)
        raise InputError(f"{path}: predictions are written as {known}; rename --out")


def write_answers(
    path: Path,
    answers: Sequence[Prediction | None],
    origins: Sequence[Origin],
    classes: Sequence[str],
    *,
    from_files: bool,
) -> None:
    """Write predictions to a file, in the form that its ending names.

    Args:
        path: `.csv`, `.jsonl` or `.parquet`.
        answers: N, None where a row could not be used.
        origins: file and row of each.
        classes: names of the model's outputs.
        from_files: whether the origins are files.

    Raises:
        InputError: the ending is none of these.
        StorageError: the file cannot be written.
    """
    check_ending(path)
    with _reported(path):
        if path.suffix.lower() == ".parquet":
            _write_parquet(path, answers, origins, classes, from_files)
            return
        write = write_csv if path.suffix.lower() == ".csv" else write_json_lines
        with path.open("w", newline="", encoding="utf-8") as file:
            write(file, answers, origins, classes, from_files=from_files)


def write_csv(
    file: IO[str],
    answers: Sequence[Prediction | None],
    origins: Sequence[Origin],
    classes: Sequence[str],
    *,
    from_files: bool,
) -> None:
    """Write a line for each row: its place, its label, and the probability of every class."""
    shown = _with_probabilities(answers, classes)
    writer = csv.writer(file)
    place = [*(["file"] if from_files else []), "row", "label"]
    writer.writerow([*place, *map(harmless, _columns(shown, place))])
    for place, answer in zip(_places(origins, from_files), answers, strict=True):
        cells = [*place.values(), "" if answer is None else answer.label]
        numbers = [""] * len(shown)
        if answer is not None:
            numbers = [f"{answer.probabilities[c]:.6f}" for c in shown]
        writer.writerow([*map(harmless, cells), *numbers])


def write_json_lines(
    file: IO[str],
    answers: Sequence[Prediction | None],
    origins: Sequence[Origin],
    classes: Sequence[str],
    *,
    from_files: bool,
) -> None:
    """Write an object for each row: its label, a number where they are, else probabilities too."""
    del classes
    are_numbers = _are_numbers(answers)
    for place, answer in zip(_places(origins, from_files), answers, strict=True):
        found: dict[str, Any] = {"label": None, "probabilities": None}
        if are_numbers:
            found = {"label": None if answer is None else answer.value}
        elif answer is not None:
            found = {"label": answer.label, "probabilities": answer.probabilities}
            if answer.labels != (answer.label,):
                found["labels"] = answer.labels
        file.write(json.dumps({**place, **found}) + "\n")


def write_predictions(
    path: Path,
    table: Table,
    rows: np.ndarray,
    split: str,
    answers: Sequence[Prediction],
    classes: Sequence[str],
) -> None:
    """Write held-out rows with their place, label, prediction and, of classes, probabilities.

    Args:
        rows: (M,) numbers of the rows in `table`.
        answers: M predictions.
        classes: names of the model's outputs.
    """
    labels = table.labels() or [""] * len(table)
    shown = _with_probabilities(answers, classes)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        place = ["file", "row", "split", "label", "predicted"]
        writer.writerow([*place, *map(harmless, _columns(shown, place))])
        for row, answer in zip(rows, answers, strict=True):
            origin = table.origin(int(row))
            cells = [origin.path, origin.row, split, labels[row], answer.label]
            writer.writerow(
                [*map(harmless, cells), *(f"{answer.probabilities[c]:.6f}" for c in shown)]
            )


def write_features(
    path: Path, features: np.ndarray, origins: Sequence[Origin], *, from_files: bool
) -> None:
    """Write features (N, D): `.npy` as one array, `.parquet` with file and row of each.

    Raises:
        StorageError: the file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as parquet

    with _reported(path):
        if path.suffix.lower() == ".npy":
            with path.open("wb") as file:
                np.save(file, features)
            return
        columns: dict[str, Any] = _place_columns(origins, from_files)
        flat = pa.array(features.reshape(-1), pa.float32())
        columns["features"] = pa.FixedSizeListArray.from_arrays(flat, features.shape[1])
        parquet.write_table(pa.table(columns), path)


def write_findings(path: Path, findings: Sequence[Finding]) -> None:
    """Write what was found in data: `.jsonl` as one object a line, any other name as CSV.

    Raises:
        StorageError: the file cannot be written.
    """
    names = [field.name for field in dataclasses.fields(Finding)]
    with _reported(path), path.open("w", newline="", encoding="utf-8") as file:
        if path.suffix.lower() == ".jsonl":
            file.writelines(json.dumps(dataclasses.asdict(f)) + "\n" for f in findings)
            return
        writer = csv.writer(file)
        writer.writerow(names)
        for finding in findings:
            writer.writerow([harmless(getattr(finding, name)) for name in names])


def harmless(cell: Any) -> Any:
    """Keep a spreadsheet from running a cell as a formula; numbers stay what they are.

    >>> harmless("=cmd()"), harmless("-1.5")
    ("'=cmd()", '-1.5')
    """
    if not isinstance(cell, str) or not cell.startswith(("=", "+", "-", "@", "\t", "\r")):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell


def _write_parquet(
    path: Path,
    answers: Sequence[Prediction | None],
    origins: Sequence[Origin],
    classes: Sequence[str],
    from_files: bool,
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    columns = _place_columns(origins, from_files)
    if _are_numbers(answers):
        values = [None if a is None else a.value for a in answers]
        columns["label"] = pa.array(values, pa.float64())
    else:
        columns["label"] = pa.array([None if a is None else a.label for a in answers], pa.string())
    shown = _with_probabilities(answers, classes)
    for name, column in zip(shown, _columns(shown, list(columns)), strict=True):
        values = [None if a is None else a.probabilities[name] for a in answers]
        columns[column] = pa.array(values, pa.float32())
    parquet.write_table(pa.table(columns), path)


def _place_columns(origins: Sequence[Origin], from_files: bool) -> dict[str, Any]:
    import pyarrow as pa

    files = {"file": pa.array([o.path for o in origins], pa.string())} if from_files else {}
    return {**files, "row": pa.array([o.row for o in origins], pa.int64())}


def _columns(classes: Sequence[str], taken: Sequence[str]) -> list[str]:
    """Return a column's name for each class: `p(row)` for a class that is called `row`."""
    return [f"p({name})" if name in taken else name for name in classes]


def _places(origins: Sequence[Origin], from_files: bool) -> Iterator[dict[str, Any]]:
    for origin in origins:
        yield {**({"file": origin.path} if from_files else {}), "row": origin.row}


def _with_probabilities(
    answers: Sequence[Prediction | None], classes: Sequence[str]
) -> Sequence[str]:
    """Return the classes that have a column; none where numbers are predicted."""
    return () if _are_numbers(answers) else classes


def _are_numbers(answers: Sequence[Prediction | None]) -> bool:
    return any(a is not None and a.value is not None for a in answers)


@contextmanager
def _reported(path: Path) -> Iterator[None]:
    """Report what the system refuses as a fault of storage."""
    try:
        yield
    except OSError as error:
        message = f"{path}: cannot be written ({error.strerror}); choose another --out"
        raise StorageError(message) from None
