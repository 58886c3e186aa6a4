"""`graft rank` as a user types it: the table, the sentence, JSON, exit codes."""

from __future__ import annotations

import json

import pytest

from graft.selection.ranking import Ranking
from graft.serial import from_json
from tests.cli.test_verbs import graft
from tests.tiny import write_checkpoint, write_table

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    for n_layers in (1, 2):
        write_checkpoint(folder / "models" / f"bert{n_layers}", n_layers=n_layers)
    (folder / "models" / "empty").mkdir()
    write_table(folder / "things.csv", n_per_class=30)
    return folder


def test_a_table_what_it_is_sorted_by_and_what_to_take(place):
    found = graft(place, "rank", "things.csv", "--models", "models", "--out", "out")
    assert found.returncode == 0, found.stderr
    assert found.stdout.index("sorted by accuracy") > found.stdout.index("bert1")
    for word in ("behind the best", "kNN", "LogME", "H-score", "weights", "bags of words"):
        assert word in found.stdout
    assert "5-fold cross-validation on 63 training rows, 3 classes" in found.stdout
    assert "start from  models/bert" in found.stdout
    assert "not ranked: empty: no config.json" in found.stderr
    assert "know little about your data" in found.stderr
    written = from_json(Ranking, (place / "out" / "rank.json").read_text())
    assert written.best.model in found.stdout
    narrow = graft(place, "rank", "things.csv", "--models", "models", env={"COLUMNS": "60"})
    assert max(map(len, narrow.stdout.split("sorted by")[0].splitlines())) <= 60


def test_for_machines_and_for_scripts(place):
    (place / "list.txt").write_text("models/bert1  # small\n")
    found = graft(place, "rank", "things.csv", "--models", "list.txt", "--json")
    assert json.loads(found.stdout)["models"][0]["model"] == "models/bert1"
    assert from_json(Ranking, found.stdout).metric == "accuracy"
    quiet = graft(place, "rank", "things.csv", "--models", "list.txt", "--quiet")
    assert quiet.stdout == "models/bert1\n"
    assert "warning" not in quiet.stderr


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("things.csv", "--models", "models/empty"), "it is empty"),
        (("things.csv", "--models", "timm:no_such"), "no_such"),
        (("nowhere.csv", "--models", "models"), "no such file"),
        (("things.csv", "--models", "nowhere.txt"), "nowhere.txt"),
        (("things.csv",), "--models"),
        (("--models", "models"), "no data"),
    ],
)
def test_faults_exit_with_2_and_no_traceback(place, arguments, word):
    found = graft(place, "rank", *arguments)
    assert found.returncode == 2 or (word == "--models" and found.returncode)
    assert word in found.stdout + found.stderr
    assert "Traceback" not in found.stderr
