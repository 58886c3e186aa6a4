"""A run's report: written at the end of training, made anew from the folder alone."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys

import pytest

import graft
from graft import api
from graft.api.training import Run
from graft.cli import main
from graft.metrics import METRICS
from graft.records import FindingRecord
from graft.report.facts import Facts
from graft.serial import from_json, to_json
from graft.tasks import METRICS_OF, TASKS, find_task
from tests.report.specimens import KINDS
from tests.tiny import write_checkpoint, write_table

WITHOUT_TORCH = """
import sys
sys.path.insert(0, "src")
from graft.cli import main
try:
    main(["report", sys.argv[1]])
except SystemExit as end:
    assert not end.code, end.code
assert "torch" not in sys.modules and "pyarrow" not in sys.modules
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAFT_CACHE", str(folder / "cache"))
        table = write_table(folder / "things.csv", n_per_class=30)
        model = write_checkpoint(folder / "bert")
        return graft.train(table, model=model, out=folder / "run", epochs=2, lr=1e-3)


@pytest.fixture
def alone(finished, tmp_path):
    """The folder of the run somewhere else, without model and predictions."""
    folder = tmp_path / finished.folder.name
    ignored = shutil.ignore_patterns("model", "predictions.csv", "report.html")
    return shutil.copytree(finished.folder, folder, ignore=ignored)


@pytest.mark.slow
def test_training_leaves_a_page_and_what_it_was_made_of(finished):
    facts = from_json(Facts, (finished.folder / "report.json").read_text())
    record = finished.record
    assert sum(c.n_rows for c in facts.confused) == record.n_test
    n_right = sum(c.n_rows for c in facts.confused if c.truth == c.predicted)
    assert n_right / record.n_test == pytest.approx(record.after["test"]["accuracy"])
    assert facts.map.before is not None and facts.map.after.x != facts.map.before.x
    assert [c.name for c in facts.counts] == list(record.classes)
    assert record.untouched is not None and record.untouched.n_computed == record.n_train
    assert record.untouched.seconds > 0 and record.predict_seconds > 0
    page = (finished.folder / "report.html").read_text()
    assert f"{100 * record.after['test']['accuracy']:.1f}" in page


@pytest.mark.slow
def test_page_is_made_anew_without_data_model_or_torch(finished, alone, repository):
    command = [sys.executable, "-c", WITHOUT_TORCH, str(alone)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=repository)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(alone / "report.html")
    assert (alone / "report.html").read_bytes() == (finished.folder / "report.html").read_bytes()


@pytest.mark.slow
def test_verb_takes_another_place_and_leaves_rows_out(alone, tmp_path, capsys):
    out = tmp_path / "page.html"
    with pytest.raises(SystemExit) as end:
        main(["report", str(alone), "--no-examples", "--out", str(out)])
    assert not end.value.code
    assert capsys.readouterr().out.strip() == str(out)
    assert "<blockquote>" not in out.read_text()
    assert not (alone / "report.html").exists()


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["no folder", "another version", "damaged facts", "no place"])
def test_what_is_wrong_is_said_in_a_line(alone, fault, capsys):
    arguments, code = ["report", str(alone)], 2
    if fault == "no folder":
        shutil.rmtree(alone)
    elif fault == "another version":
        record = json.loads((alone / "record.json").read_text())
        (alone / "record.json").write_text(json.dumps({**record, "strange": 1}))
    elif fault == "damaged facts":
        (alone / "report.json").write_text((alone / "report.json").read_text()[:100])
    else:
        arguments, code = [*arguments, "--out", str(alone / "absent" / "page.html")], 74
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == code
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"graft: {alone}")
    assert len(line) <= 200 + len(str(alone))


@pytest.fixture
def written(tmp_path):
    """The folder of a run that predicts numbers, as far as its page needs it."""
    record, facts = KINDS["regress"]()
    (tmp_path / "record.json").write_text(to_json(record))
    (tmp_path / "report.json").write_text(to_json(facts))
    return tmp_path


def test_verb_is_a_function_too(written):
    path = api.report(str(written))
    assert path == written / "report.html"
    page = path.read_text()
    assert METRICS["regression"]["mae"][1] in page
    other = api.report(written, out=str(written / "b.html"), examples=False)
    assert "<blockquote>" in page and "<blockquote>" not in other.read_text()


def test_metrics_of_a_task_are_those_its_class_names():
    assert {name: find_task(name).metrics for name in TASKS} == METRICS_OF


def test_train_prints_findings_and_notes_each_once(written, monkeypatch, capsys):
    record = KINDS["classify"]()[0]
    findings = (FindingRecord("empty-text", "skip", "the text is empty", "d.csv", 7, "text"),)
    record = dataclasses.replace(record, findings=findings, notes=("all is said",), depths=())
    monkeypatch.setattr(api, "train", lambda *_, **__: Run(written, record), raising=False)
    with pytest.raises(SystemExit) as end:
        main(["train", "d.csv"])
    assert not end.value.code
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note: ")]
    assert lines == ["note: d.csv row 7 column `text`: the text is empty", "note: all is said"]
