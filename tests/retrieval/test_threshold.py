"""Calibration: the share that is promised holds, and what cannot be promised is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from graft.errors import InputError
from graft.retrieval.index import Index
from graft.retrieval.manifest import between, read_manifest
from graft.retrieval.threshold import calibrate
from graft.retrieval.writing import add, build, rebuild, set_thresholds
from tests.retrieval.makers import ABOUT, batch, vectors


def items(n_classes, n, seed=0, spread=0.6):
    rng = np.random.default_rng(seed)
    labels = rng.integers(n_classes, size=n)
    centers = np.random.default_rng(n_classes).normal(size=(n_classes, 16))
    found = centers[labels] + spread * rng.normal(size=(n, 16))
    return found / np.linalg.norm(found, axis=1, keepdims=True), labels


@pytest.fixture(scope="module")
def threshold():
    return calibrate(*items(30, 300), 0.01, source="held-out", n_resamples=100)


def test_the_share_is_kept_on_the_pairs_at_hand(threshold):
    found, labels = items(30, 300)
    scores = (found.astype(np.float32) @ found.astype(np.float32).T)[np.triu_indices(300, 1)]
    genuine = (labels[:, None] == labels)[np.triu_indices(300, 1)]
    far = (scores[~genuine] >= threshold.score).mean()
    tar = (scores[genuine] >= threshold.score).mean()
    assert far <= 0.01
    assert threshold.far == pytest.approx(far, abs=1e-4)
    assert threshold.tar == pytest.approx(tar, abs=1e-3)
    assert (threshold.n_impostors, threshold.n_genuine) == ((~genuine).sum(), genuine.sum())
    assert threshold.resampled == "classes"


def test_intervals_hold_the_values(threshold):
    for name in ("score", "far", "tar"):
        low, high = getattr(threshold, f"{name}_low"), getattr(threshold, f"{name}_high")
        assert low <= getattr(threshold, name) <= high
        assert low < high


def test_other_items_of_the_same_classes_keep_about_the_share(threshold):
    found, labels = items(30, 300, seed=1)
    scores = (found @ found.T)[np.triu_indices(300, 1)]
    genuine = (labels[:, None] == labels)[np.triu_indices(300, 1)]
    assert (scores[~genuine] >= threshold.score).mean() < 0.02


def test_few_classes_are_not_drawn():
    assert calibrate(*items(4, 60), 0.05, n_resamples=20).resampled == "items"


@pytest.mark.parametrize(
    ("data", "far", "message"),
    [
        (items(3, 20), 0.001, r"unlike pairs, and --far 0.001 needs 1,000 or more: pass --cal"),
        (items(3, 20), 0.0, "--far is 0; pass a share between 0 and 1"),
        (items(3, 20), 1.0, "--far is 1; pass"),
        ((np.eye(16), np.arange(16)), 0.05, "no two held-out rows belong together"),
        ((np.ones((40, 4)), np.arange(40) % 4), 0.01, "have the highest score of all"),
    ],
)
def test_what_cannot_be_promised(data, far, message):
    with pytest.raises(InputError, match=message):
        calibrate(*data, far)


def test_it_is_kept_with_the_index_and_decides_what_is_known(tmp_path, threshold):
    build(tmp_path, batch(), ABOUT)
    limit = replace(threshold, score=0.9)
    set_thresholds(tmp_path, {between("", ""): limit})
    add(tmp_path, batch(20, 25), ABOUT)
    rebuild(tmp_path)
    assert read_manifest(tmp_path).threshold_of() == limit
    build(tmp_path, batch(), ABOUT, replacing=True)
    assert read_manifest(tmp_path).threshold_of() == limit
    with Index.open(tmp_path) as index:
        (hits,) = index.hits(vectors(3, 4), 20)
        assert [h.is_known for h in hits] == [h.score >= 0.9 for h in hits]
        assert hits[0].is_known and not hits[-1].is_known
    build(tmp_path, batch(), replace(ABOUT, model="b"), replacing=True)
    assert read_manifest(tmp_path).threshold_of() is None
