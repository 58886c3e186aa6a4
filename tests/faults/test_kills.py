"""Law: 24 trainings, killed at named points and at random moments, end with the same bytes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import graft
from tests.faults.killer import forked
from tests.faults.recipes import TRAININGS, kill_until_done
from tests.tiny import write_checkpoint, write_table


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAININGS)
def test_killed_and_resumed_equals_never_killed(name, tmp_path):
    outcome = kill_until_done(name, tmp_path / "run", n_kills=3, seed=0)
    assert outcome.n_kills >= 3
    assert outcome.n_identical == outcome.n_trainings >= 1


# --- the whole of `graft.train`, to the last file -------------------------------------------------


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kills")
    write_checkpoint(folder / "bert")
    write_table(folder / "things.csv", n_per_class=15)
    return folder


def train(place: Path, out: Path) -> graft.Run:
    return graft.train(
        place / "things.csv",
        model=place / "bert",
        method="head",
        epochs=2,
        batch_size=8,
        out=out,
        resume=True,
        precision="fp32",
        threads=1,
        cache=str(place / "stores"),
        checkpoint_every=1,
    )


def product(out: Path) -> dict[str, bytes]:
    """Return every file but the record, in which times stand, and the card that repeats them."""
    files = {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file()}
    times = ("record.json", "metrics.jsonl", "README.md", "report.html")
    return {name: data for name, data in files.items() if not name.endswith(times)}


@pytest.mark.slow
def test_killed_while_the_product_is_written(place, tmp_path):
    whole = train(place, tmp_path / "whole")
    expected = product(tmp_path / "whole")
    assert "model/head.safetensors" in expected and "predictions.csv" in expected
    out = tmp_path / "killed"
    for point in ("mid_epoch:2", "in_artifact", "before_record", "before_cleaning"):
        assert forked(lambda: train(place, out), point), point
        is_done = (out / "record.json").exists()
        assert is_done == (point == "before_cleaning")
    run = train(place, out)
    assert run.record.weights_sha256 == whole.record.weights_sha256
    assert product(out) == expected
    assert json.loads((out / "record.json").read_text())["n_train"] == whole.record.n_train
