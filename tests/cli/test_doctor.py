"""`graft doctor` as a user sees it, and that no error of the corpus ends in a traceback."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from graft.cli import main
from tests.faults.corpus import CASES, changed, repeated_id, table, texts
from tests.faults.test_corpus import golden


@pytest.fixture
def graft(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def call(*arguments):
        with pytest.raises(SystemExit) as stopped:
            main([str(a) for a in arguments])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return stopped.value.code or 0, out, err

    return call


def test_good_data_ends_with_0(graft):
    code, out, err = graft("doctor", table())
    assert (code, err) == (0, "")
    assert out.splitlines()[0].startswith("20 usable rows; text: `text` (by name)")
    assert out.splitlines()[-1] == "nothing found"


def test_warnings_end_with_0_and_errors_with_2(graft):
    code, out, _ = graft("doctor", repeated_id())
    assert code == 0
    assert "\n1 warning\n" in out
    code, out, _ = graft("doctor", "d.csv", "--task", "retrieval")
    assert code == 2
    assert "1 error, which stops a training" in out


def test_the_first_twenty_of_a_kind_are_printed_and_all_are_written(graft):
    inputs = texts(60)
    inputs[10:40] = [""] * 30
    path = table(labels=["a", "b"] * 30, inputs=inputs)
    code, out, _ = graft("doctor", path, "--out", "found.csv")
    assert code == 2
    assert out.count("the text is empty") == 20
    assert "and 10 more of the kind empty-text" in out
    assert "30 skipped" in out
    with Path("found.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [r["severity"] for r in rows] == ["error"] + ["skip"] * 30
    assert rows[1]["row"] == "11"
    graft("doctor", path, "--out", "found.jsonl")
    lines = [json.loads(x) for x in Path("found.jsonl").read_text().splitlines()]
    assert len(lines) == 31
    code, _, _ = graft("doctor", path, "--max-skip", "0.5")
    assert code == 0


def test_json_has_everything(graft):
    code, out, _ = graft("doctor", changed(3, " "), "--json")
    found = json.loads(out)
    assert code == 0
    assert found["is_sound"] is True
    assert found["n_rows"] == 199
    assert found["findings"][0]["row"] == 3


def test_formulas_in_findings_are_text(graft):  # B28
    graft("doctor", "=cmd()|.csv", "--out", "found.csv")
    with Path("found.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["path"] == "'=cmd()|.csv"


def test_what_is_asked_wrongly_ends_with_2(graft):
    assert graft("doctor")[0] == 2
    assert graft("doctor", table(), "--out", "found.txt")[0] == 2
    assert graft("doctor", table(), "--min-per-clas", "2")[0] != 0


def test_where_reading_stops_is_said(graft):
    Path("d.csv").write_bytes(b"")
    code, out, _ = graft("doctor", "d.csv")
    assert code == 2
    assert "stopped at reading the data: there may be more" in out


@pytest.mark.slow
def test_no_error_of_the_corpus_ends_in_a_traceback(graft, tmp_path, monkeypatch):
    for case, found in golden().items():
        if not any(severity == "error" for severity, _ in found):
            continue
        folder = tmp_path / case.replace(" ", "-")
        folder.mkdir()
        monkeypatch.chdir(folder)
        make, options = CASES[case]
        flags = [f"--{k.replace('_', '-')}={v}" for k, v in options.items()]
        code, out, err = graft("train", make(), *flags)
        assert code == 2, case
        assert out == ""
        (line,) = err.strip().splitlines()
        assert line.startswith("graft: ")
        assert len(line) <= len("graft: ") + 200
        assert not Path("runs").exists()
