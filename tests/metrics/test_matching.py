"""Retrieval between pictures and captions, against the slow obvious loop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graft.data.tuples import Tuples
from graft.metrics import METRICS, VERIFICATION, find_metric, scorer_of
from graft.metrics.matching import NAMES, chance, matching_scorer, ranks


def scene(seed, n_images=7, n_texts=12, width=4):
    random = np.random.default_rng(seed)
    image_of = np.concatenate([np.arange(n_images), random.integers(0, n_images, n_texts)])
    pairs = np.stack([image_of, n_images + np.arange(len(image_of))], 1)
    vectors = random.standard_normal((n_images + len(image_of), width)).astype(np.float32)
    return Tuples(pairs), vectors, n_images


def slow(truth, vectors, n_images):
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    found = {}
    images, texts = range(n_images), range(n_images, len(unit))
    own = {(int(a), int(b)) for a, b in truth.members}
    for side, queries, searched in (("image_to_text", images, texts),
                                    ("text_to_image", texts, images)):  # fmt: skip
        first = []
        for q in queries:
            order = sorted(searched, key=lambda s: -float(unit[q] @ unit[s]))
            mine = [(q, s) in own or (s, q) in own for s in order]
            first.append(1 + mine.index(True))
        for k in (1, 5, 10):
            found[f"{side}_recall_at_{k}"] = np.mean([rank <= k for rank in first])
        found[f"{side}_mrr"] = np.mean([1 / rank for rank in first])
    return found


@pytest.mark.parametrize("seed", range(5))
def test_it_equals_the_slow_loop(seed):
    truth, vectors, n_images = scene(seed)
    found = matching_scorer(truth, vectors).scores()
    assert tuple(found) == NAMES
    assert (*NAMES, *VERIFICATION) == tuple(METRICS["matching"])
    for name, value in slow(truth, vectors, n_images).items():
        assert found[name] == pytest.approx(value), name


def test_a_model_that_gives_everything_one_vector_finds_nothing():
    truth, vectors, _ = scene(0)
    found = matching_scorer(truth, np.ones_like(vectors)).scores()
    assert found["image_to_text_recall_at_1"] == found["text_to_image_recall_at_1"] == 0


def test_equal_vectors_of_a_pair_are_found():
    truth = Tuples(np.stack([np.arange(4), 4 + np.arange(4)], 1))
    found = matching_scorer(truth, np.concatenate([np.eye(4), np.eye(4)])).scores()
    assert all(value == 1 for value in found.values())


def test_a_resample_takes_a_picture_with_its_captions():
    truth, vectors, n_images = scene(3)
    scorer = matching_scorer(truth, vectors)
    assert scorer.n_rows == n_images
    weights = np.zeros((1, n_images))
    weights[0, 2] = 5
    alone = scorer.weigh(weights)
    assert alone["image_to_text_mrr"] == pytest.approx(1 / ranks_of(truth, vectors, n_images)[2])


def ranks_of(truth, vectors, n_images):
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return ranks(unit[:n_images], unit[n_images:], truth.members - [[0, n_images]])


def test_vectors_that_are_not_finite_score_nan():
    truth, vectors, _ = scene(0)
    vectors[0, 0] = np.nan
    assert all(np.isnan(v) for v in matching_scorer(truth, vectors).scores().values())


@given(st.integers(1, 5), st.integers(5, 40), st.integers(1, 10))
def test_chance_is_what_random_orders_give(n_own, n_searched, at):
    exact = chance(n_own, n_searched, at)
    assert 0 < exact <= 1
    assert chance(n_own, n_searched, n_searched) == pytest.approx(1)
    assert exact >= min(at / n_searched, 1) - 1e-9


def test_names_resolve():
    assert scorer_of("matching") is matching_scorer
    assert find_metric("matching", "image_to_text_mrr") is matching_scorer
