"""Reproducibility: the same command gives the same bytes, wherever and however often it is run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import graft
from graft.api.provenance import environment
from graft.api.rerunning import differences
from graft.cli import main
from graft.engine.settings import Listener
from graft.errors import DataError, ModelError, NotRepeated
from graft.serial import to_json
from tests.conftest import ROOT
from tests.tiny import write_checkpoint, write_table


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("again")
    write_checkpoint(folder / "bert")
    write_table(folder / "things.csv", n_per_class=20)
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "cache"))


def train(place, out, **options):
    asked = {"model": place / "bert", "method": "head", "epochs": 1, "precision": "fp32"}
    return graft.train(place / "things.csv", out=out, **{**asked, **options})


def test_a_run_repeats_itself_and_says_when_it_does_not(place, tmp_path, capsys):
    first = train(place, tmp_path / "a")
    found = graft.rerun(tmp_path / "a", out=tmp_path / "b")
    assert found.again.record.weights_sha256 == first.record.weights_sha256
    assert found.again.folder == tmp_path / "b"
    moved = shutil.copy(place / "things.csv", tmp_path / "moved.csv")
    graft.rerun(tmp_path / "a", data=moved, out=tmp_path / "e")
    # a record that tells of other weights, made with another torch
    path = tmp_path / "a" / "record.json"
    record = json.loads(path.read_text())
    record["weights_sha256"] = "0" * 64
    record["environment"]["torch"] = "1.0"
    path.write_text(json.dumps(record))
    with pytest.raises(
        NotRepeated, match=r"other weights came out; mend what differs: torch 1\.0, now "
    ) as e:
        graft.rerun(tmp_path / "a", out=tmp_path / "c")
    assert e.value.exit_code == 1 and len(str(e.value)) <= 200
    with pytest.raises(SystemExit) as end:
        main(["rerun", str(tmp_path / "a"), "--out", str(tmp_path / "d")])
    assert end.value.code == 1
    assert "other weights came out" in capsys.readouterr().err
    with pytest.raises(ModelError, match="finished run"):
        graft.rerun(place)


def halt(*_):
    raise KeyboardInterrupt


def test_relative_paths_of_a_recipe_are_found_from_anywhere(place, tmp_path, monkeypatch):
    project = tmp_path / "project"
    project.mkdir()
    shutil.copytree(place / "bert", project / "bert")
    shutil.copy(place / "things.csv", project / "things.csv")
    monkeypatch.chdir(project)
    asked = {"model": "bert", "method": "head", "epochs": 1, "precision": "fp32"}
    whole = graft.train("things.csv", out="runs/whole", **asked)
    with pytest.raises(KeyboardInterrupt):
        graft.train("things.csv", out="runs/part", listener=Listener(on_phase=halt), **asked)
    with pytest.raises(ModelError, match="the run is not finished; pass --resume to graft train"):
        graft.predict("runs/part", ["a thing"])
    moved = project.rename(tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    resumed = graft.train(out="moved/runs/part", resume=True)
    assert resumed.record.weights_sha256 == whole.record.weights_sha256
    again = graft.rerun(moved / "runs" / "whole", out="again").again
    assert again.record.weights_sha256 == whole.record.weights_sha256
    # the repetition names what it was made of, and can be repeated from here in its turn
    monkeypatch.chdir(place)
    third = graft.rerun(tmp_path / "again", out=tmp_path / "other" / "third").again
    assert third.record.weights_sha256 == whole.record.weights_sha256
    # what is named now is looked for where it is named
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"things\.csv"):
        graft.rerun(moved / "runs" / "whole", data="things.csv", out="third")


def test_what_differs_between_two_runs(place, tmp_path):
    import dataclasses

    one = train(place, tmp_path / "a").record
    other = dataclasses.replace(
        one, data_hash="x", environment={**one.environment, "threads": "64", "git": "other"}
    )
    assert differences(one, one) == ()
    assert differences(one, other) == ("data", f"threads {one.environment['threads']}, now 64")


def test_the_environment_holds_what_bits_depend_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = environment()
    assert {"python", "machine", "processor", "threads", "torch", "numpy"} <= found.keys()
    assert "git" not in found
    (tmp_path / ".git" / "refs" / "heads").mkdir(parents=True)
    (tmp_path / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    assert environment()["git"] == "no commit yet"
    (tmp_path / ".git" / "packed-refs").write_text("# pack\nabc123 refs/heads/main\n")
    assert environment()["git"] == "abc123"
    (tmp_path / ".git" / "refs" / "heads" / "main").write_text("def456\n")
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert environment()["git"] == "def456"


SURROUNDINGS: dict[str, dict[str, str]] = {
    "a hash seed": {"PYTHONHASHSEED": "17"},
    "all that may differ": {
        "PYTHONHASHSEED": "99",
        "TZ": "Pacific/Kiritimati",
        "LC_ALL": "de_DE.UTF-8",
        "COLUMNS": "20",
    },
}


@pytest.mark.slow
def test_fresh_processes_give_the_same_bytes_whatever_surrounds_them(place, tmp_path):
    """Other hash seeds, time zones, locales, masks, readers and intervals change no byte."""
    products = []
    for i, (name, more) in enumerate(SURROUNDINGS.items()):
        out = tmp_path / str(i)
        odd = ["--checkpoint-every", "1", "--workers", "2"] if i else ["--workers", "0"]
        command = [sys.executable, "-m", "graft", "train", str(place / "things.csv"), *odd]
        command += ["--model", str(place / "bert"), "--method", "unfreeze", "--epochs", "1"]
        command += ["--out", str(out), "--quiet", "--precision", "fp32", "--threads", "1"]
        own = {"PYTHONPATH": str(ROOT / "src"), "GRAFT_CACHE": str(tmp_path / f"cache{i}")}
        done = subprocess.run(
            command,
            env={**os.environ, **own, **more},
            umask=0o077 if i else 0o022,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, (name, done.stderr)
        products.append((sha256_of(out), (out / "predictions.csv").read_bytes()))
    assert products[0] == products[1]


def sha256_of(out: Path) -> str:
    return json.loads((out / "record.json").read_text())["weights_sha256"]


@pytest.mark.slow
@pytest.mark.timeout(900)  # two threads where others want the second core are many times slower
def test_another_number_of_threads_moves_no_metric_by_half_a_point(tmp_path):
    """Bits may differ then; metrics and the ranking of methods may not."""
    lines = (ROOT / "examples" / "tickets.csv").read_text(encoding="utf-8").splitlines()
    data = tmp_path / "some.csv"
    data.write_text("\n".join(lines[:1] + lines[1::3]), encoding="utf-8")
    accuracy: dict[int, dict[str, float]] = {}
    for threads in (1, 2):
        for method in ("probe", "last:1"):
            run = graft.train(
                data,
                method=method,
                threads=threads,
                precision="fp32",
                epochs=None if method == "probe" else 2,
                out=tmp_path / f"{method}-{threads}".replace(":", ""),
            )
            assert run.record.environment["threads"] == str(threads)
            accuracy.setdefault(threads, {})[method] = run.metrics["accuracy"]
    assert all(abs(accuracy[1][m] - accuracy[2][m]) <= 0.005 for m in accuracy[1])
    assert sorted(accuracy[1], key=accuracy[1].get) == sorted(accuracy[2], key=accuracy[2].get)


def test_a_record_with_a_commit_is_still_a_record(place, tmp_path):
    run = train(place, tmp_path / "a")
    assert to_json(graft.load(tmp_path / "a").record) == to_json(run.record)
