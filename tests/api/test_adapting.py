"""Adapting to another domain all the way: read, trained, resumed, compared, told."""

from __future__ import annotations

import csv
import dataclasses
import json

import numpy as np
import pytest

import graft
from graft.api.adapting import better_epoch, told_apart
from graft.errors import InputError, Stopped
from graft.phase_records import CacheRecord, EpochRecord, PhaseRecord
from graft.records import RunRecord
from graft.serial import from_json, to_json
from graft.tasks.adapted import Adapted
from graft.tasks.classify import Classify
from tests.data.makers import picture
from tests.tiny import write_checkpoint, write_table

OPTIONS = {"method": "last:1", "epochs": 2, "batch_size": 16, "lr": 1e-3}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("place")
    write_checkpoint(folder / "bert")
    write_table(folder / "things.csv", n_per_class=30)
    write_target(folder / "others.csv", write_table(folder / "more.csv", 20, seed=1))
    return folder


def write_target(path, like, relabel=lambda label: label):
    """Write rows whose texts all begin in the same way, and so are of another domain."""
    with like.open(newline="", encoding="utf-8") as file:
        rows = [(f"look look look {row['text']}", row["label"]) for row in csv.DictReader(file)]
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *((t, relabel(x)) for t, x in rows)])
    return path


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "cache"))


def train(place, out, target="others.csv", **options):
    asked = {"model": str(place / "bert"), **OPTIONS, **options}
    return graft.train(place / "things.csv", out=out, target=str(place / target), **asked)


def test_both_domains_are_compared_before_and_after(place, tmp_path):
    run = train(place, tmp_path / "run")
    found = run.record.domain
    assert (found.adapt, found.weight, found.label) == ("dann", 1.0, "label")
    assert (found.n_train, found.n_validation, found.n_test) == (42, 9, 9)
    assert 0.5 < found.told_before <= 1 and 0 <= found.told_after <= 1
    assert found.n_scored == 9 and set(found.intervals) == {"before", "after", "change"}
    assert set(found.scores) == {"accuracy", "log_loss", "target_information"}
    assert found.criterion == pytest.approx(
        found.scores["log_loss"] - found.scores["target_information"]
    )
    assert found.scores == run.record.phases[-1].epochs[-1].scores
    assert any("labels (`label`) are not used" in note for note in run.record.notes)
    again = from_json(RunRecord, to_json(run.record))
    assert again.domain == found
    assert run.record.n_trained < run.record.n_parameters
    # nothing of the domain classifier is in the model
    heads = graft.predict(run.folder, ["the cat"])
    assert heads[0].label in run.record.classes
    names = {p.name for p in (run.folder / "model").iterdir()}
    assert not any("domain" in name for name in names)


def test_the_page_shows_both_domains(place, tmp_path):
    run = train(place, tmp_path / "run", adapt="mmd", epochs=1)
    facts = json.loads((run.folder / "report.json").read_text())
    shown = facts["domain_map"]
    assert {"source", "target"} == set(shown["groups"])
    assert len(shown["before"]["x"]) == len(shown["after"]["x"]) == len(shown["groups"])
    page = (run.folder / "report.html").read_text()
    for text in ('id="domains"', "Both domains before training", "tells the domain of", "others"):
        assert text in page


def test_labels_of_the_target_change_no_weight(place, tmp_path):
    other = write_target(place / "wrong.csv", place / "more.csv", lambda _: "number")
    write_target(place / "unknown.csv", place / "more.csv", lambda _: "planet")
    with (place / "none.csv").open("w", encoding="utf-8") as file:
        lines = [line.rpartition(",")[0] for line in other.read_text().splitlines()]
        file.write("\n".join(lines) + "\n")
    runs = {
        name: train(place, tmp_path / name, f"{name}.csv", epochs=1, patience=1).record
        for name in ("others", "wrong", "unknown", "none")
    }
    assert len({record.weights_sha256 for record in runs.values()}) == 1
    assert len({record.domain.data_hash for record in runs.values()}) == 1
    assert len({record.domain.criterion for record in runs.values()}) == 1
    assert "no label of the target" in runs["others"].chosen_on["epoch"]
    assert [runs[n].domain.n_scored for n in ("others", "wrong", "unknown", "none")] == [9, 9, 0, 0]
    assert runs["others"].domain.intervals != runs["wrong"].domain.intervals
    assert runs["none"].domain.intervals == runs["unknown"].domain.intervals == {}


