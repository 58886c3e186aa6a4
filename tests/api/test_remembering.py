"""What the network could do before, asked again after every epoch."""

from __future__ import annotations

import csv
import json

import pytest

import graft
from graft.errors import GraftError
from tests.tiny import WORDS, write_checkpoint, write_table

LEARNS = {"method": "full", "epochs": 20, "lr": 3e-3}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Hold a run that knows kinds of words, and a table of another question: long or short."""
    folder = tmp_path_factory.mktemp("place")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAFT_CACHE", str(folder / "cache"))
        write_checkpoint(folder / "bert")
        write_table(folder / "things.csv", n_per_class=60)
        lines = (folder / "things.csv").read_text(encoding="utf-8").splitlines()[1:]
        with (folder / "lengths.csv").open("w", newline="", encoding="utf-8") as file:
            write = csv.writer(file)
            write.writerow(("text", "label"))
            texts = [line.rpartition(",")[0] for line in lines]
            write.writerows((t, "long" if len(t.split()) > 4 else "short") for t in texts)
        graft.train(folder / "things.csv", model=str(folder / "bert"), out=folder / "run", **LEARNS)
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "cache"))


def train(place, out, **options):
    options = {"model": str(place / "run"), "remember": str(place / "things.csv"), **options}
    return graft.train(place / "lengths.csv", out=out, **options)


def test_what_a_run_could_do_is_forgotten_before_our_eyes(place, tmp_path):
    run = train(place, tmp_path / "a", **{**LEARNS, "epochs": 5})
    kept = run.record.remembered
    assert (kept.head, kept.metric, kept.n_rows) == ("its own head", "accuracy", 90)
    assert kept.before > 0.95 > 0.9 > kept.after
    assert kept.anew > kept.after + 0.05, "the features have moved more than they have lost"
    epochs = [e.remembered for phase in run.record.phases for e in phase.epochs]
    assert epochs[-1] == kept.after
    lines = (tmp_path / "a" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["remembered"] for line in lines] == epochs
    page = (tmp_path / "a" / "report.html").read_text(encoding="utf-8")
    assert "What is remembered" in page and "own head, which stays" in page


def test_measuring_changes_no_weight(place, tmp_path):
    options = {**LEARNS, "epochs": 2}
    watched = train(place, tmp_path / "a", **options)
    plain = train(place, tmp_path / "b", remember=None, **options)
    assert watched.record.weights_sha256 == plain.record.weights_sha256
    assert plain.record.remembered is None


def test_a_network_without_a_head_is_asked_by_a_probe(place, tmp_path):
    run = train(place, tmp_path / "a", model=str(place / "bert"), **{**LEARNS, "epochs": 2})
    kept = run.record.remembered
    assert kept.head == "a probe"
    assert 1 / len(WORDS) < kept.before <= 1 and 0 < kept.after <= 1 and 0 < kept.anew <= 1


def test_features_that_stand_still_forget_nothing(place, tmp_path):
    run = train(place, tmp_path / "a", method="head", epochs=2)
    kept = run.record.remembered
    [phase] = run.record.phases
    assert {kept.before, kept.after, *(e.remembered for e in phase.epochs)} == {kept.before}
    solved = train(place, tmp_path / "b", method="probe")
    assert solved.record.remembered.after == kept.before


def test_several_labels_and_numbers_are_remembered_too(place, tmp_path):
    lines = (place / "things.csv").read_text(encoding="utf-8").splitlines()[1:]
    rows = [line.rpartition(",") for line in lines]
    tables = {
        "several": [f"{t},{y}" if i < 5 else f"{t},{y};x" for i, (t, _, y) in enumerate(rows)],
        "values": [f"{t},{sorted(WORDS).index(y) + len(t) / 100}" for t, _, y in rows],
    }
    for name, text in tables.items():
        (tmp_path / f"{name}.csv").write_text("\n".join(["text,label", *text]), encoding="utf-8")
        options = {"remember": str(tmp_path / f"{name}.csv"), "method": "full", "epochs": 1}
        kept = train(place, tmp_path / name, **options).record.remembered
        assert kept.metric == {"several": "micro_f1", "values": "r2"}[name]
        assert kept.before == kept.before and kept.head == "a probe"


def test_a_stopped_run_goes_on_with_the_same_numbers(place, tmp_path, monkeypatch):
    from graft.api import remembering
    from graft.errors import Stopped

    options = {**LEARNS, "epochs": 4}
    whole = train(place, tmp_path / "a", **options)
    score, n_asked = remembering.Remembered._score, []

    def stops(self, head, model):
        n_asked.append(1)
        if len(n_asked) == 3:
            raise Stopped(15, "epoch 2")
        return score(self, head, model)

    with monkeypatch.context() as patch:
        patch.setattr(remembering.Remembered, "_score", stops)
        with pytest.raises(Stopped):
            train(place, tmp_path / "b", **options)
    again = train(place, tmp_path / "b", resume=True, **options)
    assert again.record.weights_sha256 == whole.record.weights_sha256
    assert again.record.remembered == whole.record.remembered
    seen = [[e.remembered for e in r.record.phases[0].epochs] for r in (whole, again)]
    assert seen[0] == seen[1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"remember": "nowhere.csv"}, "nowhere.csv"),
        ({"method": "scratch"}, "begins with random weights"),
        ({"method": "probe", "at": "any"}, "trains no body"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(place, tmp_path, options, said):
    with pytest.raises(GraftError, match=said) as caught:
        train(place, tmp_path / "a", **{"method": "full", **options})
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "a").exists()
