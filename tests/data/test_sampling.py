"""Batches: a partition of the rows, a pure function of seed and epoch."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graft.data.sampling import TAGS, batches, generator, shares
from graft.errors import InputError

sizes = st.integers(0, 300)
batch_sizes = st.integers(1, 40)
seeds = st.integers(0, 2**32 - 1)
epochs = st.integers(0, 1000)


def lengths_of(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 60, n)


@settings(max_examples=60, deadline=None)
@given(sizes, batch_sizes, seeds, epochs, st.booleans(), st.booleans())
def test_every_row_once(n, batch_size, seed, epoch, with_lengths, drop_last):
    lengths = lengths_of(n, 1) if with_lengths else None
    cut = batches(lengths, n, batch_size, seed, epoch, drop_last=drop_last)
    rows = np.concatenate(cut) if cut else np.zeros(0, dtype=np.int64)
    assert len(np.unique(rows)) == len(rows) == (n - n % batch_size if drop_last else n)
    assert set(rows.tolist()) <= set(range(n))
    assert all(batch.dtype == np.int64 for batch in cut)
    assert sorted(map(len, cut), reverse=True)[:-1] == [batch_size] * (len(cut) - 1)


@settings(max_examples=30, deadline=None)
@given(sizes, batch_sizes, seeds, epochs)
def test_pure_in_seed_and_epoch(n, batch_size, seed, epoch):
    lengths = lengths_of(n, 2)
    first = batches(lengths, n, batch_size, seed, epoch)
    np.random.default_rng(7).random(3)
    again = batches(lengths.tolist(), n, batch_size, seed, epoch)
    assert [b.tolist() for b in first] == [b.tolist() for b in again]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 100), st.integers(1, 9))
def test_shares_lose_nothing(n, n_processes):
    batch = np.random.default_rng(n).permutation(n)
    parts = shares(batch, n_processes)
    assert len(parts) == n_processes
    assert sorted(np.concatenate(parts).tolist()) == list(range(n))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_epochs_and_seeds_differ():
    orders = {
        tuple(np.concatenate(batches(None, 50, 8, seed, epoch)).tolist())
        for seed in range(5)
        for epoch in range(5)
    }
    assert len(orders) == 25


def test_sorting_by_length_saves_padding_and_keeps_chance():
    n, size = 8_000, 16
    lengths = lengths_of(n, 3)

    def padded(cut: list[np.ndarray]) -> float:
        return sum(len(b) * lengths[b].max() for b in cut) / lengths.sum()

    plain, bucketed = batches(None, n, size, 0, 0), batches(lengths, n, size, 0, 0)
    assert padded(plain) > 1.7
    assert padded(bucketed) < 1.06
    means = np.array([lengths[b].mean() for b in bucketed])
    assert abs(np.corrcoef(means[:-1], means[1:])[0, 1]) < 0.15
    neighbours = [
        {int(row) for b in batches(lengths, n, size, 0, epoch) if 0 in b for row in b}
        for epoch in (0, 1)
    ]
    assert len(neighbours[0] & neighbours[1]) < size / 2


def test_dropped_rows_change_and_are_not_the_long_ones():
    lengths = np.arange(35)
    dropped = [
        set(range(35))
        - set(np.concatenate(batches(lengths, 35, 16, 0, e, drop_last=True)).tolist())
        for e in range(20)
    ]
    assert all(len(rows) == 3 for rows in dropped)
    assert len(set().union(*dropped)) > 20


def test_the_order_is_written_down():
    """The golden order: it may not change, or no earlier run could be repeated."""
    cut = batches(None, 10, 4, seed=7, epoch=2)
    assert [b.tolist() for b in cut] == GOLDEN_ORDER
    code = (
        "from graft.data.sampling import batches; "
        "print([b.tolist() for b in batches(None, 10, 4, seed=7, epoch=2)])"
    )
    for hash_seed in ("0", "4711"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True, text=True, check=True,
            env={"PYTHONHASHSEED": hash_seed, "PYTHONPATH": ":".join(sys.path)},
        )  # fmt: skip
        assert done.stdout.strip() == str(GOLDEN_ORDER)


GOLDEN_ORDER = [[2, 4, 1, 6], [0, 5, 3, 9], [8, 7]]


def test_purposes_do_not_share_a_stream():
    drawn = {generator(0, 0, purpose).integers(2**60) for purpose in TAGS}
    assert len(drawn) == len(TAGS) == len(set(TAGS.values()))


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seeds_have_a_range(seed: int):
    with pytest.raises(InputError, match="pass a whole number from 0 to 4294967295"):
        batches(None, 4, 2, seed, 0)