def test_a_target_that_is_only_watched_moves_no_weight(place, tmp_path):
    watched = train(place, tmp_path / "watched", adapt="none").record
    asked = {"model": str(place / "bert"), **OPTIONS}
    alone = graft.train(place / "things.csv", out=tmp_path / "alone", **asked).record
    assert watched.weights_sha256 == alone.weights_sha256
    assert watched.domain.n_scored == 9 and watched.domain.criterion is not None
    assert "only watched there" in (tmp_path / "watched" / "report.html").read_text()
    probe = {"method": "probe", "epochs": None, "lr": None, "batch_size": None, "adapt": "none"}
    solved = train(place, tmp_path / "probe", **probe).record
    assert solved.domain.told_after == solved.domain.told_before
    planned = graft.plan(
        place / "things.csv",
        model=str(place / "bert"),
        target=str(place / "others.csv"),
        adapt="none",
    )
    assert planned.n_target == 0


@pytest.mark.parametrize("adapt", ["dann", "coral"])
def test_a_stopped_run_goes_on_to_the_same_bytes(place, tmp_path, monkeypatch, adapt):
    from graft.engine import loop

    whole = train(place, tmp_path / "whole", adapt=adapt, method="unfreeze", epochs=1)
    signals = iter([0] * 7 + [15] + [0] * 1000)
    monkeypatch.setattr(loop, "asked", lambda: next(signals))
    with pytest.raises(Stopped):
        train(place, tmp_path / "run", adapt=adapt, method="unfreeze", epochs=1)
    monkeypatch.undo()
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "cache"))
    resumed = graft.train(out=tmp_path / "run", resume=True)
    assert resumed.record.weights_sha256 == whole.record.weights_sha256
    assert resumed.record.domain == whole.record.domain
    again = graft.rerun(tmp_path / "run", out=tmp_path / "again")
    assert again.again.record.weights_sha256 == whole.record.weights_sha256


def test_what_is_stored_of_both_streams_changes_nothing(place, tmp_path):
    stored, anew = (
        train(place, tmp_path / cache, cache=cache, method="last:1", precision="fp32")
        for cache in ("auto", "off")
    )
    assert stored.record.phases[0].cache.used and not anew.record.phases[0].cache.used
    assert stored.record.weights_sha256 == anew.record.weights_sha256


def test_another_target_is_not_resumed_into(place, tmp_path, monkeypatch):
    from graft.engine import loop

    signals = iter([0] * 3 + [15] + [0] * 1000)
    monkeypatch.setattr(loop, "asked", lambda: next(signals))
    with pytest.raises(Stopped):
        train(place, tmp_path / "run")
    monkeypatch.undo()
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "cache"))
    with pytest.raises(InputError, match="other data"):
        train(place, tmp_path / "run", "more.csv", resume=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "probe", "epochs": None, "lr": None, "batch_size": None}, "body frozen"),
        ({"method": "head"}, "method `head` leaves the body frozen"),
        ({"method": "auto"}, "`auto` may choose another"),
        ({"task": "embed"}, "one class a row alone"),
        ({"target": "gone.csv"}, r"gone\.csv: no such file"),
        ({"target": "photos"}, "holds image, and .*things.csv holds text"),
        ({"target": "odd.csv"}, "no column `text`, which is the input in .*things.csv"),
        ({"target": "empty.csv"}, "only a header line"),
        ({"target": "few.csv"}, r"few\.csv: holds 2 rows, too few to adapt to; add some"),
        ({"adapt_weight": 0.0}, "greater than 0"),
        ({"adapt": "adda"}, "adapt"),
    ],
)
def test_what_cannot_be_adapted_is_refused_in_one_line(place, tmp_path, options, message):
    picture(place / "photos" / "a.png")
    (place / "odd.csv").write_text("a,b\nx y z,u v w\nx y,u v\n")
    (place / "empty.csv").write_text("text,label\n")
    (place / "few.csv").write_text("text\nthe cat\na dog\n")
    with pytest.raises(InputError, match=message) as found:
        train(place, tmp_path / "run", **options)
    assert "\n" not in str(found.value) and len(str(found.value)) <= 200
    assert not (tmp_path / "run").exists()


