"""Exact search against sorting all scores."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graft.retrieval import exact
from graft.retrieval.exact import gathered, top_k


def slow(vectors, queries, k, wanted=None):
    scores = queries.astype(np.float64) @ vectors.astype(np.float64).T
    if wanted is not None:
        scores[:, ~wanted] = -np.inf
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(scores, order, 1)


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 12), min_size=1, max_size=4).filter(sum),
    k=st.integers(1, 20),
    share=st.sampled_from([None, 0.0, 0.2, 0.7, 1.0]),
    block=st.sampled_from([1, 3, 7, 1000]),
    seed=st.integers(0, 10),
)
def test_equals_sorting_all_scores(sizes, k, share, block, seed):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(sum(sizes), 5)).astype(np.float32)
    queries = rng.normal(size=(3, 5)).astype(np.float32)
    wanted = None if share is None else rng.random(len(vectors)) < share
    segments = np.split(vectors, np.cumsum(sizes)[:-1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact, "BLOCK_ROWS", block)
        found = top_k(segments, queries, k, wanted=wanted)
    rows, scores = slow(vectors, queries, k, wanted)
    n = len(vectors) if wanted is None else int(wanted.sum())
    assert found.rows.shape == (3, k)
    there = min(k, n)
    np.testing.assert_array_equal(found.rows[:, :there], rows[:, :there])
    np.testing.assert_allclose(found.scores[:, :there], scores[:, :there], rtol=1e-6)
    assert (found.rows[:, there:] == -1).all()
    assert np.isneginf(found.scores[:, there:]).all()


def test_company_changes_no_score():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(500, 96)).astype(np.float32)
    queries = rng.normal(size=(64, 96)).astype(np.float32)
    together = top_k([vectors], queries, 10)
    alone = [top_k([vectors[:123], vectors[123:]], query[None], 10) for query in queries]
    np.testing.assert_array_equal(together.rows, np.concatenate([a.rows for a in alone]))
    np.testing.assert_array_equal(together.scores, np.concatenate([a.scores for a in alone]))


def test_equal_scores_are_in_the_order_of_rows():
    vectors = np.ones((12, 4), np.float32)
    assert top_k([vectors], vectors[:1], 5).rows.tolist() == [[0, 1, 2, 3, 4]]


def test_a_map_that_may_not_be_written(tmp_path):
    np.save(tmp_path / "x.npy", np.eye(4, dtype=np.float32))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert top_k([mapped], mapped[2:3], 1).rows.tolist() == [[2]]


def test_rows_are_gathered_over_segments():
    vectors = np.arange(20, dtype=np.float32).reshape(10, 2)
    rows = np.array([9, 0, 4, 5, 3])
    found = gathered([vectors[:4], vectors[4:4], vectors[4:]], rows)
    np.testing.assert_array_equal(found, vectors[rows])
