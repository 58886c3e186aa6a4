"""Pictures with captions: roles, lists of captions, faults, splits, items."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graft.data.captions import first_of_each, hint_of_captions, sides
from graft.data.check import check, too_many_skipped, usable
from graft.data.readers import read
from graft.data.split import split
from graft.errors import DataError
from tests.data.makers import picture

COLOURS = ("red", "green", "blue", "black", "white", "teal")


@pytest.fixture
def folder(tmp_path):
    for colour in COLOURS:
        picture(tmp_path / f"{colour}.png", color=colour)
    return tmp_path


def jsonl(folder, rows):
    path = folder / "captions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def csv(folder, text):
    path = folder / "captions.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_list_of_captions_is_as_many_rows_of_one_line(folder):
    rows = [{"image": "red.png", "captions": ["a red", "very red"]},
            {"image": "blue.png", "captions": ["a blue"]}]  # fmt: skip
    table = read(jsonl(folder, rows))
    assert table.roles.modality == "image-text"
    assert table.roles.inputs == ("image", "captions")
    assert [v[1] for v in table.inputs()] == ["a red", "very red", "a blue"]
    assert [table.origin(i).row for i in range(3)] == [1, 1, 2]


@pytest.mark.parametrize("header", ["image,caption", "file_name,text", "caption,path"])
def test_columns_are_found_by_name(folder, header):
    first = header.split(",")[0] != "caption"
    lines = [f"{c}.png,a {c} thing" if first else f"a {c} thing,{c}.png" for c in COLOURS]
    table = read(csv(folder, "\n".join([header, *lines]) + "\n"))
    assert table.roles.modality == "image-text"
    assert str(table.inputs()[0][0]).endswith("red.png")


def test_a_label_beside_them_makes_it_a_table_of_classes(folder):
    lines = [f"{c}.png,a {c} thing,{'ab'[i % 2]}" for i, c in enumerate(COLOURS)]
    path = csv(folder, "\n".join(["image,text,label", *lines]) + "\n")
    assert read(path).roles.modality == "image"
    assert read(path, input="text,image").roles.inputs == ("image", "text")


def test_captions_of_a_csv_may_be_a_list_in_json(folder):
    path = csv(folder, 'image,captions\nred.png,"[""a red"", ""very red""]"\nblue.png,plain\n')
    assert [v[1] for v in read(path).inputs()] == ["a red", "very red", "plain"]


def test_a_picture_without_a_caption_is_skipped_and_counted(folder):
    rows = [{"image": f"{c}.png", "captions": [f"a {c}"]} for c in COLOURS]
    rows[1]["captions"], rows[2]["captions"] = [], None
    table = read(jsonl(folder, rows))
    kept, findings = usable(table)
    assert len(kept) == 4
    assert [(f.code, f.severity, f.row) for f in findings] == [
        ("no-caption", "skip", 2), ("no-caption", "skip", 3),
    ]  # fmt: skip
    assert "2 of 6 rows" in too_many_skipped(findings, len(kept), 0.01)[0].message


def test_captions_that_are_all_missing_are_an_error(folder):
    rows = [{"image": f"{c}.png", "captions": []} for c in COLOURS]
    _, findings = usable(read(jsonl(folder, rows)))
    assert [f.code for f in findings if f.severity == "error"] == ["nothing-usable"]


def test_several_pictures_in_a_row_are_refused_with_their_numbers(folder):
    rows = [{"image": ["red.png", "blue.png"], "captions": ["a", "b", "c"]}]
    with pytest.raises(DataError, match="2 pictures and 3 captions in one row") as found:
        read(jsonl(folder, rows))
    assert "row 1" in str(found.value)


def test_a_missing_picture_takes_each_of_its_captions(folder):
    rows = [{"image": "red.png", "captions": ["a", "b"]},
            {"image": "gone.png", "captions": ["c", "d"]}]  # fmt: skip
    kept, findings = usable(read(jsonl(folder, rows)))
    assert len(kept) == 2
    assert [f.code for f in findings] == ["bad-image", "bad-image"]


def test_a_split_tears_no_picture_apart(folder):
    rows = [{"image": f"{c}.png", "captions": [f"{c} {i}" for i in range(5)]} for c in COLOURS]
    table, _ = usable(read(jsonl(folder, rows)))
    for seed in range(5):
        parts = split(table, seed=seed, validation=0.2, test=0.2)
        held = [{table.inputs()[i][0] for i in part.tolist()} for part in
                (parts.train, parts.validation, parts.test)]  # fmt: skip
        assert all(held)
        assert not (held[0] & held[1] or held[0] & held[2] or held[1] & held[2])


def test_a_picture_on_both_sides_of_a_given_split_is_a_leak(folder):
    lines = ["red.png,one,train", "red.png,two,test", "blue.png,three,train"]
    table = read(csv(folder, "\n".join(["image,caption,split", *lines]) + "\n"))
    found = check(table, split(table, validation=0.0)).findings
    assert [f.code for f in found if f.severity == "error"] == ["leak"]


def test_the_sides_hold_each_picture_and_caption_once(folder):
    lines = ["red.png,one", "red.png,two", "blue.png,one"]
    images, texts, pairs = sides(read(csv(folder, "\n".join(["image,caption", *lines]) + "\n")))
    assert (len(images), len(texts)) == (2, 2)
    assert texts.inputs() == ["one", "two"]
    assert pairs.members.tolist() == [[0, 2], [0, 3], [1, 2]]


def test_the_hash_follows_the_bytes_of_the_pictures_and_the_captions(folder):
    path = csv(folder, "image,caption\nred.png,one\nblue.png,two\n")
    first = read(path).content_hash()
    (folder / "moved.png").write_bytes((folder / "red.png").read_bytes())
    assert read(csv(folder, "image,caption\nmoved.png,one\nblue.png,two\n")).content_hash() == first
    assert read(csv(folder, "image,caption\nred.png,one\nblue.png,3\n")).content_hash() != first


@given(st.lists(st.integers(0, 5), max_size=30))
def test_first_of_each_takes_values_apart_and_puts_them_together(values):
    first, of_row = first_of_each(values)
    assert [values[i] for i in first[of_row]] == values if values else len(first) == 0
    assert len(set(first.tolist())) == len(set(values))
    assert (np.diff(first) > 0).all()


def swapped(folder, header="image,caption"):
    lines = [f"a {c} thing on a wall,{c}.png" for c in COLOURS]
    return csv(folder, "\n".join([header, *lines]) + "\n")


@pytest.mark.parametrize("header", ["image,caption", "filename,text", "path,Description"])
def test_swapped_names_are_an_error_that_says_so(folder, header):
    path = swapped(folder, header)
    one, other = header.split(",")
    with pytest.raises(DataError) as found:
        read(path)
    mend = f"`{other}` holds pictures and `{one}` texts, as if their names were swapped; correct"
    assert mend in str(found.value)
    assert f"--input {other},{one}" in str(found.value)
    assert read(path, input=f"{other},{one}").roles.inputs == (other, one)


@pytest.mark.parametrize("more", [{"input": "caption"}, {}])
def test_pictures_are_no_labels(folder, more):
    lines = [f"{c}.png,a {c} thing on a wall" for c in COLOURS]
    path = csv(folder, "\n".join(["image,caption", *lines]) + "\n")
    with pytest.raises(DataError, match="column `image`: holds names of pictures, and no cl") as e:
        read(path, label="image", **more)
    assert "pass --input image,caption without --label" in str(e.value)


def test_a_column_of_pictures_is_not_taken_for_labels(folder):
    lines = [f"{c}.png,a {c} thing number {i}" for c in COLOURS for i in range(4)]
    table = read(csv(folder, "\n".join(["image,caption", *lines]) + "\n"), input="caption")
    assert table.roles.label is None
    hint = "; for pictures with captions pass --input image,caption"
    assert hint_of_captions(table) == hint
    (finding,) = (f for f in check(table, split(table)).findings if f.code == "no-label")
    assert finding.message.endswith(hint)


def test_captions_as_labels_are_told_how_to_be_captions(folder):
    lines = [f"{c}.png,a {c} thing on a wall" for c in COLOURS]
    path = csv(folder, "\n".join(["photo,words", *lines]) + "\n")
    table = read(path, label="words")
    (finding,) = (f for f in check(table, split(table)).findings if f.severity == "error")
    assert finding.message.endswith("for pictures with captions pass --input photo,words")
    assert hint_of_captions(read(path, input="photo").take([])) == ""
