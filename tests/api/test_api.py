"""The verbs as functions, on a tiny checkpoint."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

import graft
from graft.errors import GraftError, InputError, ModelError
from graft.records import RunRecord
from graft.serial import from_json, to_json
from tests.tiny import write_checkpoint, write_table


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(write_checkpoint(tmp_path_factory.mktemp("bert")))


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return str(write_table(tmp_path_factory.mktemp("data") / "things.csv"))


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def finished(model, table, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAFT_CACHE", str(folder.parent / "cache"))
        return graft.train(table, model=model, method="lp-ft", out=folder, epochs=10, lr=1e-3)


def read_rows(path):
    with Path(path).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_run_has_metrics_and_a_record_that_reads_back(finished):
    assert finished.metrics["accuracy"] > 0.7
    record = finished.record
    assert [p.name for p in record.phases] == ["probe", "full"]
    assert record.phases[0].convex.converged
    assert record.before["test"].keys() == record.after["test"].keys()
    again = graft.load(finished.folder)
    assert to_json(again.record) == to_json(record)
    text = (finished.folder / "record.json").read_text()
    assert to_json(from_json(RunRecord, text)) == to_json(record)


def test_predictions_row_for_row(finished, table):
    texts = ["the cat is here", "blue", "two and three"]
    found = finished.predict(texts)
    assert [p.label for p in found] == [finished.predict([t])[0].label for t in texts]
    assert all(abs(sum(p.probabilities.values()) - 1) < 1e-5 for p in found)
    evaluated = graft.evaluate(finished.folder, table)
    assert evaluated.n_rows == 300
    assert evaluated.metrics["accuracy"] > 0.8


def test_predictions_file_names_rows_of_the_test_split(finished, table):
    rows = read_rows(finished.folder / "predictions.csv")
    source = read_rows(table)
    assert len(rows) == finished.record.n_test
    for row in rows:
        assert source[int(row["row"]) - 1]["label"] == row["label"]


def test_model_folder_opens_without_graft(finished):
    import sentence_transformers

    opened = sentence_transformers.SentenceTransformer(str(finished.folder / "model"))
    classes = json.loads((finished.folder / "model" / "graft.json").read_text())["classes"]
    texts = ["the cat is here", "blue", "two and three", "a very old horse"]
    theirs = [classes[i] for i in opened.encode(texts).argmax(1)]
    assert theirs == [p.label for p in finished.predict(texts)]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["probe", "head", "full", "unfreeze", "scratch"])
def test_every_method_trains(method, model, table, tmp_path):
    options = {} if method == "probe" else {"epochs": 1}
    run = graft.train(table, model=model, method=method, out=tmp_path / "run", **options)
    assert run.record.method == method
    assert (tmp_path / "run" / "model" / "model.safetensors").is_file()
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_plan_says_what_train_would_do(model, table):
    planned = graft.plan(table, model=model, method="unfreeze")
    assert [p.name for p in planned.phases] == ["head", "top 1", "top 2"]
    assert [p.cut for p in planned.phases] == [
        "above the backbone",
        "below block 1 of 2",
        "nothing is frozen",
    ]
    assert planned.transforms[0].startswith("texts, at most ")
    for phase in planned.phases:
        n = sum(g.n_parameters for g in phase.groups)
        assert n == sum(g.n_parameters for g in planned.phases[0].groups)


@pytest.mark.slow
def test_the_own_head_is_kept_where_the_classes_are_the_same(finished, table, tmp_path):
    again = graft.train(
        table, model=str(finished.folder), method="full", epochs=1, lr=1e-9, out=tmp_path / "again"
    )
    assert any("own head is kept" in note for note in again.record.notes)
    assert again.metrics["accuracy"] == finished.metrics["accuracy"]


@pytest.mark.slow
def test_same_recipe_same_bytes_cached_or_not(model, table, tmp_path):
    runs = [
        graft.train(table, model=model, method="unfreeze", out=tmp_path / name, cache=cache)
        for name, cache in (("a", "auto"), ("b", "auto"), ("c", "off"))
    ]
    assert len({r.record.weights_sha256 for r in runs}) == 1
    assert runs[0].record.phases[1].cache.n_computed > 0
    assert runs[1].record.phases[1].cache.n_computed == 0, "the second run reads the same store"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"method": "prob"}, ["prob", "probe"]),
        ({"head": "lineer"}, ["lineer", "linear"]),
        ({"model": "./nowhere"}, ["nowhere", "no such folder"]),
        ({"method": "probe", "lr": 1e-3, "decay": 0.5}, ["probe", "--decay"]),
        ({"epochs": 0}, ["epochs"]),
        ({"label": "Label"}, ["label"]),
    ],
)
def test_faults_are_one_line_with_a_mend(change, words, model, table, tmp_path):
    options = {"model": model, "out": tmp_path / "run", **change}
    with pytest.raises(GraftError) as caught:
        graft.train(table, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) <= 200 + len(str(tmp_path))
    assert all(word in message for word in words), message


@pytest.mark.slow
def test_an_older_run_is_never_overwritten_unless_told(model, table, tmp_path):
    folder = tmp_path / "run"
    graft.train(table, model=model, method="probe", out=folder)
    with pytest.raises(InputError, match="--overwrite"):
        graft.train(table, model=model, method="probe", out=folder)
    graft.train(table, model=model, method="probe", out=folder, overwrite=True)
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"notes\.txt"):
        graft.train(table, model=model, method="probe", out=folder, overwrite=True)


def test_load_refuses_what_is_no_run(tmp_path):
    with pytest.raises(ModelError, match=r"record\.json"):
        graft.load(tmp_path)


def test_public_names_are_the_documented_ones():
    from importlib import import_module

    assert sorted(graft.__all__) == graft.__all__
    for name in graft.__all__:
        home = import_module(graft._HOMES[name])
        assert getattr(graft, name) is getattr(home, name)


def test_reference_documents_exactly_the_public_names(repository):
    page = (repository / "docs" / "reference.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^### `graft\.(\w+)`$", page, flags=re.MULTILINE)) == graft.__all__
