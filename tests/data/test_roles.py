"""Roles by name, by content, as asked, and the question where two columns would do."""

from __future__ import annotations

import pytest

from graft.data.roles import Asked, find_roles
from graft.errors import DataError

TEXTS = [f"this is sentence number {i}" for i in range(12)]
MORE = [f"and another long one, the {i}th" for i in range(12)]
KINDS = ["good", "bad"] * 6
PLACES = ["york", "leeds", "hull"] * 4
IDS = [str(1000 + i) for i in range(12)]


def roles(columns: dict, **asked: str) -> tuple:
    found = find_roles(columns, Asked(**asked), path="d.csv")
    return (*found.roles.inputs, found.roles.label), found.because


@pytest.mark.parametrize(
    ("text", "label"),
    [("text", "label"), ("Review", "Sentiment"), ("utterance", "intent"), ("Message", "y"),
     ("question", "category"), ("sentence", "Target"), ("text", "Class")],
)  # fmt: skip
def test_by_name(text: str, label: str):
    found, because = roles({"id": IDS, label: KINDS, text: TEXTS})
    assert found == (text, label)
    assert because == f"text: `{text}` (by name), label: `{label}` (by name)"


def test_the_usual_name_wins():
    assert roles({"text": TEXTS, "review": MORE, "label": KINDS, "category": PLACES})[0] == (
        "text",
        "label",
    )


def test_by_content():
    found, because = roles({"id": IDS, "what they wrote": TEXTS, "mood": KINDS})
    assert found == ("what they wrote", "mood")
    assert because == "text: `what they wrote` (by content), label: `mood` (by content)"


def test_the_only_column_left():
    names = ["Anna", "Ben", "Carla", "Dora"]
    found, because = roles({"name": names, "label": ["x", "y"] * 2})
    assert found == ("name", "label")
    assert because == "text: `name` (the only one left), label: `label` (by name)"


def test_unlabelled_data_has_no_label():
    found, because = roles({"text": TEXTS, "id": IDS})
    assert found == ("text", None)
    assert because == "text: `text` (by name), label: none found"


def test_asked_wins():
    columns = {"text": TEXTS, "other": MORE, "label": KINDS, "town": PLACES}
    found, because = roles(columns, input="other", label="town", group="label")
    assert found == ("other", "town")
    assert (
        because == "text: `other` (as asked), label: `town` (as asked), group: `label` (as asked)"
    )


def test_split_columns_are_seen_by_name_and_content():
    parts = ["train", "Dev", "TEST"] * 4
    found = find_roles({"text": TEXTS, "label": KINDS, "split": parts}, Asked(), path="d.csv")
    assert found.roles.split == "split"
    found = find_roles({"text": TEXTS, "label": KINDS, "split": PLACES}, Asked(), path="d.csv")
    assert found.roles.split is None


def test_columns_of_image_files():
    found = find_roles(
        {"path": [f"a/{i}.JPG" for i in range(12)], "label": KINDS}, Asked(), path="d"
    )
    assert found.roles.modality == "image"
    assert found.because == "image: `path` (by name), label: `label` (by name)"


GOLDEN = {
    "two texts": (
        {"sentence1": TEXTS, "sentence2": MORE, "score": KINDS},
        {},
        (
            "d.csv: cannot tell which column is the input: sentence1, sentence2; "
            "pass --input and --label"
        ),
    ),
    "two labels": (
        {"text": TEXTS, "mood": KINDS, "town": PLACES},
        {},
        "d.csv: cannot tell which column is the label: mood, town; pass --label (and --input)",
    ),
    "two labels by name": (
        {"text": TEXTS, "intent": KINDS, "category": PLACES},
        {},
        (
            "d.csv: cannot tell which column is the label: intent, category; "
            "pass --label (and --input)"
        ),
    ),
    "only numbers": (
        {"a": IDS, "b": IDS},
        {},
        "d.csv: cannot tell which column is the input: a, b; pass --input and --label",
    ),
    "no header": (
        {"this is the first": TEXTS, "good": KINDS},
        {},
        (
            "d.csv: the first line looks like data ('good' is a value too); "
            "add a line with the names of the columns"
        ),
    ),
    "typo": (
        {"text": TEXTS, "label": KINDS},
        {"input": "txet"},
        "d.csv: no column `txet`; did you mean `text`? pass --input with one of: text, label",
    ),
    "nothing near": (
        {"text": TEXTS, "label": KINDS},
        {"group": "patient"},
        "d.csv: no column `patient`; pass --group with one of: text, label",
    ),
}


@pytest.mark.parametrize("case", GOLDEN)
def test_golden_messages(case: str):
    columns, asked, message = GOLDEN[case]
    with pytest.raises(DataError) as caught:
        roles(columns, **asked)
    assert str(caught.value) == message


def test_many_columns_fit_in_one_line():
    columns = {f"a column with a very long name {i}": TEXTS for i in range(50)}
    with pytest.raises(DataError) as caught:
        find_roles(columns, Asked(label="x" * 300), path="p/" * 200 + "d.csv")
    assert len(str(caught.value)) <= 200
    assert "pass --label" in str(caught.value)


def test_a_split_column_with_a_slip_is_a_split_column():
    columns = {"text": ["a b", "c d", "e f"], "label": ["x", "y", "x"]}
    found = find_roles({**columns, "split": ["train", "train", "tset"]}, Asked(), path="t.csv")
    assert found.roles.split == "split"
    found = find_roles({**columns, "split": ["0", "1", "2"]}, Asked(), path="t.csv")
    assert found.roles.split is None
