"""What a user asked to be changed is changed, said, and nothing else."""

from __future__ import annotations

import pytest

from graft.data.doctor.mends import mended
from graft.data.readers import read
from graft.errors import DataError
from tests.data.makers import text_table


def applied(table, **asked):
    return mended(
        table, **{"fold_labels": False, "drop_conflicts": False, "min_per_class": None, **asked}
    )


def test_nothing_asked_is_nothing_done():
    table = text_table(["a", "a"], ["x", "X "])
    assert applied(table) == (table, ())


def test_labels_are_folded_to_the_usual_spelling():  # B13
    labels = ["Cat", "cat ", "dog", "Cat", "caf\u00e9", "cafe\u0301", "CAF\u00c9"]
    table, (found,) = applied(text_table([*"abcdefg"], labels), fold_labels=True)
    assert table.labels() == ["Cat", "Cat", "dog", "Cat", *["CAF\u00c9"] * 3]
    assert (found.severity, found.column) == ("repair", "label")
    assert found.message.startswith("3 labels were written as the usual spelling (")


def test_lists_of_labels_are_folded():
    table = text_table(["a", "b", "c"], [["x", "X"], ["x"], []], target="multi")
    assert applied(table, fold_labels=True)[0].label_lists() == [("x",), ("x",), ()]


def test_conflicts_are_dropped_whole():  # B21
    table, (found,) = applied(
        text_table(["a", "b", "a", "c", "c"], ["x", "x", "y", "x", "x"]), drop_conflicts=True
    )
    assert table.inputs() == ["b", "c", "c"]
    assert [table.origin(i).row for i in range(3)] == [2, 4, 5]
    assert found.message == "2 rows of 1 input with different labels were dropped"


def test_small_classes_are_dropped():  # B17
    table, (found,) = applied(text_table([*"abcde"], ["x", "y", "x", "z", "y"]), min_per_class=2)
    assert table.labels() == ["x", "y", "x", "y"]
    assert found.message == "1 class with under 2 rows left out (z)"


def test_mends_come_in_an_order_that_helps():
    table, _ = applied(text_table([*"abc"], ["x", "X", "y"]), fold_labels=True, min_per_class=2)
    assert table.labels() == ["X", "X"]


@pytest.mark.parametrize(
    ("labels", "target", "asked", "line"),
    [
        (
            [1.5, 2.5], "number", {"fold_labels": True},
            ("d.csv column `label`: holds numbers, for which --fold-labels has no meaning; "
            "leave it out"),
        ),
        (
            [["a"], []], "multi", {"min_per_class": 2},
            ("d.csv column `label`: holds several labels a row, for which --min-per-class has no "
            "meaning; leave it out"),
        ),
        (
            ["a", "b"], "single", {"min_per_class": 5},
            "d.csv: nothing is left after the mends that were asked for; ask for fewer",
        ),
    ],
)  # fmt: skip
def test_golden_errors(labels, target, asked, line):
    with pytest.raises(DataError) as caught:
        applied(text_table(["p", "q"], labels, target=target), **asked)
    assert str(caught.value) == line


def test_without_a_label_column_there_is_nothing_to_mend(tmp_path):
    path = tmp_path / "d.csv"
    path.write_text("text\na\na\nb\n")
    found, findings = mended(read(path), fold_labels=True, drop_conflicts=True, min_per_class=2)
    assert (len(found), findings) == (3, ())