def test_options_of_a_target_need_one(place, tmp_path):
    for option in ({"adapt": "mmd"}, {"adapt_weight": 2.0}):
        with pytest.raises(InputError, match="needs --target"):
            graft.train(place / "things.csv", model=str(place / "bert"), out=tmp_path, **option)


def test_the_plan_tells_of_the_second_stream(place):
    planned = graft.plan(
        place / "things.csv",
        model=str(place / "bert"),
        target=str(place / "others.csv"),
        method="lp-ft",
    )
    assert (planned.n_target, planned.adapt) == (42, "dann")
    assert planned.phases[0].by == "convex"
    rates = [{g.rule: g.lr for g in phase.groups} for phase in planned.phases]
    assert rates[1]["state"] == 1e-3 > rates[1]["head"]
    bare = graft.plan(place / "things.csv", model=str(place / "bert"), method="lp-ft")
    assert bare.n_target == 0
    assert planned.phases[1].memory_bytes > bare.phases[1].memory_bytes


def test_pictures_of_two_folders(tmp_path):
    from tests.api.test_loop_options import network

    random = np.random.default_rng(0)
    for i in range(40):
        shade = int(random.integers(0, 60))
        for name, colour in (("dark", (shade,) * 3), ("light", (255 - shade,) * 3)):
            picture(tmp_path / "grey" / name / f"{i}.png", (12, 12), colour)
            tinted = (colour[0], colour[1] // 2, 128)
            picture(tmp_path / "tinted" / f"{name}{i}.png", (12, 12), tinted)
    run = graft.train(
        tmp_path / "grey",
        model=network(),
        target=str(tmp_path / "tinted"),
        method="full",
        augment="light",
        epochs=1,
        out=tmp_path / "run",
    )
    assert run.record.domain.n_train == 57 and run.record.domain.label == ""
    assert run.record.domain.told_before is not None


def test_a_linear_probe_tells_domains_apart_by_chance_or_surely():
    random = np.random.default_rng(0)
    same = random.normal(size=(300, 4)).astype(np.float32)
    assert told_apart(same[:100], same[100:], 0) == pytest.approx(0.5, abs=0.1)
    assert told_apart(same[:30], same[30:] + 9, 0) == pytest.approx(1.0)
    assert told_apart(same[:4], same, 0) is None


def test_an_earlier_epoch_that_looks_better_is_told():
    task = Adapted(Classify(("a", "b")))
    epochs = [
        EpochRecord(i, 1.0, 1.0, 1.0, {"log_loss": loss, "target_information": 0.5})
        for i, loss in enumerate((0.9, 0.4, 0.6))
    ]
    phase = PhaseRecord("full", (), CacheRecord("", False, ""), tuple(epochs))
    (note,) = better_epoch(task, [phase])
    assert "epoch 2 looks better" in note and "(criterion -0.10 and 0.10)" in note
    assert "--patience 3" in note
    for kept in (dataclasses.replace(phase, best_epoch=1), dataclasses.replace(phase, epochs=())):
        assert better_epoch(task, [kept]) == ()


def test_a_finished_run_is_not_taken_for_one_with_a_target(place, tmp_path):
    graft.train(place / "things.csv", model=str(place / "bert"), out=tmp_path / "run", **OPTIONS)
    with pytest.raises(InputError, match="target was None"):
        train(place, tmp_path / "run", resume=True)


def test_rows_of_the_source_in_the_target_are_counted(place, tmp_path):
    run = train(place, tmp_path / "r", target="things.csv")
    assert any("90 of them are rows of the source" in note for note in run.record.notes)
