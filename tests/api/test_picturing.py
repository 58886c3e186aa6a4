"""What the report is told of a training: counts, confusion, mistakes, small pictures."""

from __future__ import annotations

import base64
import csv
import io

import numpy as np
import pytest
from PIL import Image

from graft.api.picturing import MOST_MISTAKES, collect
from graft.api.showing import Judged, small_picture
from graft.data.readers import read
from graft.data.split import Splits
from graft.tasks.classify import Classify
from graft.tasks.multilabel import Multilabel
from graft.tasks.regress import Regress

RANDOM = np.random.default_rng(0)
ROWS = np.arange(20, 40)
SPLITS = Splits(np.arange(15), np.arange(15, 20), ROWS, "by hand", True)


def table(tmp_path, labels, **roles):
    path = tmp_path / "things.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        lines = [(f"text {i} <b>", label) for i, label in enumerate(labels)]
        csv.writer(file).writerows([("text", "label"), *lines])
    return read(path, **roles)


def judged(targets, outputs, **more):
    features = RANDOM.normal(size=(len(ROWS), 5))
    return Judged(ROWS, targets, outputs, np.arange(len(ROWS)), features, **more)


def test_classes(tmp_path):
    names = ("a", "b", "c")
    labels = [names[i % 3] for i in range(40)]
    outputs = RANDOM.dirichlet(np.ones(3), size=20)
    truth = np.array([names.index(labels[row]) for row in ROWS])
    facts = collect(Classify(names), table(tmp_path, labels), SPLITS, judged(truth, outputs))
    assert sum(c.train for c in facts.counts) == 15
    assert sum(c.test for c in facts.counts) == 20
    for cell in facts.confused:
        hits = (truth == cell.truth) & (outputs.argmax(1) == cell.predicted)
        assert cell.n_rows == hits.sum() > 0
    assert sum(cell.n_rows for cell in facts.confused) == 20
    assert sum(b.n_rows for b in facts.calibration) == 20
    sure = [m.confidence for m in facts.mistakes]
    assert sure == sorted(sure, reverse=True)
    assert len(sure) == min(MOST_MISTAKES, int((outputs.argmax(1) != truth).sum()))
    first = facts.mistakes[0]
    row = int(first.place.rpartition(" ")[2]) - 1
    assert first.truth == labels[row] != first.predicted
    assert first.text == f"text {row} <b>"
    assert facts.map.wrong == tuple((outputs.argmax(1) != truth).tolist())
    assert facts.map.before is None and facts.map.after.regions


def test_labels(tmp_path):
    names = ("a", "b")
    labels = ["a;b" if i % 2 else "a" if i % 3 else "[]" for i in range(40)]
    truth = np.array([[float(n in labels[row].split(";")) for n in names] for row in ROWS])
    outputs = np.where(truth > 0, 0.9, 0.2)
    outputs[2] = [0.05, 0.2]  # misses a, and is very sure of it
    found = table(tmp_path, labels, target_kind="multi")
    facts = collect(Multilabel(names), found, SPLITS, judged(truth, outputs))
    [mistake] = [m for m in facts.mistakes if m.decision == "-a"]
    assert mistake.confidence == pytest.approx(0.95)
    assert facts.mistakes[0] == mistake
    assert sum(b.n_rows for b in facts.calibration) == 40  # single decisions
    assert facts.map.after.regions == ()


def test_numbers(tmp_path):
    labels = [f"{x:.3f}" for x in RANDOM.normal(size=40)]
    truth = np.array([float(labels[row]) for row in ROWS])
    outputs = truth.copy()
    outputs[7] += 5
    found = table(tmp_path, labels, target_kind="number")
    facts = collect(Regress(("label",)), found, SPLITS, judged(truth, outputs))
    assert facts.mistakes[0].confidence == pytest.approx(5)
    assert facts.mistakes[0].place == f"things.csv row {ROWS[7] + 1}"
    assert facts.truths == tuple(truth.tolist())
    assert sum(c.train + c.validation + c.test for c in facts.counts) == 40
    assert facts.map.values == tuple(truth.tolist())


def test_without_held_out_rows_only_the_counts_are_known(tmp_path):
    labels = ["a", "b"] * 20
    facts = collect(Classify(("a", "b")), table(tmp_path, labels), SPLITS, None)
    assert facts.counts and facts.map is None and not facts.confused


def test_small_picture_is_small_and_a_jpeg(tmp_path):
    path = tmp_path / "large.png"
    Image.fromarray(RANDOM.integers(0, 255, (600, 900, 3), np.uint8)).save(path)
    head, _, data = small_picture(str(path)).partition(",")
    assert head == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        assert image.size == (128, 85)
    assert small_picture(str(tmp_path / "absent.png")) == ""


def test_rows_whose_features_are_not_finite_are_no_points_of_the_map(tmp_path):
    values = [f"{i / 7:.3f}" for i in range(40)]
    truth = np.array([float(values[row]) for row in ROWS])
    found = judged(truth, truth)
    found.after[3, 1] = np.nan
    things = table(tmp_path, values, target_kind="number")
    facts = collect(Regress(("label",)), things, SPLITS, found)
    assert len(facts.map.values) == len(facts.map.after.x) == len(ROWS) - 1
    assert truth[3] not in facts.map.values
    found.after[3:] = np.inf
    assert len(collect(Regress(("label",)), things, SPLITS, found).map.values) == 3
    found.after[2] = np.inf
    assert collect(Regress(("label",)), things, SPLITS, found).map is None
