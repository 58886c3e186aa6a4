"""Options of the loop through the front door: precision, focal loss, averages, augmentation."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch import Tensor, nn

import graft
from graft.api import training
from graft.engine.precision import Precision
from graft.engine.settings import Listener
from graft.engine.views import ENDLESS
from graft.errors import DataError, GraftError, InputError, UnknownName
from graft.tasks.streams import TableStream
from tests.tiny import write_checkpoint, write_table


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("place")
    write_checkpoint(folder / "bert")
    write_table(folder / "things.csv", n_per_class=20)
    random = np.random.default_rng(0)
    for kind, shade in (("day", 150), ("night", 20)):
        (folder / "pictures" / kind).mkdir(parents=True)
        for i in range(12):
            pixels = random.integers(shade, shade + 80, (12, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "pictures" / kind / f"{i}.png")
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "cache"))


class Net(nn.Module):
    """Two blocks of convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(nn.Sequential(nn.Conv2d(n, 6, 3), nn.ReLU()) for n in (3, 6)))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x).mean((2, 3))


def network():
    torch.manual_seed(0)
    return graft.backbone(Net(), blocks="layers.*", width=6, image_size=8, modality="image")


def texts(place, **options):
    return graft.train(place / "things.csv", model=str(place / "bert"), **options)


def pictures(place, **options):
    return graft.train(place / "pictures", model=network(), **options)


def recipe_of(folder):
    return yaml.safe_load((folder / "recipe.yaml").read_text())


# --- precision ----------------------------------------------------------------------------------


def test_precision_is_chosen_once_written_and_read_back(place, tmp_path, monkeypatch):
    asked = []

    def choose(*_args, **_kwargs):
        asked.append(1)
        return Precision("bf16", "bf16 took 0.50 × as long as fp32")

    monkeypatch.setattr(training, "choose_precision", choose)
    out = tmp_path / "run"
    run = texts(place, method="head", epochs=1, out=out)
    assert recipe_of(out)["precision"] == "bf16"
    assert run.record.chosen_on["precision"] == "bf16: bf16 took 0.50 × as long as fp32"
    (out / "record.json").unlink()
    for options in ({}, {"precision": "auto"}):
        texts(place, method="head", epochs=1, out=out, resume=True, **options)
        assert recipe_of(out)["precision"] == "bf16"
        (out / "record.json").unlink()
    again = graft.train(recipe=out / "recipe.yaml", out=tmp_path / "again")
    assert recipe_of(again.folder)["precision"] == "bf16"
    assert len(asked) == 1
    with pytest.raises(InputError, match="precision was bf16, is fp32"):
        texts(place, method="head", epochs=1, out=out, resume=True, precision="fp32")


def test_a_small_model_stays_in_fp32(place, tmp_path):
    run = texts(place, method="head", epochs=1, out=tmp_path / "run")
    assert recipe_of(run.folder)["precision"] == "fp32"
    assert run.record.chosen_on["precision"].startswith("fp32: ")


# --- focal loss and averages --------------------------------------------------------------------


def test_a_focal_loss_trains_the_probe_by_gradient_and_says_why(place, tmp_path):
    notes: list[str] = []
    listener = Listener(on_note=notes.append)
    run = texts(place, method="probe", focal=2.0, out=tmp_path / "run", listener=listener)
    [phase] = run.record.phases
    assert phase.convex is None and phase.epochs
    assert "phase `probe` trains the head by gradient: the focal loss is not convex" in notes
    planned = graft.plan(place / "things.csv", model=str(place / "bert"), method="probe", focal=2.0)
    assert planned.phases[0].by == "gradient (the focal loss is not convex)"


@pytest.mark.slow
def test_an_average_changes_what_comes_out(place, tmp_path):
    options = {"method": "full", "epochs": 1, "lr": 1e-3}
    plain = texts(place, out=tmp_path / "plain", **options)
    averaged = texts(place, out=tmp_path / "averaged", ema=0.9, **options)
    assert plain.record.weights_sha256 != averaged.record.weights_sha256
    with pytest.raises(InputError, match="--ema"):
        texts(place, out=tmp_path / "none", method="probe", ema=0.9)


