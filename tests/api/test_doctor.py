"""The doctor as a function, and what training makes of the same findings."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

import graft
from graft.api.diagnosing import found_by
from graft.api.judging import judge
from graft.data.doctor.features import constant_features, near_features
from graft.data.faults import Finding
from graft.errors import DataError, InputError, UnknownName
from graft.recipe import Recipe
from graft.records import FindingRecord, RunRecord
from graft.serial import from_json, to_json
from graft.tasks.classify import Classify
from tests.data.makers import text_table
from tests.faults.corpus import folder, split_table, table, texts
from tests.tiny import write_checkpoint, write_table


@pytest.fixture(scope="module")
def bert(tmp_path_factory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("bert"))


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_all_errors_are_told_and_those_that_stop_come_first():
    inputs = texts(24)
    inputs[20] = inputs[2]
    labels = ["a", "b"] * 11 + ["new", "a"]
    found = graft.doctor(
        split_table(inputs, labels, 16, who=[i % 5 for i in range(24)]), group="who"
    )
    assert [f.code for f in found.findings if f.severity == "error"] == [
        "unseen-label",
        "leaked-rows",
        "torn-group",
    ]
    assert [f.severity for f in found.findings] == ["error"] * 3 + ["warn"]
    assert not found.is_sound
    assert found.stopped_at == ""
    assert found.counts() == {"error": 3, "warn": 1}


def test_where_reading_stops_that_is_said():
    found = graft.doctor("nowhere.csv")
    assert found.stopped_at == "reading the data"
    assert [str(f) for f in found.findings] == [
        "nowhere.csv: no such file or folder; correct the path"
    ]
    assert found.n_rows == 0


def test_where_the_split_cannot_be_read_the_rest_is_looked_at():
    path = table(labels=["a", "a", "b", "rare"], set=["train", "test", "later", "train"])
    found = graft.doctor(path, split_column="set")
    assert found.stopped_at == "splitting the rows"
    assert [f.row for f in found.findings if f.code == "unreadable"] == [3]
    assert "class-with-one-row" in {f.code for f in found.findings}


def test_retrieval_takes_labels_that_are_never_trained_and_no_id_twice():
    ids = [str(i) for i in range(24)]
    ids[9] = "3"
    path = split_table(texts(24), ["a", "b"] * 11 + ["new", "a"], 16, id=ids)
    severities = {
        task: {f.code: f.severity for f in graft.doctor(path, task=task).findings}
        for task in ("classify", "retrieval", "embed")
    }
    assert severities.pop("embed") == {"duplicate-ids": "warn"}
    assert severities == {
        "classify": {"unseen-label": "error", "duplicate-ids": "warn"},
        "retrieval": {"unseen-label": "warn", "duplicate-ids": "error"},
    }
    Path("u.csv").write_text("text\n" + "\n".join(texts(9)))
    assert not graft.doctor("u.csv").is_sound
    assert graft.doctor("u.csv", task="retrieval").is_sound
    with pytest.raises(UnknownName, match="classify"):
        graft.doctor(path, task="clasify")  # type: ignore[arg-type]


def test_an_error_without_a_message_of_its_own_is_a_finding():
    found = found_by(DataError("m; mend it", path="p", row=3), Recipe(data="d"))
    assert (found.severity, found.path, found.row) == ("error", "p", 3)


def test_a_model_is_asked_too(bert):
    write_table(Path("d.csv"), 20)
    rows = Path("d.csv").read_text().splitlines()
    rows += [f"zzz qqq number{i},strange" for i in range(4)]
    rows += [f"{'the old cat ' * 30}{'dog ' * i},animal" for i in range(1, 3)]
    Path("d.csv").write_text("\n".join(rows))
    found = graft.doctor("d.csv", model=bert)
    codes = {f.code for f in found.findings}
    assert {"unknown-tokens", "cut-text"} <= codes
    near = [f for f in found.findings if "to this model" in f.message]
    assert near
    assert all(f.code == "near-duplicate" and f.severity == "warn" for f in near)
    folder()
    with pytest.raises(InputError, match="takes text"):
        graft.doctor("d", model=bert)


def test_features_that_are_near_or_none():
    random = np.random.default_rng(0)
    features = random.standard_normal((40, 16)).astype(np.float32)
    parts = np.array([0] * 30 + [2] * 10)
    features[33] = 3 * features[4] + 0.01 * random.standard_normal(16)
    found = near_features(features, parts)
    assert {i: near.row for i, near in found.items()} == {33: 4}
    assert near_features(features, np.zeros(40)) == {}
    data = text_table(texts(3), [*"abc"])
    bad = np.ones((3, 4), np.float32)
    assert [f.code for f in constant_features(data, bad)] == ["constant-features"]
    bad[1, 2] = np.nan
    assert [(f.code, f.row) for f in constant_features(data, bad)] == [("infinite-features", 2)]


def test_clean_metrics_leave_out_what_is_near():
    targets = {"test": np.array([0, 1, 0, 1])}
    right, wrong = [3.0, 0.0], [0.0, 3.0]
    after = {"test": np.array([right, wrong, wrong, right], np.float32)}
    near = {"test": np.array([True, True, False, False])}
    worth = judge(Classify(("a", "b")), targets, after, after, near)
    assert worth.after["test"]["accuracy"] == 0.5
    assert worth.after["test clean"]["accuracy"] == 0.0
    assert worth.n_near == 2
    none = judge(Classify(("a", "b")), targets, after, after, {"test": np.zeros(4, bool)})
    assert none.after.keys() == {"test"}


@pytest.mark.slow
def test_training_keeps_what_was_found(bert):
    write_table(Path("d.csv"), 60)
    rows = [line.split(",") for line in Path("d.csv").read_text().splitlines()]
    parts = ["split"] + ["train"] * 120 + ["test"] * 60
    rows = [[*row, part] for row, part in zip(rows, parts, strict=True)]
    rows[7][0] = " "
    rows[150][0] = rows[3][0].upper() + "!"
    rows[150][1] = rows[3][1]
    with Path("d.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    run = graft.train("d.csv", model=bert, method="probe", out="run", allow_leak=True)
    record = run.record
    assert Path("run/skipped.csv").read_text() == (
        "code,severity,message,path,row,column\n"
        "empty-text,skip,the text is empty; fill it in or drop the row,d.csv,7,text\n"
    )
    assert {"empty-text", "near-duplicate"} <= {f.code for f in record.findings}
    assert isinstance(record.findings[0], FindingRecord)
    assert record.n_near >= 1
    assert record.clean.keys() == run.metrics.keys()
    assert any("without" in note and "accuracy" in note for note in record.notes)
    assert from_json(RunRecord, to_json(record)) == record
    with pytest.raises(DataError, match="--max-skip"):
        graft.train("d.csv", model=bert, out="other", allow_leak=True, max_skip=0.001)
    assert not Path("other").exists()


def test_findings_of_a_run_are_plain_records():
    finding = Finding("c", "warn", "m", "p", 1, "x")
    assert finding.record() == FindingRecord("c", "warn", "m", "p", 1, "x")
