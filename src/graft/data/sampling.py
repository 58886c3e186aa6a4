"""The order in which rows are visited: a pure function of data, seed and epoch.

There is no sampler with a state. Who knows (seed, epoch, step) knows the batch, so a resumed run
sees the same rows in the same order as one that was never interrupted.

Random numbers come from `numpy.random.SeedSequence([seed, epoch, tag])`: three words of 32 bits,
always three, with a tag per purpose, so that no two purposes share a stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from graft.errors import InputError

TAGS = {"rows": 1, "batches": 2, "split": 3, "validation": 4, "folds": 5}
"""purpose → third word of the seed. Never renumber: runs would no longer repeat."""

N_BATCHES_PER_WINDOW = 50
LARGEST_SEED = 2**32 - 1


def generator(
    seed: int, epoch: int, purpose: Literal["rows", "batches", "split", "validation", "folds"]
) -> np.random.Generator:
    """Return the random numbers of one purpose in one epoch.

    Raises:
        InputError: the seed is not between 0 and 2^32 - 1.
    """
    if not 0 <= seed <= LARGEST_SEED:
        raise InputError(f"seed is {seed}: pass a whole number from 0 to {LARGEST_SEED}")
    return np.random.default_rng(np.random.SeedSequence([seed, epoch, TAGS[purpose]]))


def batches(
    lengths: Sequence[int] | np.ndarray | None,
    n: int,
    batch_size: int,
    seed: int,
    epoch: int,
    *,
    drop_last: bool = False,
) -> list[np.ndarray]:
    """Return the batches of one epoch; every row is in exactly one of them.

    With lengths, rows of similar length share a batch, so little is padded: the permutation is
    cut into windows of 50 batches, each window is sorted by length and cut into batches, and the
    batches are shuffled. Rows still meet new neighbours each epoch.

    Args:
        lengths: (n,) length of each row in any unit, or None where all are alike.
        n: number of rows.
        batch_size: rows per batch; the one incomplete batch has fewer.
        seed: seed of the run.
        epoch: number of the epoch, from 0.
        drop_last: leave out the n mod batch_size rows that fill no batch; which ones they are is
            drawn anew each epoch, whatever their length.

    Returns:
        int64 arrays of row numbers, each of shape (batch_size,) or shorter.
    """
    assert batch_size >= 1 and n >= 0 and epoch >= 0
    rows = generator(seed, epoch, "rows").permutation(n).astype(np.int64)
    if drop_last:
        rows = rows[: n - n % batch_size]
    if lengths is not None:
        length_of = np.asarray(lengths)
        assert length_of.shape == (n,)
        window = N_BATCHES_PER_WINDOW * batch_size
        windows = [rows[at : at + window] for at in range(0, len(rows), window)]
        by_length = [w[np.argsort(length_of[w], kind="stable")] for w in windows]
        rows = np.concatenate(by_length) if by_length else rows
    cut = [rows[at : at + batch_size] for at in range(0, len(rows), batch_size)]
    if lengths is None:
        return cut
    order = generator(seed, epoch, "batches").permutation(len(cut))
    return [cut[i] for i in order]


def shares(batch: np.ndarray, n_processes: int) -> list[np.ndarray]:
    """Return the rows of one global batch for each process; together they are the batch.

    Every n-th row goes to the same process, so a batch sorted by length is shared out evenly. A
    share is empty where the batch has fewer rows than there are processes.
    """
    assert n_processes >= 1
    return [batch[rank::n_processes] for rank in range(n_processes)]
