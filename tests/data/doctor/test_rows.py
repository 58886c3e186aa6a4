"""How many rows may be left out."""

from __future__ import annotations

import pytest

from graft.data.doctor.near import near_rows
from graft.data.doctor.rows import too_many_skipped, usable
from graft.data.doctor.texts import normalised
from graft.data.doctor.tokens import TokenCounts, token_faults
from graft.data.faults import Finding
from graft.data.split import same_inputs
from tests.data.makers import text_table

import numpy as np


def skips(n: int, code: str = "empty-text") -> list[Finding]:
    return [Finding(code, "skip", "m", "d.csv", i + 1) for i in range(n)]


@pytest.mark.parametrize(
    ("n", "n_usable", "max_skip", "stops"),
    [(1, 99, 0.01, False), (2, 98, 0.01, True), (2, 98, 0.02, False), (1, 9, 0.0, True),
     (0, 9, 0.0, False), (5, 5, 1.0, False)],
)  # fmt: skip
def test_more_than_the_share_stops(n, n_usable, max_skip, stops):
    assert bool(too_many_skipped(skips(n), n_usable, max_skip)) == stops


def test_the_error_names_kinds_and_the_mend():
    (found,) = too_many_skipped([*skips(3), *skips(1, "empty-label")], 96, 0.01)
    assert str(found) == (
        "d.csv row 1: 4 of 100 rows cannot be used (3 empty-text, 1 empty-label), more than 1 %; "
        "mend them or pass --max-skip 0.04"
    )
    assert too_many_skipped(skips(4), 96, 0.04) == ()


def test_files_that_are_no_examples_do_not_count():
    assert too_many_skipped(skips(9, "not-an-image"), 10, 0.01) == ()


def test_an_error_is_not_said_twice():
    table = text_table(["", ""], ["a", "b"])
    kept, found = usable(table)
    assert too_many_skipped(found, len(kept), 0.01) == ()


def test_normalised_texts_keep_what_carries_meaning():
    assert normalised(" \uff28ello,\u00a0WORLD\u200b!! ") == "hello world"
    assert normalised("?!") == "?!"
    assert normalised("\U0001f600") != normalised("\U0001f620")
    assert normalised("\u0928\u093f") != normalised("\u0928\u0940")  # vowel signs


def test_rows_near_a_training_row():  # B23
    texts = ["where is my red parcel today", "other words entirely", "Where is my RED parcel today?",
             "where is my red parcel todays", "other words entirely", "something else"]  # fmt: skip
    table = text_table(texts, [*"ababab"])
    parts = np.array([0, 0, 2, 2, 1, 2])
    exact = same_inputs(table)
    cheap = near_rows(table, exact, parts)
    assert {i: near.row for i, near in cheap.items()} == {2: 0, 4: 1}
    deep = near_rows(table, exact, parts, is_deep=True)
    assert {i: near.row for i, near in deep.items()} == {2: 0, 3: 0, 4: 1}
    assert near_rows(table, exact, np.zeros(6)) == {}


def test_tokens_that_are_cut_off_or_unknown():  # B25, B27
    table = text_table([f"t {i}" for i in range(4)], ["a", "b", "a", "b"])
    rows = np.arange(4)
    counts = TokenCounts(rows, np.array([10, 10, 90, 10]), np.array([10, 10, 50, 10]),
                         np.array([1, 9, 0, 0]))  # fmt: skip
    assert [(f.severity, str(f)) for f in token_faults(table, counts)] == [
        (
            "repair",
            "d.csv row 3 column `text`: 1 of 4 texts is longer than the model reads (50 tokens); "
            "33.3% of all tokens are cut off",
        ),
        (
            "warn",
            "d.csv row 2 column `text`: 45% of the tokens of class 'b' are unknown to the model, "
            "as in this text; choose a --model of this language or script",
        ),
    ]
    assert token_faults(table, None) == []