# --- augmentation -------------------------------------------------------------------------------


@pytest.mark.slow
def test_training_pictures_vary_and_the_threads_change_nothing(place, tmp_path):
    options = {"method": "last:1", "epochs": 2, "batch_size": 8, "augment": "strong"}
    first = pictures(place, out=tmp_path / "first", workers=0, **options)
    second = pictures(place, out=tmp_path / "second", workers=2, **options)
    assert first.record.weights_sha256 == second.record.weights_sha256
    assert recipe_of(first.folder)["augment"] == "strong"
    [phase] = first.record.phases
    assert (phase.cache.used, phase.cache.reason) == (False, ENDLESS)
    assert any(note.startswith("training pictures vary: crop, ") for note in first.record.notes)
    plain = pictures(place, out=tmp_path / "plain", **{**options, "augment": None})
    assert plain.record.before == first.record.before, "the baseline sees pictures as they are"
    assert plain.record.weights_sha256 != first.record.weights_sha256


@pytest.mark.slow
def test_stated_views_are_stored(place, tmp_path):
    run = pictures(place, out=tmp_path / "run", method="probe", augment="light", views=2)
    [phase] = run.record.phases
    assert phase.cache.used and phase.cache.n_computed == 3 * run.record.n_train
    assert phase.convex is not None


def test_plan_says_what_is_not_stored(place):
    options = {"model": network(), "method": "last:1"}
    endless, stated = (
        graft.plan(place / "pictures", augment="light", **more, **options).phases[0]
        for more in ({}, {"views": 4})
    )
    assert (endless.cached, endless.reason) == (False, ENDLESS)
    assert stated.cached


def test_what_cannot_vary_is_refused_in_one_line(place, tmp_path):
    out = {"out": tmp_path / "run"}
    with pytest.raises(InputError, match="holds text") as error:
        texts(place, augment="light", **out)
    assert "\n" not in str(error.value) and len(str(error.value)) <= 200
    with pytest.raises(UnknownName, match="did you mean 'colour'"):
        pictures(place, augment="crop,color", **out)
    with pytest.raises(InputError, match="--views needs --augment"):
        pictures(place, views=3, **out)
    assert not (tmp_path / "run").exists()


# --- files that go while they are wanted ---------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("how", ["gone", "damaged"])
def test_a_picture_that_goes_stops_the_run_which_goes_on_when_it_is_back(
    place, tmp_path, monkeypatch, how, workers
):
    data = tmp_path / "pictures"
    shutil.copytree(place / "pictures", data)
    monkeypatch.setattr(TableStream, "keep", lambda *_: None)  # as of a set larger than memory
    options = {"method": "full", "epochs": 3, "batch_size": 8, "workers": workers, "cache": "off"}
    options |= {"checkpoint_every": 1000, "model": network()}
    alone = graft.train(data, out=tmp_path / "alone", **options)
    kept = tmp_path / "kept"

    def spoil(event):
        if event.epoch == 1 and event.step == 4 and not kept.exists():
            shutil.copytree(data, kept)
            for path in data.rglob("*.png"):
                path.unlink() if how == "gone" else path.write_bytes(b"\x89PNG")

    out = tmp_path / "run"
    with pytest.raises(DataError, match="restore it and pass --resume") as found:
        graft.train(
            data, out=out, listener=Listener(on_step=spoil), **{**options, "model": network()}
        )
    message = str(found.value)
    assert ".png: " in message and len(message) <= 200 and found.value.exit_code == 2
    assert list((out / "checkpoints").iterdir()), "what was trained is kept"
    with pytest.raises(GraftError):
        graft.train(data, out=out, resume=True, **{**options, "model": network()})
    shutil.rmtree(data)
    shutil.copytree(kept, data)
    run = graft.train(data, out=out, resume=True, **{**options, "model": network()})
    assert run.record.weights_sha256 == alone.record.weights_sha256
