"""Bags of words: what a vector depends on, and what not."""

from __future__ import annotations

import numpy as np

from graft.comparison.words import WIDTH, hashed_words


def test_order_and_case_do_not_matter_and_length_is_one():
    found = hashed_words(["The cat, the dog", "dog the THE cat", "a bird", ""])
    assert found.shape == (4, WIDTH)
    np.testing.assert_array_equal(found[0], found[1])
    assert abs(found[0] @ found[2]) < 1e-6
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), [1, 1, 1, 0], atol=1e-6)


def test_rare_words_weigh_more_and_repeated_ones_less_than_their_number():
    found = hashed_words(["often rare", "often", "often", "word word word x"])
    often, rare = sorted(np.abs(found[0][found[0] != 0]))
    assert rare > 1.5 * often
    one, three = sorted(np.abs(found[3][found[3] != 0]))
    assert 1.5 * one < three < 3 * one


def test_words_that_share_a_bin_do_not_add_up_on_average():
    texts = [" ".join(f"w{i}" for i in range(start, start + 60)) for start in range(0, 6000, 60)]
    found = hashed_words(texts, width=16)
    cosines = (found @ found.T)[~np.eye(len(texts), dtype=bool)]
    assert abs(cosines.mean()) < 0.1
