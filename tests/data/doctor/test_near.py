"""Rows that are nearly a training row, and what a tokenizer loses."""

from __future__ import annotations

import numpy as np

from graft.data.doctor.near import near_faults, near_rows
from graft.data.doctor.repeats import leaks, repeated_rows
from graft.data.doctor.texts import decomposed_texts, normalised
from graft.data.doctor.tokens import TokenCounts, token_faults
from graft.data.split import same_inputs
from tests.data.makers import text_table


def test_normalised_texts_keep_what_carries_meaning():
    assert normalised(" \uff28ello,\u00a0WORLD\u200b!! ") == "hello world"
    assert normalised("?!") == "?!"
    assert normalised("\U0001f600") != normalised("\U0001f620")
    assert normalised("\u0928\u093f") != normalised("\u0928\u0940")  # vowel signs


def test_rows_near_a_training_row():  # B23
    texts = [
        "where is my red parcel today",
        "other words entirely",
        "Where is my RED parcel today?",
        "where is my red parcel todays",
        "other words entirely",
        "something else",
    ]
    table = text_table(texts, [*"ababab"])
    parts = np.array([0, 0, 2, 2, 1, 2])
    exact = same_inputs(table)
    cheap = near_rows(table, exact, parts)
    assert {i: near.row for i, near in cheap.items()} == {2: 0, 4: 1}
    deep = near_rows(table, exact, parts, is_deep=True)
    assert {i: near.row for i, near in deep.items()} == {2: 0, 3: 0, 4: 1}
    assert near_rows(table, exact, np.zeros(6)) == {}
    # row 5 is equal to a training row, which is told as a leak
    assert [f.row for f in near_faults(table, deep, exact, parts)] == [3, 4]


def test_a_test_row_may_not_be_nearly_a_validation_row_either():
    texts = ["the first text here", "a second one", "A second one!", "A second one"]
    table = text_table(texts, [*"abab"])
    parts = np.array([0, 1, 2, 2])
    exact = same_inputs(table)
    near = near_rows(table, exact, parts)
    assert {i: found.row for i, found in near.items()} == {2: 1, 3: 1}
    told = near_faults(table, near, exact, parts)
    assert told[0].message.startswith("a test text that is nearly the validation text of row 2 (")
    # what training holds already is told of training, not twice
    both = near_rows(table, exact, np.array([1, 0, 2, 1]))
    assert {i: found.row for i, found in both.items()} == {2: 1, 3: 1}


def test_equal_rows_of_validation_and_test_leak():
    table = text_table(["one", "two", "two", "one", "three"], [*"abbab"])
    parts = np.array([0, 1, 2, 2, -1])
    found = leaks(table, repeated_rows(same_inputs(table)), parts, allow_leak=False)
    assert [(f.row, f.severity) for f in found] == [(4, "error"), (3, "error")]
    assert "1 held-out row is also in train" in found[0].message
    assert "1 held-out row is also in validation" in found[1].message


def test_texts_that_are_not_composed_are_counted():  # B26
    table = text_table(["caf\u00e9", "cafe\u0301", "\U0001f468\u200d\U0001f469", "a\u0308"])
    (found,) = decomposed_texts(table)
    assert (found.severity, found.row) == ("warn", 2)
    assert found.message.startswith("2 texts are not")
    assert decomposed_texts(text_table(["caf\u00e9", "\u202eleft\u202c"])) == []


def test_tokens_that_are_cut_off_or_unknown():  # B25, B27
    table = text_table([f"t {i}" for i in range(4)], ["a", "b", "a", "b"])
    rows = np.arange(4)
    counts = TokenCounts(rows, np.array([10, 10, 90, 10]), np.array([10, 10, 50, 10]),
                         np.array([1, 9, 0, 0]))  # fmt: skip
    cut, unknown = token_faults(table, counts)
    assert (cut.severity, str(cut)) == (
        "repair",
        (
            "d.csv row 3 column `text`: 1 of 4 texts is longer than the model reads (50 tokens); "
            "33.3% of all tokens are cut off"
        ),
    )
    assert (unknown.severity, str(unknown)) == (
        "warn",
        (
            "d.csv row 2 column `text`: 45% of the tokens of class 'b' are unknown to the model, "
            "as in this text; choose a --model of this language or script"
        ),
    )
    assert token_faults(table, None) == []


def test_what_is_not_compared_is_said(monkeypatch):
    from graft.data.doctor import near

    table = text_table(["a b c d", "e f g h", "i j k l"], ["x", "y", "x"])
    parts = np.array([0, 0, 1])
    assert near.not_compared(table, parts) == []
    monkeypatch.setattr(near, "MOST_CHARACTERS_COMPARED", 20)
    assert near.not_compared(table, parts) != []
    monkeypatch.setattr(near, "MOST_CHARACTERS_COMPARED", 21)
    assert near.not_compared(table, parts) == []
    monkeypatch.setattr(near, "MOST_ROWS_COMPARED", 2)
    [finding] = near.not_compared(table, parts)
    assert (finding.code, finding.severity) == ("not-compared", "warn")
    assert (
        "similar texts were not looked for: 3 rows of 21 characters" in str(finding)
        and len(str(finding)) <= 200
    )
    assert near.not_compared(table, np.zeros(3)) == []
