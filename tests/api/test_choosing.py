"""`probe --at`: the whole path, from the question to a shorter model that opens by itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import graft
from graft.engine import depth
from graft.errors import GraftError, RecipeError
from graft.records import RunRecord
from graft.serial import from_json
from tests.tiny import write_checkpoint, write_table


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("place")
    write_checkpoint(folder / "bert", n_layers=3)
    write_table(folder / "things.csv", n_per_class=30)
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "cache"))


def train(place, **options):
    options = {"model": str(place / "bert"), "method": "probe", **options}
    return graft.train(place / "things.csv", **options)


@pytest.fixture
def lowest_wins(monkeypatch):
    monkeypatch.setattr(depth, "choose", lambda losses, per_fold: 0)


def test_any_ends_the_network_at_the_block_that_knows_most(place, tmp_path, lowest_wins):
    run = train(place, at="any", out=tmp_path / "a")
    record = run.record
    # the last block's vectors are the features themselves, and stand once
    assert [d.block for d in record.depths] == ["block 0", "block 1", "features"]
    assert [d.chosen for d in record.depths] == [True, False, False]
    assert record.chosen_on["block"] == "5-fold cross-validation on training rows"
    assert (run.folder / "depths.svg").read_text().startswith("<svg")
    card = (run.folder / "model" / "README.md").read_text()
    assert "## Which block knows most" in card
    assert "block 0 ← this model" in card
    assert from_json(RunRecord, (run.folder / "record.json").read_text()) == record
    again = graft.train(recipe=run.folder / "recipe.yaml", out=tmp_path / "b")
    given = train(place, at="0", out=tmp_path / "c")
    assert len({r.record.weights_sha256 for r in (run, again, given)}) == 1
    assert given.record.depths == ()


def test_the_shorter_model_opens_in_its_own_library(place, tmp_path):
    from sentence_transformers import SentenceTransformer

    run = train(place, at="1", out=tmp_path / "a")
    assert any("ends above block 1" in note for note in run.record.notes)
    opened = SentenceTransformer(str(run.folder / "model"), device="cpu", local_files_only=True)
    assert opened[0].auto_model.config.num_hidden_layers == 2
    texts = ["the cat is here", "blue", "two and three"]
    scores = torch.softmax(torch.from_numpy(opened.encode(texts)), -1).numpy()
    ours = [list(p.probabilities.values()) for p in run.predict(texts)]
    np.testing.assert_allclose(scores, ours, atol=1e-5)


@pytest.mark.slow
def test_a_network_that_cannot_end_lower_is_trained_at_its_end(place, tmp_path, lowest_wins):
    from graft.api import choosing
    from graft.errors import ModelError

    def refuse(backbone, n_blocks):
        raise ModelError("no")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choosing, "truncated", refuse)
        run = train(place, at="any", out=tmp_path / "a")
    assert [d.chosen for d in run.record.depths] == [False, False, True]
    assert any("block 0 knows most" in note for note in run.record.notes)
    plain = train(place, out=tmp_path / "b")
    assert plain.record.weights_sha256 == run.record.weights_sha256


def test_plan_shows_the_shorter_network(place):
    planned = graft.plan(place / "things.csv", model=str(place / "bert"), method="probe", at=0)
    assert planned.n_blocks == 1
    [phase] = planned.phases
    assert phase.seconds > 0
    assert planned.seconds > phase.seconds
    assert planned.memory_bytes == phase.memory_bytes > 0
    assert planned.store_bytes > 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "full", "at": "any"}, "method `probe` alone"),
        ({"at": "some"}, "the number of a block"),
        ({"at": True}, "a number or a word"),
        ({"at": 7}, "blocks 0 to 2"),
        ({"at": "any", "head": "mlp:4"}, "linear head"),
    ],
)
def test_faults_are_one_line(options, words, place, tmp_path):
    with pytest.raises(GraftError, match=words) as caught:
        train(place, out=tmp_path / "run", **options)
    assert "\n" not in str(caught.value)


def test_the_default_method_has_no_block_to_choose(place, tmp_path):
    with pytest.raises(RecipeError, match="--method probe"):
        graft.train(place / "things.csv", at="any", out=tmp_path / "run")


def test_auto_becomes_the_method_that_it_chose(place, tmp_path):
    import yaml

    data = place / "things.csv"
    out = tmp_path / "run"
    run = graft.train(data, model=str(place / "bert"), method="auto", epochs=1, out=out)
    chosen = run.record.method
    assert chosen in ("probe", "lp-ft", "full")
    assert any(note.startswith(f"auto chose {chosen}: ") for note in run.record.notes)
    assert run.record.chosen_on["method"] == "5-fold cross-validation on training rows"
    assert yaml.safe_load((out / "recipe.yaml").read_text())["method"] == chosen
    again = graft.train(recipe=out / "recipe.yaml", out=tmp_path / "again")
    assert again.record.weights_sha256 == run.record.weights_sha256
    resumed = graft.train(
        data, model=str(place / "bert"), method="auto", epochs=1, out=out, resume=True
    )
    assert resumed.record.weights_sha256 == run.record.weights_sha256
    planned = graft.plan(data, model=str(place / "bert"), method="auto", epochs=1)
    assert planned.method == chosen
    assert any(note.startswith("auto chose") for note in planned.notes)


def test_auto_looks_at_training_rows_alone(place, tmp_path):
    """Other labels in the test rows change nothing of what is chosen, and why."""
    import csv

    rows = list(csv.DictReader((place / "things.csv").read_text().splitlines()))
    found = []
    for turn in (0, 1):
        path = tmp_path / f"data{turn}.csv"
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["text", "label", "split"])
            for i, row in enumerate(rows):
                part = ("train", "train", "train", "validation", "test")[i % 5]
                label = row["label"]
                if turn and part == "test":
                    label = rows[(i + 7) % len(rows)]["label"]
                writer.writerow([row["text"], label, part])
        found.append(
            graft.plan(
                path, model=str(place / "bert"), method="auto", split_column="split",
                allow_leak=True,
            ).notes
        )  # fmt: skip
    assert found[0] == found[1]
