"""Comparing methods: each cell is the run that `train` makes; the cheapest good one is named."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

import graft
from graft.errors import GraftError, InputError
from tests.tiny import write_checkpoint, write_table

pytestmark = pytest.mark.slow

METHODS = ("probe", "lp-ft", "lora", "last:1", "bias")
OPTIONS = {"epochs": 2, "precision": "fp32", "threads": 1}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("comparing")
    write_checkpoint(folder / "bert")
    write_table(folder / "things.csv", n_per_class=40)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAFT_CACHE", str(folder / "cache"))
        yield folder


@pytest.fixture(scope="module")
def compared(place):
    return graft.compare(
        place / "things.csv",
        model=place / "bert",
        methods=METHODS,
        seeds=2,
        out=place / "compared",
        **OPTIONS,
    )


def test_every_cell_is_the_run_that_train_makes(compared, place, tmp_path):
    assert len(compared.cells) == 2 * len(METHODS)
    for cell in compared.cells[:: len(METHODS) - 1]:
        own = {k: v for k, v in OPTIONS.items() if (cell.method, k) != ("probe", "epochs")}
        run = graft.train(
            place / "things.csv",
            model=place / "bert",
            method=cell.method,
            seed=cell.seed,
            out=tmp_path / cell.folder,
            **own,
        )
        found = graft.load(place / "compared" / cell.folder)
        assert run.record.weights_sha256 == found.record.weights_sha256
        assert run.record.after == found.record.after
        assert run.record.before == found.record.before
        assert cell.scores["test"] == run.metrics["accuracy"]


def test_what_is_shared_is_computed_once(compared, place):
    runs = {c.method: graft.load(place / "compared" / c.folder) for c in compared.cells}
    for method in ("lp-ft", "lora", "last:1", "bias"):
        assert runs[method].record.untouched == runs["probe"].record.untouched
    assert runs["lp-ft"].record.phases[0].cache.n_computed == 0


def test_the_cheapest_that_is_not_clearly_behind_is_taken(compared):
    assert compared.chosen_on == "validation"
    assert [m.method for m in compared.methods if m.is_best] == [compared.best.method]
    assert compared.methods[0] is compared.best
    close = [m for m in compared.methods if m.behind.low <= 0]
    assert compared.recommended.seconds == min(m.seconds for m in close)
    assert f"`{compared.recommended.method}`" in compared.told
    for method in compared.methods:
        cells = [c for c in compared.cells if c.method == method.method]
        assert method.value.value == pytest.approx(np.mean([c.scores["validation"] for c in cells]))
        assert method.value.low <= method.value.value <= method.value.high
        assert method.seconds == pytest.approx(np.mean([c.seconds for c in cells]))
    small, whole = (next(m for m in compared.methods if m.method == n) for n in ("bias", "lp-ft"))
    assert small.n_trained < whole.n_trained
    assert small.kept_bytes < whole.kept_bytes


def test_its_files_say_the_same(compared, place):
    folder = place / "compared"
    written = json.loads((folder / "compare.json").read_text("utf-8"))
    assert written["told"] == compared.told
    picture = (folder / "compare.svg").read_text("utf-8")
    assert all(f">{m.method}<" in picture for m in compared.methods)


def test_more_rows_are_told_of_by_training_rows_alone(compared):
    sizes = [p.n_rows for p in compared.curve.points]
    assert sizes == sorted(sizes)
    assert sizes[-1] == compared.n_train
    assert "rows" in compared.curve.told


def test_a_comparison_that_was_stopped_goes_on(compared, place, tmp_path):
    folder = shutil.copytree(place / "compared", tmp_path / "again")
    for name in ("compare.json", "compare.svg"):
        (folder / name).unlink()
    shutil.rmtree(folder / "lora-1")
    asked = {"model": place / "bert", "methods": METHODS, "seeds": 2, "out": folder, **OPTIONS}
    with pytest.raises(InputError, match="--resume"):
        graft.compare(place / "things.csv", **asked)
    with pytest.raises(GraftError, match="seeds"):
        graft.compare(place / "things.csv", **{**asked, "seeds": 3}, resume=True)
    with pytest.raises(InputError, match="pass --resume"):
        graft.compare(out=folder)
    found = graft.compare(out=folder, resume=True)  # which needs nothing else
    hashes = [
        {c.folder: graft.load(where / c.folder).record.weights_sha256 for c in found.cells}
        for where in (folder, place / "compared")
    ]
    assert hashes[0] == hashes[1]
    assert [m.method for m in found.methods] == [m.method for m in compared.methods]
    for again, before in zip(found.methods, compared.methods, strict=True):
        assert again.value.value == pytest.approx(before.value.value)
        assert again.behind.value == pytest.approx(before.behind.value)


def test_a_finished_comparison_is_read(compared, place, tmp_path):
    folder = shutil.copytree(place / "compared", tmp_path / "again")
    written = (folder / "compare.json").read_text("utf-8")
    (folder / "compare.svg").unlink()
    found = graft.compare(out=folder, resume=True)
    assert (folder / "compare.json").read_text("utf-8") == written
    assert (folder / "compare.svg").is_file()
    assert (found.told, found.seconds) == (compared.told, compared.seconds)


def test_what_a_budget_left_is_not_measured_again(place, tmp_path):
    asked = {"model": place / "bert", "methods": "probe,full", "precision": "fp32", "threads": 1}
    out = tmp_path / "c"
    first = graft.compare(place / "things.csv", epochs=4, out=out, **asked)
    # as if the budget had cut one method and left out another
    (out / "compare.json").unlink()
    recipe = out / "full-0" / "recipe.yaml"
    recipe.write_text(recipe.read_text("utf-8").replace("epochs: 4", "epochs: 3"), "utf-8")
    progress = json.loads((out / "progress.json").read_text("utf-8"))
    progress["left_out"] = {"probe": "would take about 9 s, more than the budget"}
    (out / "progress.json").write_text(json.dumps(progress), "utf-8")
    again = graft.compare(out=out, resume=True)
    assert [c.epochs for c in first.cells] == [0, 0]
    assert [(c.method, c.epochs) for c in again.cells] == [("full", 3)]
    assert again.left_out == progress["left_out"]


def test_other_data_are_refused_before_a_training_has_ended(place, tmp_path):
    data, out = tmp_path / "d.csv", tmp_path / "c"
    shutil.copy(place / "things.csv", data)
    graft.compare(data, model=place / "bert", methods="probe", out=out, **OPTIONS)
    shutil.rmtree(out / "probe-0")
    (out / "compare.json").unlink()
    write_table(data, n_per_class=29)
    with pytest.raises(InputError, match="data have changed"):
        graft.compare(out=out, resume=True)


def test_a_comparison_killed_while_it_began_begins_again(place, tmp_path):
    out = tmp_path / "c"
    out.mkdir()
    (out / "recipe.yaml").write_text("data: things.csv\n", "utf-8")
    graft.compare(place / "things.csv", model=place / "bert", methods="probe", out=out, **OPTIONS)
    with pytest.raises(InputError, match="is a run of one training"):
        graft.compare(place / "things.csv", out=out / "probe-0")
    with pytest.raises(InputError, match="is a file"):
        graft.compare(place / "things.csv", out=out / "compare.svg")


def test_data_that_cannot_be_used_leave_nothing(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        graft.compare(tmp_path / "none.csv", out=tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_there_must_be_something_to_resume(tmp_path):
    with pytest.raises(InputError, match="no comparison to resume"):
        graft.compare(out=tmp_path / "none", resume=True)
    assert not (tmp_path / "none").exists()
    with pytest.raises(InputError, match="name its folder"):
        graft.compare("things.csv", resume=True)


def test_what_does_not_fit_is_left_out_with_the_reason(place, tmp_path):
    found = graft.compare(
        place / "things.csv",
        model=place / "bert",
        methods="probe,residual,last:9",
        out=tmp_path / "c",
        **OPTIONS,
    )
    assert [m.method for m in found.methods] == ["probe"]
    assert found.left_out.keys() == {"residual", "last:9"}
    assert "3×3" in found.left_out["residual"]


def test_a_budget_leaves_fewer_epochs(place, tmp_path):
    asked = {"model": place / "bert", "methods": "full", "precision": "fp32", "threads": 1}
    for method in ("full", "probe", "lp-ft"):
        hurried = {**asked, "methods": method, "budget": 1e-6, "out": tmp_path / f"no-{method}"}
        with pytest.raises(InputError, match="more than the budget"):
            graft.compare(place / "things.csv", **hurried)
    found = graft.compare(place / "things.csv", budget=1e6, epochs=2, out=tmp_path / "all", **asked)
    assert found.cells[0].epochs == 0
    record = graft.load(tmp_path / "all" / found.cells[0].folder).record
    assert len(record.phases[0].epochs) == 2


@pytest.mark.parametrize(
    "fault, said",
    [
        ({"methods": "prob"}, "probe"),
        ({"methods": "auto"}, "auto"),
        ({"seeds": 0}, "--seeds 0"),
        ({"method": "probe"}, "methods"),
    ],
)
def test_what_is_refused(fault, said, place, tmp_path):
    with pytest.raises(GraftError, match=said):
        graft.compare(
            place / "things.csv", model=place / "bert", out=tmp_path / "c", **OPTIONS, **fault
        )
    assert not (tmp_path / "c").exists()


def test_what_methods_are_worth_elsewhere_stands_beside(place, tmp_path):
    target = write_table(tmp_path / "others.csv", n_per_class=20, seed=1)
    found = graft.compare(
        place / "things.csv",
        model=place / "bert",
        methods=("full", "lora"),
        target=str(target),
        remember=str(place / "things.csv"),
        out=tmp_path / "c",
        **OPTIONS | {"epochs": 1},
    )
    assert "rows of the source" in found.told
    for cell, method in zip(
        found.cells, sorted(found.methods, key=lambda m: m.method), strict=True
    ):
        record = graft.load(tmp_path / "c" / cell.folder).record
        beside = {
            "accuracy of the target": record.domain.intervals["after"]["accuracy"].value,
            "domains told apart": record.domain.told_after,
            f"accuracy of {record.remembered.name}": record.remembered.after,
        }
        assert cell.beside == beside == method.beside
    again = graft.compare(out=tmp_path / "c", resume=True)
    assert again.methods == found.methods


def test_methods_worse_than_the_untouched_network_are_not_praised(place, tmp_path):
    found = graft.compare(
        place / "things.csv",
        model=place / "bert",
        methods=("lora",),
        lr=1e-9,
        head_lr=1e-9,
        out=tmp_path / "c",
        **OPTIONS | {"epochs": 1},
    )
    assert found.recommended.value.value < found.untouched
    assert f"untouched backbone with class means has {found.untouched:.3f}" in found.told
    assert "compare `probe`" in found.told
