"""Several labels a row and numbers, all the way: trained, saved, opened by the source library."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch

import graft
from graft.errors import InputError
from tests.tiny import FILLERS, WORDS, write_checkpoint

N_ROWS = 400


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("place")
    write_checkpoint(folder / "bert")
    random = np.random.default_rng(0)
    several, numbers = [], []
    for _ in range(N_ROWS):
        text = [str(w) for w in random.choice(FILLERS, 3)]
        kinds = [k for k in WORDS if random.random() < 0.4]
        text += [str(random.choice(WORDS[k])) for k in kinds]
        random.shuffle(text)
        several.append((" ".join(text), ";".join(kinds) or "[]"))
        number = 1000 + 10 * len(kinds) + float(random.normal())
        numbers.append((" ".join(text), f"{number:.3f}"))
    for name, rows, column in (("several", several, "label"), ("numbers", numbers, "price")):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("text", column), *rows])
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "cache"))


def several(place, out, **options):
    data = place / "several.csv"
    return graft.train(data, model=str(place / "bert"), target_kind="multi", out=out, **options)


def numbers(place, out, **options):
    data = place / "numbers.csv"
    return graft.train(data, model=str(place / "bert"), label="price", out=out, **options)


def test_several_labels_are_learned_exactly_and_open_in_sentence_transformers(place, tmp_path):
    import sentence_transformers

    run = several(place, tmp_path / "run", method="probe")
    record = run.record
    assert (record.task, record.headline) == ("multilabel", "micro_f1")
    assert record.phases[0].convex.converged
    assert run.metrics["micro_f1"] > record.before["test"]["micro_f1"]
    assert {c.name for c in record.per_class} == set(WORDS)
    texts = ["the cat is red", "one two very", "look here"]
    found = run.predict(texts)
    for answer in found:
        assert answer.labels == tuple(k for k, p in answer.probabilities.items() if p >= 0.5)
    opened = sentence_transformers.SentenceTransformer(str(run.folder / "model"))
    theirs = torch.sigmoid(torch.tensor(opened.encode(texts)))
    ours = [[p.probabilities[c] for c in record.classes] for p in found]
    torch.testing.assert_close(theirs, torch.tensor(ours), rtol=1e-4, atol=1e-5)
    evaluated = graft.evaluate(run.folder, place / "several.csv")
    assert evaluated.n_rows == N_ROWS
    assert evaluated.intervals["micro_f1"].low < evaluated.metrics["micro_f1"]


def test_numbers_are_learned_exactly_and_open_in_sentence_transformers(place, tmp_path):
    import sentence_transformers

    run = numbers(place, tmp_path / "run", method="probe")
    record = run.record
    assert (record.task, record.headline) == ("regress", "r2")
    assert run.metrics["r2"] > max(record.before["test"]["r2"], 0.3)
    assert run.metrics["mae"] < 5  # in the unit of the data
    texts = ["the cat is red", "one two very", "look here"]
    ours = [p.value for p in run.predict(texts)]
    opened = sentence_transformers.SentenceTransformer(str(run.folder / "model"))
    assert opened.encode(texts)[:, 0] == pytest.approx(ours, rel=1e-5)
    with (run.folder / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["file", "row", "split", "label", "predicted"]
    errors = [abs(float(r["label"]) - float(r["predicted"])) for r in rows]
    assert np.mean(errors) == pytest.approx(run.metrics["mae"], rel=1e-3)
    assert graft.evaluate(run.folder, place / "numbers.csv").metrics["r2"] > 0.3


@pytest.mark.slow
@pytest.mark.parametrize("train", [several, numbers])
@pytest.mark.parametrize("method", ["lp-ft", "head", "full", "unfreeze"])
def test_every_kind_trains_by_every_method(method, train, place, tmp_path):
    run = train(place, tmp_path / "run", method=method, epochs=2, lr=1e-3)
    assert np.isfinite(run.metrics[run.record.headline])


@pytest.mark.slow
@pytest.mark.parametrize("train", [several, numbers])
def test_a_classification_class_of_transformers_is_written_with_its_problem(train, place, tmp_path):
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        BertConfig,
        BertForSequenceClassification,
    )

    torch.manual_seed(0)
    config = BertConfig.from_pretrained(place / "bert", num_labels=3)
    folder = tmp_path / "native"
    BertForSequenceClassification(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(place / "bert").save_pretrained(folder)
    local = tmp_path / "place"
    local.mkdir()
    for name in ("several.csv", "numbers.csv"):
        (local / name).write_bytes((place / name).read_bytes())
    folder.rename(local / "bert")
    run = train(local, tmp_path / "run", method="probe")
    assert run.record.opens_with == "AutoModelForSequenceClassification"
    saved = json.loads((run.folder / "model" / "config.json").read_text())
    net = AutoModelForSequenceClassification.from_pretrained(run.folder / "model").eval()
    tokens = AutoTokenizer.from_pretrained(run.folder / "model")(
        "the cat is red", return_tensors="pt"
    )
    with torch.no_grad():
        logits = net(**tokens).logits[0]
    (ours,) = run.predict(["the cat is red"])
    if train is numbers:
        assert saved["problem_type"] == "regression"
        assert float(logits) == pytest.approx(ours.value, rel=1e-5)
    else:
        assert saved["problem_type"] == "multi_label_classification"
        expected = torch.tensor([ours.probabilities[c] for c in run.record.classes])
        torch.testing.assert_close(torch.sigmoid(logits), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_run_goes_on_from_its_own_head_of_numbers(place, tmp_path):
    first = numbers(place, tmp_path / "first", method="probe")
    again = graft.train(
        place / "numbers.csv", model=str(first.folder), label="price", method="full",
        epochs=1, lr=1e-9, head_lr=1e-9, out=tmp_path / "again",
    )  # fmt: skip
    assert any("own head is kept" in note for note in again.record.notes)
    assert again.metrics["mae"] == pytest.approx(first.metrics["mae"], rel=1e-3)


@pytest.mark.parametrize(
    ("train", "options"),
    [
        (several, {"class_weights": "balanced"}),
        (numbers, {"class_weights": "balanced"}),
        (numbers, {"label_smoothing": 0.1}),
        (numbers, {"head": "cosine"}),
    ],
)
def test_options_of_single_classes_are_refused(train, options, place, tmp_path):
    with pytest.raises(InputError):
        train(place, tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()
