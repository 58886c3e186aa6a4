"""Groups of rows: the same shape whoever asks, in canonical order, and hardly a place wasted."""

import numpy as np
import pytest

from graft.engine.row_groups import FEWEST_ROWS, GROUP, GROUP_TOKENS, RowGroups, even_size


class Texts:
    """Rows that have lengths, in buckets of 2."""

    def __init__(self, lengths):
        self.lengths = np.asarray(lengths)

    def __len__(self):
        return len(self.lengths)

    def bucket(self, length):
        return -(-length // 2) * 2


class Pictures(Texts):
    """Rows without a length."""

    def __init__(self, n):
        self.lengths, self.n = None, n

    def __len__(self):
        return self.n


def texts(n, seed=0):
    return Texts(np.random.default_rng(seed).gamma(4, 5, n).astype(int) + 3)


@pytest.mark.parametrize("stream", [texts(1), texts(57), texts(900), Pictures(1), Pictures(244)])
def test_every_row_is_in_one_group_and_fits(stream):
    groups = RowGroups(stream).of(np.arange(len(stream)))
    assert sorted(np.concatenate([g.rows for g in groups]).tolist()) == list(range(len(stream)))
    for group in groups:
        assert 1 <= len(group.rows) <= group.size == len(group.padded)
        if stream.lengths is not None:
            assert {stream.bucket(n) for n in stream.lengths[group.rows]} == {group.length}
    keys = [(g.length or 0, g.rows[0]) for g in groups]
    assert keys == sorted(keys)


@pytest.mark.parametrize("stream", [texts(300), Pictures(300)])
def test_the_shape_does_not_depend_on_who_is_asked_for_together(stream):
    groups = RowGroups(stream)
    shape = {r: (g.size, g.length) for g in groups.of(np.arange(300)) for r in g.rows.tolist()}
    rng = np.random.default_rng(1)
    for n in (1, 2, 30, 200):
        some = rng.integers(0, 300, n)
        for group in groups.of(some):
            assert all(shape[r] == (group.size, group.length) for r in group.rows.tolist())


@pytest.mark.parametrize("n", [300, 2000])
def test_hardly_a_place_is_filled_up(n):
    stream = texts(n)
    groups = RowGroups(stream).of(np.arange(n))
    padded = sum(stream.bucket(length) for length in stream.lengths)
    assert padded <= sum(g.units for g in groups) < 1.03 * padded
    of_tokens = [g.units for g in groups if g.length * FEWEST_ROWS < GROUP_TOKENS]
    assert max(of_tokens) <= 1.25 * GROUP_TOKENS


@pytest.mark.parametrize("n", range(1, 400, 7))
def test_an_even_size_is_near_and_wastes_least(n):
    size = even_size(n, GROUP)
    assert size == n if n <= GROUP else 0.75 * GROUP <= size <= 1.25 * GROUP
    assert -n % size <= -n % GROUP
