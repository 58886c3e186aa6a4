"""One class, several, or a number: what is guessed, what is said, and what wins."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from graft.data.doctor.label_typos import distance, likely_typos
from graft.data.readers import read
from graft.data.targets import as_list, as_number, bins_of, target_kind
from graft.errors import DataError


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("multi", ["a;b", "a", "b;c", "a;c", "c"] * 3),
        ("multi", ["a|b", "a", "b | c", "a|c", "", "c"] * 3),
        ("multi", ["red, blue", "red", "blue", "green, red", "green"] * 3),
        ("multi", ['["a", "b"]', "[]", '["a"]']),
        ("multi", [["a"], [], None, ["a", "b"]]),
        ("single", ["Paris, France", "Lyon, France", "Rome, Italy"] * 5),
        ("single", ["a;b", "c"] * 5),
        ("single", ["yes", "no", "no, but see below and the long note of the nurse"] * 4),
        ("single", ["0", "1", "2"] * 9),
        ("single", ["0.0", "1.0", "2.0"] * 9),
        ("single", ["0.5", "1.5"] * 9),
        ("number", [str(i) for i in range(50)]),
        ("number", [i * i % 97 for i in range(90)]),
        ("single", list(range(100)) * 2),
        ("single", [*range(8), "", None]),
        ("single", ["", None]),
        ("number", [str(i / 3) for i in range(50)]),
        ("number", [i / 3 for i in range(50)] + [math.nan]),
        ("number", [0.1, 0.7, 0.9]),
        ("single", [*map(str, np.linspace(0, 1, 50)), "high"]),
    ],
)
def test_kinds_by_content(kind: str, values: list):
    assert target_kind(values) == kind


def table(labels: list[str], name: str = "d.csv", **asked):
    body = "".join(f'the text {i},"{label}"\n' for i, label in enumerate(labels))
    Path(name).write_text("text,label\n" + body)
    return read(name, **asked)


def test_several_labels_in_a_cell():
    found = table(["a;b", "a", "b; c;;b", "a;c", "[]", "", "c"] * 2)
    assert found.target_kind == "multi"
    assert found.because == "text: `text` (by name), label: `label` (by name, several per row)"
    assert found.label_lists()[:7] == [("a", "b"), ("a",), ("b", "c"), ("a", "c"), (), None, ("c",)]
    assert found.labels()[2:6] == ["b;c", "a;c", "[]", ""]
    # The delimiter was settled on the whole, so a part of the rows reads the same.
    assert found.take([0, 1]).label_lists() == [("a", "b"), ("a",)]
    assert found.take([1, 4]).label_lists() == [("a",), ()]


def test_the_kind_can_be_said():
    cells = ["a;b", "c"] * 3
    assert table(cells).label_lists()[0] == ("a;b",)
    assert table(cells, target_kind="multi").label_lists()[0] == ("a", "b")
    assert table(["a;b", "a", "b"] * 3, target_kind="single").labels()[0] == "a;b"
    whole = table(["3", "4", "5"] * 3, target_kind="number")
    assert whole.because.endswith("label: `label` (by name, numbers)")
    assert whole.numbers().tolist() == [3.0, 4.0, 5.0] * 3


def test_numbers():
    found = table(["0.25", "1e3", " -2 ", "high", "", "inf", "1_0", "0.5"], target_kind="number")
    np.testing.assert_array_equal(
        found.numbers(), [0.25, 1000, -2, np.nan, np.nan, np.nan, np.nan, 0.5]
    )
    assert found.numbers().dtype == np.float64


def test_whether_whole_numbers_repeat_is_asked_of_the_whole_table():
    ids = np.random.default_rng(0).permutation(np.repeat(np.arange(4_000), 3))
    assert len(set(ids[:2_000])) > 1_000
    assert table([*map(str, ids)]).target_kind == "single"
    assert table([*map(str, ids[:2_000])]).target_kind == "number"


COLUMNS = (
    "text,toxic,rude,mild\nthe one,1,0,0\nthe two,0,0,0\nthe three,True,false,1\nthe four,,0,1\n"
)


def test_several_columns_of_zero_and_one():
    Path("d.csv").write_text(COLUMNS)
    found = read("d.csv", label="toxic, rude,mild")
    assert found.target_kind == "multi"
    assert found.label_lists() == [("toxic",), (), ("toxic", "mild"), None]
    assert found.because == (
        "text: `text` (by name), label: `toxic, rude,mild` (as asked, several per row)"
    )
    Path("d.csv").write_text(COLUMNS.replace("two,0", "two,2"))
    with pytest.raises(DataError) as caught:
        read("d.csv", label="toxic,rude,mild")
    assert str(caught.value) == (
        "d.csv row 2 column `toxic`: '2' is neither 0 nor 1; mend it or pass one --label"
    )
    with pytest.raises(DataError) as caught:
        read("d.csv", label="toxic,rde")
    assert str(caught.value) == (
        "d.csv: no column `rde`; did you mean `rude`? pass --label with one of: "
        "text, toxic, rude, mild"
    )
    Path("d.csv").write_text('text,"a,b"\nthe one,x\nthe two,y\n')
    assert read("d.csv", label="a,b").labels() == ["x", "y"]


def test_lists_of_captions_are_no_labels():
    import json

    objects = [{"text": f"the text {i}", "notes": [f"one {i}", f"two {i}"]} for i in range(9)]
    Path("d.jsonl").write_text("".join(json.dumps(o) + "\n" for o in objects))
    assert read("d.jsonl").labels() is None
    assert read("d.jsonl", label="notes").label_lists()[1] == ("one 1", "two 1")


def test_cells():
    assert as_list('["a", "a", null, 3]') == ("a", "3")
    assert as_list("[not json", ";") == ("[not json",)
    assert as_list("nan", ";") is None
    assert as_number(True) != as_number(True)
    assert as_number("0x1") != as_number("0x1")


def test_bins_hold_as_many_each():
    numbers = np.random.default_rng(0).normal(size=1000)
    numbers[:10] = np.nan
    counts = np.bincount(bins_of(numbers) + 1)
    assert counts[0] == 10
    assert len(counts) == 11
    assert np.ptp(counts[1:]) <= 1
    assert set(bins_of(np.ones(50)).tolist()) <= {0, 1}
    assert bins_of(np.arange(15.0)).tolist() == [0] * 15


def test_distances():
    def slow(a: str, b: str) -> int:
        if not a or not b:
            return len(a) + len(b)
        best = min(slow(a[1:], b) + 1, slow(a, b[1:]) + 1, slow(a[1:], b[1:]) + (a[0] != b[0]))
        if a[:2] == b[1::-1] and len(a) > 1 and len(b) > 1:
            best = min(best, slow(a[2:], b[2:]) + 1)
        return best

    random = np.random.default_rng(0)
    for _ in range(60):
        a, b = ("".join(random.choice(list("abc"), random.integers(0, 6))) for _ in range(2))
        for most in (0, 1, 2, 9):
            assert distance(a, b, most) == min(slow(a, b), most + 1)


def test_typos():
    counts = {"cat": 50, "cats": 1, "ca t": 2, "dog": 50, "do": 1, "class 1": 40, "class 12": 1,
              "elephant": 60, "elefant": 2, "Dog": 1, "rare": 1}  # fmt: skip
    assert likely_typos(counts) == [("ca t", "cat"), ("cats", "cat"), ("elefant", "elephant")]
    many = {f"label{chr(97 + i % 26)}{chr(97 + i // 26)}": 1 for i in range(300)}
    assert likely_typos({**many, "labelaa": 90}) == []
