"""Law: a run's model reads new pictures under the limits of its run."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from PIL import Image

import graft
from graft.api.embedding import embed
from graft.api.evaluating import evaluate
from graft.api.predicting import predict_data
from graft.api.run_limits import RunLimits, limits_of
from graft.errors import InputError


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Pictures in two classes, and outside of them one that a link leads to."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for kind, shade in (("day", 150), ("night", 20)):
        (folder / "data" / kind).mkdir(parents=True)
        for i in range(12):
            pixels = random.integers(shade, shade + 80, (12, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "data" / kind / f"{i}.png")
    shutil.copytree(folder / "data", folder / "new")
    Image.new("RGB", (60, 60)).save(folder / "outside.png")
    (folder / "new" / "day" / "link.png").symlink_to(folder / "outside.png")
    Image.new("RGB", (60, 50)).save(folder / "new" / "day" / "large.png")
    return folder


@pytest.fixture(scope="module")
def runs(pictures, tmp_path_factory):
    """Two runs: one with the usual limits, one with others."""
    from graft.backbones import open_backbone

    folder = tmp_path_factory.mktemp("runs")
    options = {"method": "probe", "cache": "off", "workers": 0}
    for name, more in (
        ("usual", {}),
        ("small", {"max_pixels": 2_999}),
        ("linked", {"follow_links": True}),
    ):
        backbone = open_backbone("timm:test_resnet", random=True)
        graft.train(pictures / "data", model=backbone, out=folder / name, **options, **more)
    return folder


def skipped(found):
    return sorted(
        str(f).split(":")[0].rsplit("/", 1)[-1] for f in found.findings if f.severity == "skip"
    )


ASKED = {
    "predict": lambda run, data: predict_data(run, str(data)),
    "evaluate": lambda run, data: evaluate(run, data),
    "embed": lambda run, data: embed(run, str(data)),
}


@pytest.mark.parametrize("verb", ASKED)
@pytest.mark.parametrize("inner", ["", "model"])
def test_a_run_keeps_its_limits(verb, inner, runs, pictures):
    assert skipped(ASKED[verb](runs / "usual" / inner, pictures / "new")) == ["link.png"]
    assert skipped(ASKED[verb](runs / "small" / inner, pictures / "new")) == [
        "large.png",
        "link.png",
    ]
    assert skipped(ASKED[verb](runs / "linked" / inner, pictures / "new")) == []


def test_a_model_alone_lifts_no_limit(runs, tmp_path):
    assert limits_of(runs / "linked" / "model") == RunLimits(follow_links=True)
    shutil.copytree(runs / "linked" / "model", tmp_path / "model")
    assert limits_of(tmp_path / "model") == RunLimits()
    (tmp_path / "recipe.yaml").write_text("follow_links: true\ndata: x\n")
    assert limits_of(tmp_path / "model") == RunLimits(), "a recipe alone is no run"
    (tmp_path / "record.json").write_text("{}")
    (tmp_path / "recipe.yaml").write_text("nonsense: 1\n")
    assert limits_of(tmp_path / "model") == RunLimits()
    assert limits_of("timm:test_resnet") == RunLimits()


def test_values_in_memory_too(runs, pictures):
    with pytest.raises(InputError, match=r"large.png: .*--max-pixels"):
        graft.predict(runs / "small", [pictures / "new" / "day" / "large.png"])
    assert graft.predict(runs / "usual", [pictures / "new" / "day" / "large.png"])
