"""Evaluating a run on data that brings a split, and what a verdict holds."""

from __future__ import annotations

import csv

import pytest

import graft
from graft.errors import DataError, InputError, SkippedTooMany
from tests.tiny import write_checkpoint, write_table


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("place")
    write_checkpoint(folder / "bert")
    table = write_table(folder / "things.csv", n_per_class=40)
    rows = list(csv.DictReader(table.read_text().splitlines()))
    with (folder / "parts.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label", "part"])
        for i, row in enumerate(rows):
            writer.writerow([row["text"], row["label"], "test" if i % 4 == 0 else "train"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAFT_CACHE", str(folder / "cache"))
        graft.train(table, model=str(folder / "bert"), method="probe", out=folder / "run")
    return folder


def test_a_verdict_has_intervals_and_classes(place):
    found = graft.evaluate(place / "run", place / "things.csv")
    assert (found.n_rows, found.task, found.headline) == (120, "classify", "accuracy")
    accuracy = found.intervals["accuracy"]
    assert accuracy.low < accuracy.value < accuracy.high
    assert sum(c.support for c in found.per_class) == 120
    assert found.metrics["accuracy"] == pytest.approx(
        sum(c.recall * c.support for c in found.per_class) / 120
    )


def test_one_part_of_a_split_alone(place):
    found = graft.evaluate(place / "run", place / "parts.csv", split="part", only="test")
    assert found.n_rows == 30
    with pytest.raises(InputError, match="no row is marked as validation"):
        graft.evaluate(place / "run", place / "parts.csv", split="part", only="validation")


def test_a_label_that_the_model_does_not_know_names_its_row(place, tmp_path):
    path = tmp_path / "d.csv"
    path.write_text("text,label\nthe cat,animal\nblue,planet\nred,colour\none,number\n")
    with pytest.raises(DataError, match="row 2 column `label`: label 'planet'"):
        graft.evaluate(place / "run", path)


def test_many_rows_that_cannot_be_used_are_counted_and_refused_at_the_end(place, tmp_path):
    path = tmp_path / "d.csv"
    path.write_text('text,label\n"the cat",animal\nred,colour\none,number\n" ",number\n')
    found = graft.evaluate(place / "run", path)
    assert (found.n_rows, found.n_skipped) == (3, 1)
    with pytest.raises(SkippedTooMany, match="1 of 4 rows"):
        found.refuse_if_many_skipped()
    graft.evaluate(place / "run", place / "things.csv").refuse_if_many_skipped()
