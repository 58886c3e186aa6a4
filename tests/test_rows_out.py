"""What is written row for row: every form says the same, and no spreadsheet runs a cell."""

from __future__ import annotations

import csv
import json

import numpy as np
import pyarrow.parquet as parquet
import pytest

from graft.data.table import Origin
from graft.errors import InputError, StorageError
from graft.records import Prediction
from graft.rows_out import harmless, write_answers, write_features

ORIGINS = (Origin("=a.csv", 1), Origin("=a.csv", 2), Origin("=a.csv", 3))
CLASSES = ("no", "=cmd()")
ANSWERS = (
    Prediction("no", {"no": 0.75, "=cmd()": 0.25}, ("no",)),
    None,
    Prediction("no;=cmd()", {"no": 0.5, "=cmd()": 0.875}, CLASSES),
)
NUMBERS = (Prediction("-3.5", {}, (), -3.5), None, Prediction("2", {}, (), 2.0))


def write(path, answers=ANSWERS):
    write_answers(path, answers, ORIGINS, CLASSES, from_files=True)
    return path


def test_csv_has_every_row_and_harmless_cells(tmp_path):
    with write(tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["file", "row", "label", "no", "'=cmd()"]
    assert rows[1] == ["'=a.csv", "1", "no", "0.750000", "0.250000"]
    assert rows[2] == ["'=a.csv", "2", "", "", ""]
    assert len(rows) == 4


def test_json_lines_keep_what_was_said(tmp_path):
    rows = [json.loads(x) for x in write(tmp_path / "a.jsonl").read_text().splitlines()]
    first = {"file": "=a.csv", "row": 1, "label": "no", "probabilities": ANSWERS[0].probabilities}
    assert rows[0] == first
    assert rows[1]["label"] is None
    assert rows[2]["labels"] == list(CLASSES)


def test_parquet_has_types_and_nulls(tmp_path):
    table = parquet.read_table(write(tmp_path / "a.parquet"))
    assert table.column_names == ["file", "row", "label", "no", "=cmd()"]
    assert table.column("row").to_pylist() == [1, 2, 3]
    assert table.column("no").to_pylist() == [0.75, None, 0.5]


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_numbers_are_numbers_in_every_form(ending, tmp_path):
    path = write(tmp_path / f"a.{ending}", NUMBERS)
    if ending == "csv":
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        labels = [float(row["label"]) if row["label"] else None for row in rows]
    elif ending == "jsonl":
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        labels = [row["label"] for row in rows]
    else:
        rows = parquet.read_table(path).to_pylist()
        labels = [row["label"] for row in rows]
    assert labels == [-3.5, None, 2.0]
    assert all(list(row) == ["file", "row", "label"] for row in rows)


def test_a_class_that_is_called_as_a_column_of_ours_has_another(tmp_path):
    answer = Prediction("row", {"row": 0.75, "no": 0.25}, ("row",))
    for ending in ("csv", "parquet"):
        path = tmp_path / f"a.{ending}"
        write_answers(path, [answer], ORIGINS[:1], ("row", "no"), from_files=True)
        if ending == "csv":
            header = path.read_text().splitlines()[0].split(",")
        else:
            header = parquet.read_table(path).column_names
        assert header == ["file", "row", "label", "p(row)", "no"]


def test_an_ending_that_names_no_form_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"\.csv, \.jsonl, \.parquet"):
        write(tmp_path / "a.xlsx")


def test_a_folder_that_is_not_there_is_a_fault_of_storage(tmp_path):
    with pytest.raises(StorageError, match="choose another --out"):
        write(tmp_path / "nowhere" / "a.csv")


def test_features_come_back_from_both_forms(tmp_path):
    features = np.array([[1, 2], [np.nan, np.nan], [3, 4]], np.float32)
    for ending in ("npy", "parquet"):
        write_features(tmp_path / f"f.{ending}", features, ORIGINS, from_files=True)
    np.testing.assert_array_equal(np.load(tmp_path / "f.npy"), features)
    table = parquet.read_table(tmp_path / "f.parquet")
    np.testing.assert_array_equal(np.stack(table.column("features").to_pylist()), features)
    assert table.column("file").to_pylist() == ["=a.csv"] * 3


@pytest.mark.parametrize(
    ("cell", "written"),
    [("=1+1", "'=1+1"), ("-1", "-1"), ("-1+cmd", "'-1+cmd"), ("@a", "'@a"), ("a", "a"), (5, 5)],
)
def test_formulas_are_text_and_numbers_stay(cell, written):
    assert harmless(cell) == written
