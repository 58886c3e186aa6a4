"""Pictures against captions: the counts, the curve and its weights equal a slow loop."""

from __future__ import annotations

import numpy as np
import pytest

from graft.metrics.verification import roc, tar_at, threshold_at
from graft.metrics.verification_across import pairs_across
from graft.retrieval.threshold import calibrate_pairs


def drawn(n_pictures=12, seed=0, spread=0.7):
    rng = np.random.default_rng(seed)
    owner = np.sort(np.concatenate([np.arange(n_pictures), rng.integers(n_pictures, size=25)]))
    images = rng.normal(size=(n_pictures, 6))
    texts = images[owner] + spread * rng.normal(size=(len(owner), 6))
    images, texts = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (images, texts))
    return images.astype(np.float32), texts.astype(np.float32), owner


def slow(images, texts, owner, weights, threshold):
    """Accepted and all, impostors and genuine, pair by pair."""
    shares = []
    for kind in (False, True):
        accepted = every = 0.0
        for a, image in enumerate(images):
            for b, text in enumerate(texts):
                if (owner[b] == a) != kind:
                    continue
                weight = weights[a] if kind else weights[a] * weights[owner[b]]
                every += weight
                accepted += weight * (np.float32(image @ text) >= threshold - 1e-7)
        shares.append(accepted / every)
    return shares


@pytest.mark.parametrize("seed", [0, 1])
def test_the_curve_equals_a_slow_loop(seed):
    images, texts, owner = drawn(seed=seed)
    pairs = pairs_across(images, texts, owner)
    assert (pairs.n_genuine, pairs.n_impostors) == (len(texts), 11 * len(texts))
    assert pairs.n_items == 12 + len(texts)
    counts = np.random.default_rng(seed).multinomial(12, np.full(12, 1 / 12))
    for weights in (np.ones(12), counts):
        curve = roc(pairs, weights)
        for at in (0, 7, 40, len(curve.far) - 1):
            far, tar = slow(images, texts, owner, weights, curve.thresholds[at])
            assert curve.far[at] == pytest.approx(far)
            assert curve.tar[at] == pytest.approx(tar)


def test_the_threshold_keeps_its_share_on_other_pictures():
    limit = calibrate_pairs(pairs_across(*drawn(60, seed=3)), 0.05, source="x", n_resamples=50)
    assert limit.resampled == "pictures"
    assert limit.far <= 0.05
    for name in ("score", "far", "tar"):
        low, high = getattr(limit, f"{name}_low"), getattr(limit, f"{name}_high")
        assert low <= getattr(limit, name) <= high
        assert low < high
    images, texts, owner = drawn(60, seed=4)
    far, tar = slow(images, texts, owner, np.ones(60), limit.score)
    assert far < 0.08 and abs(tar - limit.tar) < 0.15


def test_of_many_pictures_some_are_drawn():
    images, texts, owner = drawn(40)
    whole, some = pairs_across(images, texts, owner), pairs_across(images, texts, owner, most=600)
    assert 300 < some.n_genuine + some.n_impostors < 900
    assert some.n_genuine == some.genuine.sum() < whole.n_genuine
    curve = roc(some)
    assert 0 < tar_at(curve, 0.1) <= 1 and np.isfinite(threshold_at(curve, 0.1))
