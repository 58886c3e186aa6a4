"""`graft.sweep`, all the way: judged on validation rows, resumable, the best recipe trains."""

from __future__ import annotations

import os

import pytest
import torch

pytest.importorskip("optuna", reason="needs the extra tune")

import graft
from graft.errors import InputError, MissingExtra, RecipeError, StorageError
from graft.selection import crews
from graft.selection.attempt import Outcome
from graft.selection.trials import Sweep
from graft.serial import from_json
from tests.faults.killer import forked
from tests.tiny import write_checkpoint, write_table


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("place")
    write_checkpoint(folder / "bert")
    write_table(folder / "things.csv", n_per_class=40)
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "cache"))


def sweep(place, out, **options):
    options = {"model": str(place / "bert"), "method": "probe", "trials": 4, **options}
    return graft.sweep(place / "things.csv", out=out, **options)


def shown(found):
    return [(t.number, t.options, t.value) for t in found.trials]


def test_trials_are_trainings_whose_best_recipe_gives_the_same_again(place, tmp_path):
    told = []
    found = sweep(place, tmp_path / "s", on_trial=lambda sweep, trial: told.append(trial))
    assert [trial.number for trial in found.trials] == [0, 1, 2, 3]
    assert tuple(told) == found.trials
    assert found.space.keys() == {"l2"}
    assert from_json(Sweep, (tmp_path / "s" / "sweep.json").read_text()) == found
    values = [trial.value for trial in found.trials]
    assert found.best.value == max(values)
    run = graft.train(recipe=found.best_recipe, out=tmp_path / "run")
    assert run.record.after["validation"]["accuracy"] == found.best.value
    assert run.record.n_test > 0
    if found.best.number:
        l2 = found.best.options["l2"]
        assert run.record.phases[0].convex.l2 == pytest.approx(l2)
        assert found.gain.value == pytest.approx(found.best.value - values[0])


@pytest.mark.slow
def test_what_is_frozen_is_computed_once_for_all(place, tmp_path, monkeypatch):
    from graft.selection import attempt

    computed, real = [], attempt.run

    def noted(*arguments, **options):
        records = real(*arguments, **options)
        computed.append([record.cache.n_computed for record in records])
        return records

    monkeypatch.setattr(attempt, "run", noted)
    sweep(place, tmp_path / "s")
    assert computed[0][0] > 0
    assert computed[1:] == [[0], [0], [0]]


@pytest.mark.slow
def test_test_rows_are_never_looked_at(place, tmp_path, monkeypatch):
    from graft.job import Job

    real = Job.streams

    def spoilt(self):
        streams = real(self)
        for stream in streams["test"].values():
            monkeypatch.setattr(stream, "batch", None)
        return streams

    monkeypatch.setattr(Job, "streams", spoilt)
    assert len(sweep(place, tmp_path / "s", trials=2).trials) == 2


@pytest.mark.slow
@pytest.mark.parametrize("point", ["in_trial:3", "after_trial:2"])
def test_killed_and_started_again_it_finds_what_it_would_have_found(place, tmp_path, point):
    whole = sweep(place, tmp_path / "whole", trials=5)
    assert forked(lambda: sweep(place, tmp_path / "s", trials=5), point)
    n_before = len(from_json(Sweep, (tmp_path / "s" / "sweep.json").read_text()).trials)
    assert n_before in (1, 2)
    again = graft.sweep(out=tmp_path / "s", resume=True, trials=5)
    assert shown(again) == shown(whole)
    assert again.gain == whole.gain
    more = graft.sweep(out=tmp_path / "s", resume=True, trials=6)
    assert shown(more)[:5] == shown(whole)
    assert len(more.trials) == 6


@pytest.mark.slow
def test_rates_of_a_body_are_looked_for_and_a_model_declared_in_python_keeps_its_weights(
    place, tmp_path
):
    own = graft.open_backbone(place / "bert")
    before = {name: tensor.clone() for name, tensor in own.state_dict().items()}
    found = sweep(place, tmp_path / "s", model=own, method="full", epochs=1, over=["lr"], trials=3)
    assert [t.options.keys() for t in found.trials] == [set(), {"lr"}, {"lr"}]
    for name, tensor in own.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_a_training_that_comes_to_nothing_is_a_trial_that_failed(place, tmp_path, monkeypatch):
    def failing(self):
        number, options = self._next
        if number == 0:
            return number, Outcome(None, None, 1.0, "the loss was not finite")
        return number, self._attempt(options, self._listener)

    monkeypatch.setattr(crews.Alone, "next_done", failing)
    found = sweep(place, tmp_path / "s", trials=2)
    assert found.trials[0].why == "the loss was not finite"
    assert found.trials[0].value is None
    assert found.best.number == 1
    assert found.gain is None


def test_another_sweep_is_not_gone_on_with(place, tmp_path):
    sweep(place, tmp_path / "s", trials=1)
    with pytest.raises(InputError, match="holds a sweep already"):
        sweep(place, tmp_path / "s", trials=1)
    with pytest.raises(RecipeError, match="other settings"):
        sweep(place, tmp_path / "s", resume=True, seed=1)
    with pytest.raises(InputError, match="holds no sweep to resume"):
        sweep(place, tmp_path / "nowhere", resume=True)
    other = write_table(tmp_path / "other.csv", n_per_class=40, seed=1)
    with pytest.raises(RecipeError, match="other data"):
        graft.sweep(other, model=str(place / "bert"), out=tmp_path / "s", resume=True)


def test_what_cannot_be_swept_is_refused_before_any_work(place, tmp_path, monkeypatch):
    out = tmp_path / "s"
    for word, options in {
        "name a method": {"method": "auto"},
        "Plan of your own": {"method": graft.Plan(())},
        "one at least": {"trials": 0},
        "leaves no `lr`": {"over": ["lr"]},
        "no validation row|there are none": {"validation": 0},
    }.items():
        with pytest.raises(InputError, match=word):
            sweep(place, out, **options)
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(MissingExtra, match=r"pip install 'graft\[tune\]'"):
        sweep(place, out)


def test_two_processes_do_not_write_into_one_folder(place, tmp_path):
    from graft.locks import locked

    (tmp_path / "s").mkdir()
    with locked(tmp_path / "s" / ".lock"), pytest.raises(StorageError, match="writes into it"):
        sweep(place, tmp_path / "s")


def test_ray_that_is_missing_is_named(place, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"pip install 'graft\[ray\]'"):
        sweep(place, tmp_path / "s", ray=True)


@pytest.mark.slow
@pytest.mark.timeout(600)  # starts a cluster, whose workers import torch
@pytest.mark.filterwarnings("ignore")  # of what Ray's own processes leave open
def test_a_cluster_finds_the_same_first_trial_and_as_many(place, tmp_path, monkeypatch):
    pytest.importorskip("ray", reason="needs the extra ray")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(__import__("sys").path))
    alone = sweep(place, tmp_path / "alone", trials=3)
    found = sweep(place, tmp_path / "s", trials=3, ray=True)
    assert sorted(t.number for t in found.trials) == [0, 1, 2]
    assert found.trials[0].value == alone.trials[0].value
    assert all(t.value is not None for t in found.trials)


@pytest.mark.parametrize("adapt", ["dann", "none"])
def test_a_target_is_not_judged(adapt, place, tmp_path):
    target = write_table(tmp_path / "others.csv", n_per_class=20, seed=1)
    found = sweep(
        place, tmp_path / "s", method="full", trials=1, epochs=1, target=str(target), adapt=adapt
    )
    assert found.trials[0].value is not None
    assert any("rows of the source" in note for note in found.notes)
