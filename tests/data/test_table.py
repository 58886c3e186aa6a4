"""The Table: rows that keep their origin, and a hash of what they hold."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from graft.data.faults import data_error, listed
from graft.data.readers import read
from graft.data.table import is_empty_label

from .makers import picture, text_table


def test_rows_keep_their_origin_when_taken():
    table = text_table(["a", "b", "c"], ["x", "y", "x"])
    taken = table.take([2, 0]).take([1, 0, 0])
    assert taken.inputs() == ["a", "c", "c"]
    assert taken.labels() == ["x", "x", "x"]
    assert [taken.origin(i).row for i in range(3)] == [1, 3, 3]
    assert len(table.take([])) == 0


def test_labels_are_texts_and_never_nan():
    labels = ["1", "nan", None, " ", "None", "none", "<NA>"]
    assert text_table(["t"] * 7, labels).labels() == ["1", "", "", "", "", "none", ""]
    assert text_table(["t"] * 3, [1.5, float("nan"), None]).labels() == ["1.5", "", ""]
    assert text_table(["t"] * 2, [0, 1]).labels() == ["0", "1"]
    assert text_table(["t"]).labels() is None
    assert is_empty_label(float("nan"))


def test_hash_is_of_inputs_and_labels_alone():
    table = text_table(["a", "b"], ["x", "y"])
    same = text_table(["a", "b"], ["x", "y"], group=["1", "2"])
    assert table.content_hash() == same.content_hash()
    others = [
        text_table(["b", "a"], ["x", "y"]),
        text_table(["a", "b"], ["y", "x"]),
        text_table(["ab", ""], ["x", "y"]),
        text_table(["a", None], ["x", "y"]),
        text_table(["a", "b", "x", "y"]),
        text_table(["a", "b"]),
    ]
    hashes = {t.content_hash() for t in others}
    assert len(hashes | {table.content_hash()}) == 7


def test_hash_of_images_is_of_their_bytes_wherever_they_lie(tmp_path: Path):
    for label in "ab":
        picture(tmp_path / "one" / label / "x.png", color="red" if label == "a" else "blue")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    one, two = read(tmp_path / "one"), read(tmp_path / "two")
    assert one.content_hash() == two.content_hash()
    assert one.inputs() != two.inputs()
    picture(tmp_path / "two" / "b" / "x.png", color="green")
    assert one.content_hash() != two.content_hash()


def test_image_inputs_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for label in "ab":
        picture(tmp_path / "data" / label / "x.png")
    monkeypatch.chdir(tmp_path)
    table = read("data")
    assert table.inputs() == [str(tmp_path / "data" / label / "x.png") for label in "ab"]
    assert table.origin(1).path == "data/b/x.png"
    assert table.origin(1).row is None


@pytest.mark.parametrize("n", [1, 20, 150, 400])
def test_any_error_fits_in_one_line(n: int):
    for message in ("m; drop it", "many words " * 30 + "; drop it"):
        for column in (None, "a\ncolumn " * n):
            error = data_error(message, path="p/" * n, row=1_000_000, column=column)
            assert len(str(error)) <= 200
            assert "\n" not in str(error)
            assert str(error).endswith("drop it")
            assert error.path == "p/" * n
    assert data_error("a: b", path="c: " * n, row=3).message == "a: b"


def test_lists_are_cut():
    assert listed(["a", "b"]) == "a, b"
    assert listed(map(str, range(9))) == "0, 1, 2, 3, 4, … (9 in all)"
