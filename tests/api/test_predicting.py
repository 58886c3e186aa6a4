"""Predicting for what a user names: rows, modalities, broken inputs, networks of one's own."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import graft
from graft.api.evaluating import evaluate
from graft.api.predicting import looks_like_a_path, predict, predict_data
from graft.artifact import save_artifact
from graft.backbones import open_backbone
from graft.backbones.own import Arrays
from graft.errors import DataError, InputError, SkippedTooMany
from graft.tasks.classify import Classify
from tests.tiny import write_checkpoint

CLASSES = ("animal", "colour")


def save(folder, backbone, classes=CLASSES):
    task = Classify(classes)
    torch.manual_seed(0)
    model, _ = task.build(backbone)
    save_artifact(folder, model, task)
    return folder


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    return save(folder / "model", open_backbone(str(write_checkpoint(folder / "bert"))))


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    return save(folder / "model", open_backbone("timm:test_resnet", random=True))


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pics"
    for kind, shade in (("animal", 40), ("colour", 200)):
        (folder / kind).mkdir(parents=True)
        for number in range(3):
            picture = Image.fromarray(np.full((40, 40, 3), shade + number, np.uint8))
            picture.save(folder / kind / f"{number}.png")
    return folder


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "things.csv"
    rows = [("the cat", "animal"), ("is blue", "colour"), ("my dog", "")]
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    return path


def one_line(error):
    assert "\n" not in str(error.value)
    assert len(str(error.value)) <= 200
    return str(error.value)


@pytest.mark.parametrize("verb", [predict_data, evaluate])
def test_the_modality_of_the_data_must_be_the_models(verb, texts, images, pictures, table):
    with pytest.raises(InputError, match=r"holds image.* takes text") as error:
        verb(texts, str(pictures))
    one_line(error)
    with pytest.raises(InputError, match=r"holds text.* takes image") as error:
        verb(images, str(table))
    one_line(error)


def test_a_picture_is_no_text(texts, pictures):
    with pytest.raises(InputError, match=r"holds image"):
        predict_data(texts, str(pictures / "animal" / "0.png"))


def test_one_text_is_a_list_of_one(texts):
    assert predict(texts, "the cat") == predict(texts, ["the cat"])


def test_an_empty_text_has_no_answer_and_keeps_its_place(texts):
    (expected,) = predict(texts, ["the cat"])
    assert predict(texts, ["", "the cat", " \u200b"]) == [None, expected, None]
    assert predict(texts, "") == [None]
    assert predict(texts, []) == []


@pytest.mark.parametrize(
    ("value", "shown"), [(None, "None"), (3, "of type int"), (["a"], "of type list")]
)
def test_what_is_no_text_is_refused_with_its_place(texts, value, shown):
    with pytest.raises(InputError) as error:
        predict(texts, ["the cat", value])
    assert one_line(error) == f"values[1] is {shown}; give a text, or leave it out"


def test_what_is_no_picture_is_refused_with_its_place(images, pictures):
    place = pictures / "animal" / "0.png"
    assert predict(images, place) == predict(images, [str(place)])
    with pytest.raises(InputError, match=r"values\[1\] is None; give the path of a picture"):
        predict(images, [place, None])


def test_rows_of_a_table_keep_their_place_whatever_their_labels(texts, table):
    found = predict_data(texts, str(table))
    assert [o.row for o in found.origins] == [1, 2, 3]
    assert {o.path for o in found.origins} == {str(table)}
    expected = predict(texts, ["the cat", "is blue", "my dog"])
    assert [p.label for p in found.rows] == [p.label for p in expected]
    assert not found.findings


@pytest.mark.parametrize("nothing", ["", "  "])
def test_nothing_is_not_the_folder_that_one_is_in(texts, nothing, pictures, monkeypatch):
    monkeypatch.chdir(pictures)
    with pytest.raises(InputError, match="nothing is asked"):
        predict_data(texts, nothing)


def test_one_word_is_a_text(texts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = predict_data(texts, "refund")
    assert len(found.rows) == 1
    assert not found.from_files
    for path in ("refund.csv", "pics/refund", "cat.png"):
        with pytest.raises(DataError, match="no such file"):
            predict_data(texts, path)
    assert len(predict_data(texts, "is it 1/2 " * 200).rows) == 1  # longer than a path may be


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("refund", False),
        ("and/or this", False),
        ("3.5", False),
        ("a.csv", True),
        ("my table.parquet", True),
        ("pics/", True),
        ("cat.JPG", True),
        ("hub:imdb", True),
    ],
)
def test_what_looks_like_a_path(text, expected):
    assert looks_like_a_path(text) == expected


def test_a_single_picture(images, pictures, monkeypatch):
    monkeypatch.chdir(pictures / "animal")
    found = predict_data(images, "0.png")
    assert [(o.path, o.row) for o in found.origins] == [("0.png", None)]
    assert found.rows[0] == predict(images, [pictures / "animal" / "0.png"])[0]


def test_a_broken_picture_leaves_its_row_empty(images, pictures):
    (pictures / "animal" / "1.png").write_bytes(b"no picture")
    found = predict_data(images, str(pictures))
    names = [o.path.rsplit("/", 2)[-2:] for o in found.origins]
    assert [name for name, row in zip(names, found.rows, strict=True) if row is None] == [
        ["animal", "1.png"]
    ]
    assert len(found.rows) == 6
    assert any("1.png" in str(finding) for finding in found.findings)
    others = [p for p in sorted(pictures.rglob("*.png")) if p.parts[-2:] != ("animal", "1.png")]
    expected = dict(zip(map(str, others), predict(images, others), strict=True))
    for origin, row in zip(found.origins, found.rows, strict=True):
        if row is not None:
            assert row.probabilities == pytest.approx(expected[origin.path].probabilities)
    with pytest.raises(SkippedTooMany, match=r"1 of 6 rows"):
        found.refuse_if_many_skipped()


def test_one_row_in_a_hundred_may_be_skipped(texts):
    found = predict_data(texts, ["a cat"] * 99 + [" "])
    assert found.rows.count(None) == 1
    found.refuse_if_many_skipped()


def test_no_lines_are_no_rows(texts):
    assert predict_data(texts, []).rows == ()
    with pytest.raises(InputError, match="none of the 2 rows"):
        predict_data(texts, ["", " "])


class Net(nn.Module):
    """Two blocks over the pixels' mean."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(3, 8)
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(2))

    def forward(self, x):
        x = self.stem(x.mean((1, 2)))
        for layer in self.layers:
            x = torch.relu(layer(x)) + x
        return x


def declared(seed):
    torch.manual_seed(seed)
    return graft.backbone(
        Net(), width=8, blocks="layers.*", modality="image", processor=Arrays(scale=1 / 255)
    )


def test_a_network_of_ones_own_is_passed_in(pictures, tmp_path):
    folder = save(tmp_path / "model", declared(0))
    with pytest.raises(InputError, match="backbone="):
        predict(folder, [])
    found = predict_data(folder, str(pictures), backbone=declared(1))
    paths = [o.path for o in found.origins]
    assert list(found.rows) == predict(folder, paths, backbone=declared(2))
    evaluated = evaluate(folder, pictures, backbone=declared(3))
    assert evaluated.n_rows == 6
    truth = [path.split("/")[-2] for path in paths]
    expected = np.mean([p.label == t for p, t in zip(found.rows, truth, strict=True)])
    assert evaluated.metrics["accuracy"] == pytest.approx(expected)
