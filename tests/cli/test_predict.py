"""`graft predict` as a user sees it: the columns, the notes, the exit codes."""

from __future__ import annotations

import csv
import io
import json
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from graft.artifact import save_artifact
from graft.backbones import open_backbone
from graft.cli import main
from graft.tasks.classify import Classify
from tests.tiny import write_checkpoint

CLASSES = ("=animal", "colour")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    sources = {
        "texts": open_backbone(str(write_checkpoint(folder / "bert"))),
        "images": open_backbone("timm:test_resnet", random=True),
    }
    for name, backbone in sources.items():
        task = Classify(CLASSES)
        torch.manual_seed(0)
        model, _ = task.build(backbone)
        save_artifact(folder / name / "model", model, task)
    return folder


@pytest.fixture
def graft(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        with pytest.raises(SystemExit) as stopped:
            main([str(a) for a in arguments])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return stopped.value.code or 0, out, err

    return call


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


def write_pictures(folder, n):
    folder.mkdir()
    for number in range(n):
        Image.fromarray(np.full((16, 16, 3), number, np.uint8)).save(folder / f"{number:03}.png")


def test_a_table_is_predicted_row_for_row(graft, models, tmp_path):
    (tmp_path / "=things.csv").write_text("text\nthe cat\nis blue\n", encoding="utf-8")
    code, out, _ = graft("predict", models / "texts", "=things.csv")
    assert code == 0
    rows = rows_of(out)
    assert list(rows[0]) == ["file", "row", "label", "'=animal", "colour"]
    assert [(r["file"], r["row"]) for r in rows] == [("'=things.csv", "1"), ("'=things.csv", "2")]
    assert {r["label"] for r in rows} <= {"'=animal", "colour"}
    code, out, _ = graft("predict", models / "texts", "=things.csv", "--json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert [(x["file"], x["row"]) for x in lines] == [("=things.csv", 1), ("=things.csv", 2)]
    assert lines[0]["probabilities"].keys() == set(CLASSES)


def test_texts_have_a_number_alone(graft, models, monkeypatch):
    code, out, _ = graft("predict", models / "texts", "refund")
    assert code == 0
    assert list(rows_of(out)[0]) == ["row", "label", "'=animal", "colour"]
    monkeypatch.setattr(sys, "stdin", io.StringIO("the cat\nblue\n"))
    code, out, _ = graft("predict", models / "texts", "-", "--json")
    assert [json.loads(x)["row"] for x in out.splitlines()] == [1, 2]
    assert "file" not in json.loads(out.splitlines()[0])


def test_one_broken_picture_of_many_is_noted(graft, models, tmp_path):
    write_pictures(tmp_path / "pics", 100)
    (tmp_path / "pics" / "007.png").write_bytes(b"no picture")
    code, out, err = graft("predict", models / "images", "pics")
    rows = rows_of(out)
    assert code == 0
    assert len(rows) == 100
    assert [r["file"] for r in rows if not r["label"]] == ["pics/007.png"]
    assert {r["row"] for r in rows} == {""}
    assert "pics/007.png" in err


def test_many_broken_pictures_end_with_3(graft, models, tmp_path):
    write_pictures(tmp_path / "pics", 20)
    (tmp_path / "pics" / "007.png").write_bytes(b"no picture")
    code, _, err = graft("predict", models / "images", "pics", "--out", "found.csv")
    assert code == 3
    assert "1 of 20 rows" in err
    assert len(rows_of((tmp_path / "found.csv").read_text(encoding="utf-8"))) == 20


def test_one_picture(graft, models, tmp_path):
    write_pictures(tmp_path / "pics", 1)
    code, out, _ = graft("predict", models / "images", "pics/000.png")
    assert code == 0
    assert [(r["file"], r["row"]) for r in rows_of(out)] == [("pics/000.png", "")]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("texts", "pics"), 2, "takes text"),
        (("images", "things.csv"), 2, "takes image"),
        (("texts", "nothing.csv"), 2, "no such file"),
        (("texts", "refund", "--out", "nowhere/x.csv"), 74, "--out"),
    ],
)
def test_faults_are_one_line(graft, models, tmp_path, arguments, code, words):
    write_pictures(tmp_path / "pics", 2)
    (tmp_path / "things.csv").write_text("text\nthe cat\n", encoding="utf-8")
    found, out, err = graft("predict", models / arguments[0], *arguments[1:])
    assert found == code
    assert not out
    assert words in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("verb", ["train", "plan"])
def test_data_or_a_recipe_must_be_given(graft, verb):
    code, _, err = graft(verb)
    assert code == 2
    assert "--recipe" in err
    assert err.count("\n") == 1
