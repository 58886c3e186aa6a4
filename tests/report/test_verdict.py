"""The verdict says no more than the intervals do."""

from __future__ import annotations

import dataclasses

import pytest

from graft.records import Interval
from graft.report.facts import Confused
from graft.report.verdict import verdict
from tests.report.specimens import classify, embed, multilabel, regress, scored
from tests.report.test_card import RECORD


def with_change(low, value, high):
    moved = {**RECORD.intervals, "change": {"accuracy": Interval(value, low, high)}}
    return dataclasses.replace(RECORD, intervals=moved)


@pytest.mark.parametrize(
    ("low", "value", "high", "expected"),
    [
        (0.011, 0.052, 0.09, "That is 5.2 points better (1.1 to 9.0) than the untouched backbone"),
        (-0.09, -0.052, -0.011, "That is 5.2 points worse (1.1 to 9.0) than the untouched"),
        (-0.01, 0.02, 0.05, "not clearly better than the untouched backbone with class means: "),
        (0.0, 0.02, 0.05, "not clearly better"),
    ],
)
def test_change(low, value, high, expected):
    assert expected in verdict(with_change(low, value, high), None).sentences[0]


def test_unclear_change_gives_its_ends_with_real_signs():
    [change, *_] = verdict(with_change(-0.01, 0.02, 0.05), None).sentences
    assert change.endswith("the change lies between \u22121.0 and +5.0 points.")


def test_headline_has_rows_and_interval():
    found = verdict(RECORD, None)
    assert found.headline == (
        "The trained model is right on 90.0\u00a0% of 30 test rows (85.0 to 95.0)."
    )


def test_validation_rows_are_called_what_they_are():
    record = dataclasses.replace(RECORD, after={"validation": {"accuracy": 0.9}}, n_validation=1)
    found = verdict(record, None)
    assert "of 1 validation row (" in found.headline
    assert any("There are no test rows" in s for s in found.sentences)


def confused(*cells):
    record, facts = classify(("a", "b", "c"))
    return record, dataclasses.replace(facts, confused=tuple(Confused(*c) for c in cells))


def test_a_pair_that_makes_a_large_share_of_mistakes_is_named():
    record, facts = confused((0, 0, 9), (0, 1, 4), (1, 0, 2), (2, 0, 3), (1, 1, 9))
    [*_, limit] = verdict(record, facts).sentences
    assert limit == "What limits it most is telling “a” from “b”: 6 of its 9 mistakes."


def test_else_the_class_that_loses_most_rows():
    record, facts = confused((0, 1, 1), (1, 2, 1), (2, 0, 2), (2, 2, 6))
    worst = dataclasses.replace(record.per_class[2], recall=0.2)
    record = dataclasses.replace(record, per_class=(*record.per_class[:2], worst))
    [*_, limit] = verdict(record, facts).sentences
    assert limit == "What limits it most is the class “c”, of which it misses 8 of 10 rows."


def test_no_mistake_is_no_boast():
    record, facts = confused((0, 0, 9), (1, 1, 9))
    assert "a harder test would say more" in verdict(record, facts).sentences[-1]


def test_labels_and_numbers_have_words_of_their_own():
    assert "has a micro f1 of 0.700 on 30 test rows" in verdict(*multilabel()).headline
    found = verdict(*regress())
    assert "explains 70.0\u00a0% of the variance" in found.headline
    assert "are within 0.2, nine of ten within" in found.sentences[1]


def test_embeddings_have_words_of_their_own():
    record, facts = embed()
    found = verdict(record, facts)
    assert "has a mean reciprocal rank of 0.700 on 30 test rows (0.600" in found.headline
    assert "belongs to the query in 70.0\u00a0% of the searches" in found.sentences[1]
    assert verdict(*scored()).headline.startswith("The cosines of the trained model follow")
    triplets = dataclasses.replace(
        record,
        headline="triplet_accuracy",
        intervals={k: {"triplet_accuracy": i["mrr"]} for k, i in record.intervals.items()},
    )
    assert "nearer than the negative in 70.0\u00a0% of 30 test rows (60.0 to 80.0)" in (
        verdict(triplets, None).headline
    )


def test_an_embedding_without_a_mistake_is_no_boast():
    record, facts = embed()
    right = tuple(dataclasses.replace(c, nearest=(0.5, 1.0)) for c in facts.embedding.classes)
    facts = dataclasses.replace(
        facts, embedding=dataclasses.replace(facts.embedding, classes=right)
    )
    assert "a harder test would say more" in verdict(record, facts).sentences[-1]
