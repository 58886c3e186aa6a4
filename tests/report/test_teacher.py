"""A student beside its teacher, and what a network remembers: in words and in a curve."""

from __future__ import annotations

import dataclasses

import pytest

from graft.report.card import model_card
from graft.report.figures_scores import remembered
from graft.report.page import render
from graft.report.teacher import beside_teacher, how_taught, share_closed, teacher_rows
from graft.report.verdict import verdict
from graft.report.words import what_is_left
from tests.report.specimens import taught
from tests.report.test_card import RECORD

NAMES = ("a", "b", "c")


def scored(before, after, ahead, **more):
    record, _ = taught(NAMES)
    teacher = dataclasses.replace(record.teacher, scores={"test": {"accuracy": ahead}}, **more)
    scores = {"before": {"test": {"accuracy": before}}, "after": {"test": {"accuracy": after}}}
    return dataclasses.replace(record, teacher=teacher, **scores)


@pytest.mark.parametrize(
    ("before", "after", "ahead", "closed", "said"),
    [
        (0.5, 0.8, 0.9, 0.75, "the student has gone 75\u00a0% of the way there from before"),
        (0.5, 0.95, 0.9, 1.125, "which the student has reached"),
        (0.5, 0.4, 0.9, -0.25, "the student has come no nearer to it"),
        (0.8, 0.6, 0.7, None, "the student has come no nearer to it"),
    ],
)
def test_how_far_the_student_has_come(before, after, ahead, closed, said):
    record = scored(before, after, ahead)
    assert share_closed(record) == (None if closed is None else pytest.approx(closed))
    assert said in beside_teacher(record)
    assert any(said in sentence for sentence in verdict(record, None).sentences)


def test_a_teacher_without_a_head_is_called_so():
    assert "What its teacher's features answer" in beside_teacher(
        scored(0.5, 0.8, 0.9, has_head=False)
    )
    assert beside_teacher(RECORD) == "" and teacher_rows(RECORD) == ()
    assert share_closed(RECORD) is None


def test_how_it_taught():
    teacher = scored(0.5, 0.8, 0.9).teacher
    assert how_taught(teacher) == (
        "its answers count 50\u00a0% beside the labels, softened at temperature 4, and alone on 20 "
        "rows without labels"
    )
    plain = dataclasses.replace(teacher, learned="features", n_unlabelled=0, weight=1.0)
    assert how_taught(plain) == "its features count 100\u00a0% beside the labels"


def test_the_card_and_the_page_say_both():
    record, facts = taught(NAMES)
    card = model_card(record, modality="text")
    assert "Its teacher was a: its answers count" in card
    assert "90 rows of b by a probe" in card
    page = render(record, facts, name="run")
    assert "Beside the teacher" in page and "What is remembered" in page


def test_the_curve_of_what_is_remembered_begins_before_training():
    record, _ = taught(NAMES)
    figure = remembered(record)
    assert figure is not None
    assert [row[1:] for row in figure.rows] == [("0", "0.9000"), ("1", "0.8000"), ("2", "0.7000")]
    assert figure.says == "accuracy on 90 rows from 0.900 to 0.700 in 2 epochs"
    [low, high] = figure.spec["layer"][1]["encoding"]["y"]["scale"]["domain"]
    assert low < 0.7 and high >= 0.9
    assert figure.spec["layer"][0]["data"]["values"] == [{"value": 0.85}]
    assert remembered(RECORD) is None


def test_what_is_left_is_said_in_numbers():
    record, _ = taught(NAMES)
    assert what_is_left(record.remembered) == (
        "accuracy on 90 rows of b by a probe of the untouched network: 0.900 before training, "
        "0.700 after it; a new head on the trained features has 0.850"
    )
