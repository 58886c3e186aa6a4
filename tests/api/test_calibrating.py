"""Thresholds from pairs: those of a run's validation rows, and those of `--calibrate`."""

from __future__ import annotations

import csv

import numpy as np
import pytest

import graft
from graft.errors import InputError
from tests.tiny import FILLERS, WORDS, write_checkpoint

HEADERS = {
    "pairs": ("anchor", "positive"),
    "binary": ("sentence1", "sentence2", "label"),
    "triplets": ("anchor", "positive", "negative"),
    "judged": ("query", "document", "relevance"),
    "scored": ("sentence1", "sentence2", "score"),
}
N = 80


def text(kind: str, i: int) -> str:
    return f"{FILLERS[i % 10]} {WORDS[kind][i % 5]} number {i}"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("place")
    write_checkpoint(folder / "bert")
    kinds = list(WORDS)
    for name, header in HEADERS.items():
        rows = []
        for i in range(N):
            own, other = kinds[i % 3], kinds[(i + 1) % 3]
            alike = i % 2
            like, unlike = text(own, 1000 + i), text(other, 2000 + i)
            second = {"pairs": like, "triplets": like}.get(name, like if alike else unlike)
            more = {"triplets": (unlike,), "pairs": (), "scored": (alike + 0.5 * (i % 3),)}
            rows.append((text(own, i), second, *more.get(name, (alike,))))
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([header, *rows])
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "cache"))


def calibrated(place, tmp_path, path):
    folder = tmp_path / "index"
    return graft.index(place / "bert", ["the cat"], folder=folder, far=0.1, calibrate=str(path))


@pytest.mark.parametrize("name", ["pairs", "binary"])
def test_validation_pairs_are_asked_as_the_metrics_of_the_run_ask_them(place, tmp_path, name):
    run = graft.train(
        place / f"{name}.csv", model=str(place / "bert"), method="full", epochs=1, batch_size=16,
        validation=0.3, test=0, out=tmp_path / "run",
    )  # fmt: skip
    graft.index(run.folder, ["the cat", "a red one"])
    limit = graft.index(run.folder, far=0.1).threshold
    asked = run.record.pairs
    assert run.record.judged_on == "validation"
    assert limit.source == "validation rows of the run"
    assert (limit.n_genuine, limit.n_impostors) == (asked.n_alike, asked.n_unlike)
    assert limit.resampled == asked.resampled
    assert 0 < limit.far <= 0.1 and limit.score_low <= limit.score <= limit.score_high
    (answer,) = graft.search(run.folder, "the cat").answers
    assert answer.hits[0].is_known


@pytest.mark.parametrize(
    ("name", "n_alike", "n_unlike"),
    [
        ("pairs", N, N * (N - 1)),
        ("binary", N // 2, N // 2),
        ("triplets", N, N),
        ("judged", N // 2, N // 2 * (N // 2 - 1)),
    ],
)
def test_pairs_of_a_file(place, tmp_path, name, n_alike, n_unlike):
    found = calibrated(place, tmp_path, place / f"{name}.csv").threshold
    assert (found.n_genuine, found.n_impostors) == (n_alike, n_unlike)
    assert found.resampled == "groups"


def test_the_share_is_kept_on_the_pairs_at_hand(place, tmp_path):
    limit = calibrated(place, tmp_path, place / "binary.csv").threshold
    with (place / "binary.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    one, other = (
        graft.embed(str(place / "bert"), [r[name] for r in rows]).features
        for name in HEADERS["binary"][:2]
    )
    cosines = (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    alike = np.array([r["label"] == "1" for r in rows])
    is_accepted = cosines >= limit.score - 1e-6
    assert limit.far == pytest.approx(is_accepted[~alike].mean()) and limit.far <= 0.1
    assert limit.tar == pytest.approx(is_accepted[alike].mean())


def test_scores_do_not_say_what_belongs_together(place, tmp_path):
    with pytest.raises(InputError, match="`score` says how alike a pair is, and not whether"):
        calibrated(place, tmp_path, place / "scored.csv")


def test_pairs_that_cannot_be_used_are_left_out(place, tmp_path):
    lines = (place / "binary.csv").read_text(encoding="utf-8").splitlines()
    lines[1:3] = [lines[1].rpartition(",")[0] + ",", "," + lines[2].partition(",")[2]]
    (tmp_path / "some.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = calibrated(place, tmp_path, tmp_path / "some.csv")
    assert found.threshold.n_genuine + found.threshold.n_impostors == N - 2
