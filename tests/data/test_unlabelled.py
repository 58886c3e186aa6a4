"""Examples beside a training table: its columns, its modality, and no label that anything reads."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from graft.data.readers import read
from graft.data.unlabelled import read_unlabelled
from graft.errors import DataError
from tests.data.makers import picture


@pytest.fixture
def tickets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("train.csv").write_text("message,kind\nhello there,a\nbye now,b\nhello you,a\nbye all,b\n")
    return read("train.csv")


def test_labels_are_kept_aside_and_change_nothing(tickets):
    Path("new.csv").write_text("kind,message\nb,where is it\n,how much\n")
    found = read_unlabelled("new.csv", tickets)
    assert found.table.inputs() == ["where is it", "how much"]
    assert found.table.roles.label is None
    assert found.table.labels() is None
    assert found.label == "kind"
    assert found.note == "new.csv: 2 rows read for their inputs alone; labels (`kind`) are not used"
    labelled = dataclasses.replace(found.table.roles, label="kind")
    assert dataclasses.replace(found.table, roles=labelled).labels() == ["b", ""]
    Path("other.csv").write_text("kind,message\na,where is it\na,how much\n")
    other = read_unlabelled("other.csv", tickets)
    assert other.table.content_hash() == found.table.content_hash()


def test_one_column_does_and_so_does_another_name(tickets):
    Path("new.csv").write_text("message\nwhere is it\n")
    found = read_unlabelled("new.csv", tickets)
    assert (found.label, found.note) == (None, "new.csv: 1 row read for their inputs alone")
    Path("other.csv").write_text("id,review\n1,where is it\n2,how much\n")
    assert read_unlabelled("other.csv", tickets).table.inputs() == ["where is it", "how much"]


def test_columns_that_may_be_labels_need_no_choice(tickets):
    rows = "".join(f"text number {i},{i % 2},{i % 3}\n" for i in range(12))
    Path("new.csv").write_text(f"message,class,target\n{rows}")
    assert read_unlabelled("new.csv", tickets).label is None


def test_a_split_and_a_group_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("train.csv").write_text("text,label,who\nhello there,a,x\nbye now,b,y\n")
    like = read("train.csv", group="who")
    Path("new.csv").write_text("text,who,split\nwhere is it,z,train\nhow much,z,test\n")
    roles = read_unlabelled("new.csv", like).table.roles
    assert (roles.group, roles.split) == ("who", "split")


def test_pictures_with_and_without_class_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for i in range(2):
        picture(Path(f"train/ants/{i}.png"), color=(i, 0, 0))
        picture(Path(f"train/bees/{i}.png"), color=(0, i, 0))
        picture(Path(f"flat/{i}.png"), color=(0, 0, i))
    like = read("train")
    flat = read_unlabelled("flat", like)
    assert (len(flat.table), flat.label, flat.table.roles.modality) == (2, None, "image")
    found = read_unlabelled("train", like)
    assert (len(found.table), found.label) == (4, "label")
    assert found.table.labels() is None


def test_rows_that_cannot_be_used_are_left_out_within_reason(tickets):
    rows = "".join(f"text number {i}\n" for i in range(200))
    Path("new.csv").write_text(f'message\n{rows}""\n')
    found = read_unlabelled("new.csv", tickets)
    assert len(found.table) == 200
    assert [f.code for f in found.findings] == ["empty-text"]
    Path("bad.csv").write_text('message\na text\n""\n')
    with pytest.raises(DataError, match="1 of 2 rows cannot be used"):
        read_unlabelled("bad.csv", tickets)


def test_what_does_not_fit_is_refused_in_one_line(tickets):
    picture(Path("photos/a.png"))
    Path("odd.csv").write_text("a,b\nx y z,u v w\nx y,u v\n")
    Path("none.csv").write_text("message,kind\n")
    for path, expected in (
        ("photos", " column `path`: holds image, and train.csv holds text; pass text data"),
        ("odd.csv", ": no column `message`, which is the input in train.csv; rename the one"),
        ("none.csv", ": only a header line; add rows"),
        ("gone.csv", ": no such file or folder"),
    ):
        with pytest.raises(DataError) as caught:
            read_unlabelled(path, tickets)
        assert str(caught.value).startswith(path + expected)
        assert len(str(caught.value).splitlines()) == 1
