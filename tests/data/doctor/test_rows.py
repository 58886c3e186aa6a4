"""How many rows may be left out."""

from __future__ import annotations

import numpy as np
import pytest

from graft.data.doctor.labels import label_faults
from graft.data.doctor.rows import too_many_skipped, usable
from graft.data.faults import Finding
from graft.data.readers import read
from graft.data.split import Splits
from tests.data.makers import text_table


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


def test_a_number_is_a_text_of_digits_and_an_object_is_none(tmp_path):
    path = tmp_path / "d.jsonl"
    path.write_text('{"text": 1.5, "label": "a"}\n{"text": 2, "label": "b"}\n')
    table, findings = usable(read(path, input="text", label="label"))
    assert list(table.inputs()) == ["1.5", "2.0"]
    assert findings == ()
    path.write_text('{"text": {"a": 1}, "label": "a"}\n{"text": {"a": 2}, "label": "b"}\n')
    _, findings = usable(read(path, input="text", label="label"))
    assert {f.code for f in findings} == {"not-a-text", "nothing-usable"}
    assert findings[0].row == 1


def test_what_shows_nothing_is_empty():  # B11, B12, B26
    table = text_table(["a", "\u200b", "\ufeff \u2060", "b"], ["x", "y", "x", "\u200b"])
    _, findings = usable(table)
    assert [(f.code, f.row) for f in findings if f.severity == "skip"] == [
        ("empty-text", 2), ("empty-text", 3), ("empty-label", 4)
    ]  # fmt: skip


def test_labels_that_differ_in_what_nobody_sees_are_shown_by_their_codes():  # B13
    labels = ["cat", "cat\u200b", "caf\u00e9", "cafe\u0301", "Dog", "dog"] * 2
    table = text_table([*"abcdefghijkl"], labels)
    rows = np.arange(12)
    found = label_faults(table, Splits(rows, rows[:0], rows[:0], ""), labels)
    told = [f.message for f in found if f.code == "label-variants"]
    assert any(r"coded (invisible characters, accents): 'cat', 'cat\u200b'" in t for t in told)
    assert any(r"'cafe\u0301', 'caf\xe9'" in t for t in told)
    assert any("only in case or spaces: 'Dog', 'dog'" in t for t in told)
