"""What a training refuses, and that a refusal leaves everything as it was."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import yaml

import graft
from graft.errors import Diverged, GraftError, InputError, ModelError
from graft.methods.plan import Convex, Gradient, Phase, Plan, Rule
from graft.methods.select import everything, head
from graft.serial import to_json
from graft.tasks.classify import Classify
from tests.tiny import write_checkpoint, write_table


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("place")
    write_checkpoint(folder / "bert")
    write_table(folder / "things.csv", n_per_class=30)
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "cache"))


def train(place, **options):
    return graft.train(place / "things.csv", **{"model": str(place / "bert"), **options})


def files(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    "fault", [{"label": "lable"}, {"method": "prob"}, {"model": "./nowhere"}, {"method": "last:9"}]
)
def test_overwrite_keeps_the_old_run_until_the_new_one_is_known_to_be_possible(
    fault, place, tmp_path
):
    out = tmp_path / "run"
    train(place, method="probe", out=out)
    before = files(out)
    with pytest.raises(GraftError):
        train(place, out=out, overwrite=True, **fault)
    assert files(out) == before


def test_a_run_that_is_not_there_is_said_to_be_none(tmp_path):
    with pytest.raises(ModelError, match="no such folder"):
        graft.load(tmp_path / "zzz")


def test_a_refused_run_leaves_no_folder(place, tmp_path):
    with pytest.raises(GraftError):
        train(place, out=tmp_path / "run", method="prob")
    assert not (tmp_path / "run").exists()


def test_a_diverged_run_is_no_success(place, tmp_path):
    with pytest.raises(Diverged, match="lower the rate"):
        train(
            place, method="full", epochs=1, lr=1e20, head_lr=1e20, batch_size=64, out=tmp_path / "r"
        )
    assert not (tmp_path / "r" / "model").exists()


@pytest.mark.parametrize("share", [0.15, 0.0])
def test_a_model_that_predicts_no_numbers_is_not_written(place, tmp_path, monkeypatch, share):
    """Held-out rows show it, or training rows where none is held out."""
    predict = Classify.predict

    def spoilt(self, model, batch):
        return {name: values * math.nan for name, values in predict(self, model, batch).items()}

    monkeypatch.setattr(Classify, "predict", spoilt)
    shares = {"validation": share, "test": share}
    with pytest.raises(Diverged, match="values that are not finite"):
        train(place, method="head", epochs=1, out=tmp_path / "r", **shares)
    assert not (tmp_path / "r" / "model").exists()


def test_resuming_a_finished_run_with_other_settings_is_refused(place, tmp_path):
    out = tmp_path / "run"
    first = train(place, method="head", epochs=1, out=out)
    before = files(out)
    again = train(place, method="head", epochs=1, out=out, resume=True)
    assert to_json(again.record) == to_json(first.record)  # NaN is not equal to itself
    bare = graft.train(place / "things.csv", out=out, resume=True)
    assert to_json(bare.record) == to_json(first.record), (
        "what is not asked again is read from the run"
    )
    with pytest.raises(InputError, match=r"epochs was 1, is 2"):
        train(place, method="head", epochs=2, out=out, resume=True)
    with pytest.raises(InputError, match=r"method was head, is probe"):
        train(place, method="probe", out=out, resume=True)
    assert files(out) == before


def test_a_folder_that_holds_no_run_is_not_resumed_into(place, tmp_path):
    (tmp_path / "a.txt").write_text("mine")
    with pytest.raises(InputError, match=r"a\.txt"):
        train(place, out=tmp_path, resume=True)


def test_a_plan_of_ones_own(place, tmp_path):
    plan = Plan(
        (
            Phase("solve", (Rule(head(), 1.0), Rule(everything(), None)), Convex(l2=0.01)),
            Phase("tune", (Rule(everything(), 1e-3),), Gradient(epochs=1)),
        )
    )
    out = tmp_path / "run"
    run = train(place, method=plan, out=out)
    assert [p.name for p in run.record.phases] == ["solve", "tune"]
    assert run.record.phases[0].convex.l2 == 0.01
    recipe = yaml.safe_load((out / "recipe.yaml").read_text())
    assert recipe["method"] == "custom"
    assert "solve" in recipe["plan"]
    with pytest.raises(InputError, match="same Plan"):
        graft.train(recipe=out / "recipe.yaml", out=tmp_path / "again")
    planned = graft.plan(place / "things.csv", model=str(place / "bert"), method=plan)
    assert [p.name for p in planned.phases] == ["solve", "tune"]


def test_a_recipe_alone_repeats_the_run(place, tmp_path):
    first = train(place, method="head", epochs=1, out=tmp_path / "a")
    again = graft.train(recipe=tmp_path / "a" / "recipe.yaml", out=tmp_path / "b")
    assert again.record.weights_sha256 == first.record.weights_sha256
    with pytest.raises(InputError, match="no data"):
        graft.train(out=tmp_path / "c")


def test_label_smoothing_reaches_the_convex_head(place, tmp_path):
    plain = train(place, method="probe", out=tmp_path / "a")
    smooth = train(place, method="probe", label_smoothing=0.3, out=tmp_path / "b")
    assert plain.record.weights_sha256 != smooth.record.weights_sha256
    top = [
        max(max(p.probabilities.values()) for p in run.predict(["the cat", "blue", "two"]))
        for run in (plain, smooth)
    ]
    assert top[1] < top[0]


def test_patience_without_validation_rows_is_refused(place, tmp_path):
    with pytest.raises(InputError, match="validation"):
        train(place, method="head", patience=1, validation=0.0, out=tmp_path / "run")


def test_groups_that_hold_whole_classes_are_refused_with_a_mend(place, tmp_path):
    lines = (place / "things.csv").read_text().splitlines()
    path = tmp_path / "groups.csv"
    path.write_text(
        "\n".join([lines[0] + ",owner", *(f"{x},{x.split(',')[1]}" for x in lines[1:])])
    )
    from graft.engine.settings import Listener

    notes: list[str] = []
    with pytest.raises(InputError, match="pass --l2, or leave out --group"):
        graft.train(
            path, model=str(place / "bert"), group="owner", method="probe", out=tmp_path / "r",
            listener=Listener(on_note=notes.append),
        )  # fmt: skip
    assert "no row could be held out for test" in notes[0]


def test_what_the_reader_left_out_is_in_the_record(place, tmp_path):
    path = tmp_path / "bom.csv"
    path.write_bytes(b"\xef\xbb\xbf" + (place / "things.csv").read_bytes())
    run = graft.train(path, model=str(place / "bert"), method="probe", out=tmp_path / "run")
    assert any("byte" in finding.message.lower() for finding in run.record.findings)
    assert not any("byte" in note.lower() for note in run.record.notes)  # told once


def test_what_was_read_and_chosen_is_said(place, tmp_path):
    from graft.engine.settings import Listener

    notes: list[str] = []
    run = train(
        place, method="probe", out=tmp_path / "run", listener=Listener(on_note=notes.append)
    )
    assert "`text`" in notes[0]
    assert "`label`" in notes[0]
    assert "cross-validation" in run.record.chosen_on["l2"]
    assert "epoch" not in run.record.chosen_on


def test_a_model_that_got_worse_says_so(place, tmp_path, monkeypatch):
    from graft.api import training

    before = training.untouched

    def perfect(job, streams, settings, listener):
        # the untouched backbone is given the right answers, so that no training can keep up
        found = before(job, streams, settings, listener)
        right = {k: np.eye(3)[streams[k]["train"].targets["label"].numpy()] for k in found.outputs}
        return replace(found, outputs=right)

    monkeypatch.setattr(training, "untouched", perfect)
    run = train(place, method="head", epochs=1, head_lr=1e-9, test=0.2, out=tmp_path / "run")
    assert run.record.before["test"]["accuracy"] == 1
    assert any("worse accuracy than the untouched" in note for note in run.record.notes)
