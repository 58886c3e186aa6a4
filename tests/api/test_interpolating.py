"""The curve between before and after, for heads that began at random: the start is a probe."""

from __future__ import annotations

import numpy as np
import pytest
import yaml

import graft
from graft.api.interpolating import interpolate
from graft.errors import InputError
from tests.tiny import write_checkpoint, write_table


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("place")
    write_checkpoint(folder / "bert")
    write_table(folder / "things.csv", n_per_class=30)
    random = np.random.default_rng(0)
    words = ["cat", "red", "one"]
    lines = [f"the {' '.join(random.choice(words, 3))},{x:.3f}" for x in random.random(60)]
    (folder / "numbers.csv").write_text("\n".join(["text,label", *lines]) + "\n")
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "cache"))


def train(place, out, data="things.csv", **options):
    asked = {"model": str(place / "bert"), "epochs": 2, "lr": 1e-3, "precision": "fp32", **options}
    return graft.train(place / data, out=out, **asked)


def test_a_classifier_begins_at_its_probe(place, tmp_path):
    run = train(place, tmp_path / "run", method="full")
    probe = train(place, tmp_path / "probe", method="probe", epochs=None, lr=None)
    found = interpolate(run.folder, alphas=(0, 0.5, 1), out=tmp_path / "between")
    first, _, last = (point.scores for point in found.points)
    assert first["test"] == pytest.approx(probe.record.after["test"]["accuracy"])
    assert last["test"] == pytest.approx(run.record.after["test"]["accuracy"])
    assert graft.load(run.folder).record.between == found.points
    page = (run.folder / "report.html").read_text(encoding="utf-8")
    assert 'id="between-ends"' in page and "Between before and after" in page
    assert graft.predict(tmp_path / "between", ["the cat"])[0].label in run.record.classes


def test_numbers_have_one_unit_all_the_way(place, tmp_path):
    run = train(place, tmp_path / "run", "numbers.csv", method="lp-ft")
    probe = train(place, tmp_path / "probe", "numbers.csv", method="probe", epochs=None, lr=None)
    found = interpolate(run.folder, alphas=(0, 1))
    first, last = (point.scores["test"] for point in found.points)
    assert first == pytest.approx(probe.record.after["test"]["r2"], abs=1e-5)
    assert last == pytest.approx(run.record.after["test"]["r2"], abs=1e-5)


def test_a_head_that_cannot_be_solved_is_the_trained_one_throughout(place, tmp_path):
    run = train(place, tmp_path / "run", method="head", head="mlp:8", lr=None)
    found = interpolate(run.folder, alphas=(0, 0.5, 1))
    assert len({tuple(sorted(point.scores.items())) for point in found.points}) == 1


def test_an_adapted_run_is_scored_on_its_source(place, tmp_path):
    run = train(
        place, tmp_path / "run", method="last:1", target=str(place / "things.csv"), adapt="mmd"
    )
    found = interpolate(run.folder, alphas=(0, 1))
    assert found.points[-1].scores["test"] == pytest.approx(run.record.after["test"]["accuracy"])


def test_the_pull_to_the_start_is_an_option_like_any_other(place, tmp_path):
    plain, pulled = (
        train(place, tmp_path / str(l2_sp), method="full", l2_sp=l2_sp) for l2_sp in (None, 900)
    )
    assert yaml.safe_load((pulled.folder / "recipe.yaml").read_text())["l2_sp"] == 900
    assert plain.record.weights_sha256 != pulled.record.weights_sha256
    with pytest.raises(graft.errors.InputError, match="no --l2-sp"):
        graft.plan(place / "things.csv", model=str(place / "bert"), method="probe", l2_sp=1.0)


def test_adapters_that_were_merged_begin_at_nothing(place, tmp_path):
    run = train(place, tmp_path / "run", method="lora", rank=2, lr=1e-2)
    probe = train(place, tmp_path / "probe", method="probe", epochs=None, lr=None)
    first, last = (point.scores["test"] for point in interpolate(run.folder, alphas=(0, 1)).points)
    assert first == pytest.approx(probe.record.after["test"]["accuracy"])
    assert last == pytest.approx(run.record.after["test"]["accuracy"])


def test_other_data_are_refused(place, tmp_path):
    data = tmp_path / "things.csv"
    data.write_bytes((place / "things.csv").read_bytes())
    run = graft.train(data, model=str(place / "bert"), epochs=1, out=tmp_path / "run")
    with data.open("a", encoding="utf-8") as file:
        file.write(data.read_text("utf-8").splitlines()[1].replace("the", "one more the") + "\n")
    with pytest.raises(InputError, match="its data have changed"):
        interpolate(run.folder)
    with pytest.raises(InputError, match="its data have changed"):
        graft.index(run.folder, str(data), far=0.2)
