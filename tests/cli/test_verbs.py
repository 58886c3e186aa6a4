"""The command line as a user types it: subprocesses, exit codes, what is printed."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys

import pytest

from tests.tiny import write_checkpoint, write_table


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    write_checkpoint(folder / "bert")
    write_table(folder / "things.csv")
    return folder


def graft(place, *arguments, stdin=None, env=None):
    return subprocess.run(
        [sys.executable, "-m", "graft", *map(str, arguments)],
        cwd=place,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "GRAFT_CACHE": str(place / "cache"), "COLUMNS": "120", **(env or {})},
        check=False,
    )


def test_help_is_quick_and_names_every_verb(place):
    found = graft(place, "--help")
    assert found.returncode == 0
    for verb in ("train", "plan", "predict", "evaluate", "embed", "list"):
        assert verb in found.stdout


def test_the_package_of_the_command_line_runs_too(place):
    found = subprocess.run(
        [sys.executable, "-m", "graft.cli", "--help"], capture_output=True, timeout=60, check=True
    )
    assert b"train" in found.stdout


@pytest.mark.slow
@pytest.mark.timeout(600)  # nine processes, each of which imports torch
def test_each_verb_runs(place):
    trained = graft(place, "train", "things.csv", "--model", "bert", "--epochs", 1, "--out", "run")
    assert trained.returncode == 0, trained.stderr
    assert "before" in trained.stdout
    assert "after" in trained.stdout
    assert "run/model" in trained.stdout
    assert "Traceback" not in trained.stderr
    planned = graft(place, "plan", "things.csv", "--model", "bert", "--method", "unfreeze")
    assert "below block 1 of 2" in planned.stdout
    predicted = graft(place, "predict", "run", "things.csv")
    rows = list(csv.DictReader(io.StringIO(predicted.stdout)))
    assert len(rows) == 300
    assert list(rows[0]) == ["file", "row", "label", "animal", "colour", "number"]
    lines = graft(place, "predict", "run", "-", "--json", stdin="the cat\nblue\n").stdout
    expected = {"row", "label", "probabilities"}
    assert [set(json.loads(x)) for x in lines.splitlines()] == [expected] * 2
    again = graft(place, "plan", "--recipe", "run/recipe.yaml")
    assert again.returncode == 0, again.stderr
    assert "no frozen prefix" in again.stdout
    evaluated = graft(place, "evaluate", "run", "things.csv", "--json")
    assert json.loads(evaluated.stdout)["n_rows"] == 300
    between = graft(place, "interpolate", "run", "--alphas", "0,1", "--out", "between")
    assert "← best" in between.stdout, between.stderr
    assert (place / "between").is_dir()
    assert "probe" in graft(place, "list").stdout
    again = graft(place, "train", "things.csv", "--model", "bert", "--out", "run")
    assert again.returncode == 2
    assert "--overwrite" in again.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("train", "nowhere.csv"), "no such file"),
        (("train", "things.csv", "--method", "prob"), "probe"),
        (("train", "things.csv", "--methd", "probe"), "--method"),
        (("predict", "nowhere", "things.csv"), "no such folder"),
        (("list", "metods"), "methods"),
        (("interpolate", "nowhere"), "folder of a run"),
        (("interpolate", "nowhere", "--alphas", "a,b"), "with commas between them"),
    ],
)
def test_faults_exit_with_2_and_no_traceback(place, arguments, word):
    found = graft(place, *arguments)
    assert found.returncode == 2
    assert word in found.stdout + found.stderr
    assert "Traceback" not in found.stderr
