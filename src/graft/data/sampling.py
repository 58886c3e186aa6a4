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

TAGS = {"rows": 1, "batches": 2, "split": 3, "validation": 4, "folds": 5, "classes": 6}
"""purpose → third word of the seed. Never renumber: runs would no longer repeat."""

N_BATCHES_PER_WINDOW = 50
N_TRIED = 65
LARGEST_SEED = 2**32 - 1


def generator(
    seed: int,
    epoch: int,
    purpose: Literal["rows", "batches", "split", "validation", "folds", "classes"],
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


def class_batches(
    labels: np.ndarray, batch_size: int, n_per_class: int, seed: int, epoch: int
) -> list[np.ndarray]:
    """Return the batches of one epoch: several items of each class in a batch, every item once.

    The items of a class are shuffled and cut into hands of `n_per_class`; hands of one class are
    spread over the epoch, and a batch takes no class twice while others are left. The last hand of
    a class may be smaller: a class with one item has nothing to be near to, and only serves others.

    Args:
        labels: (N,) class numbers.
        batch_size: about so many rows a batch: whole hands, of two classes at least.
        n_per_class: K of "P classes × K items" (Hermans et al. 2017, section 2).

    Returns:
        As many batches each epoch.
    """
    random = generator(seed, epoch, "classes")
    hands, owners, places = [], [], []
    for label in np.unique(labels).tolist():
        rows = random.permutation(np.flatnonzero(labels == label))
        own = [rows[i : i + n_per_class] for i in range(0, len(rows), n_per_class)]
        hands += own
        owners += [label] * len(own)
        places.append((np.arange(len(own)) + random.random()) / len(own))
    order = np.argsort(np.concatenate(places), kind="stable") if places else np.zeros(0, np.int64)
    n_hands = max(2, batch_size // n_per_class)
    keys = [[label] for label in owners]
    dealt = deal(order.tolist(), keys, n_hands, leave_out=False)
    return [np.concatenate([hands[i] for i in batch]).astype(np.int64) for batch in dealt]


def tuple_batches(
    members: np.ndarray, lengths: np.ndarray | None, batch_size: int, seed: int, epoch: int
) -> list[np.ndarray]:
    """Return the batches of one epoch of pairs or triplets: no item twice in a batch.

    An item that came twice would be a negative of its own positive. What fits into no batch is
    left out for this epoch.

    Args:
        members: (T, R) items of each tuple.
        lengths: (T,) by which tuples of similar length share a batch, or None.
        batch_size: tuples a batch.

    Returns:
        ⌈T / batch_size⌉ arrays of tuple numbers.
    """
    drawn = batches(lengths, len(members), batch_size, seed, epoch)
    order = [i for batch in drawn for i in batch.tolist()]
    keys = [list(dict.fromkeys(row)) for row in members.tolist()]
    return [np.asarray(batch, np.int64) for batch in deal(order, keys, batch_size)]


def deal(
    order: Sequence[int],
    keys: Sequence[Sequence[int]],
    size: int,
    *,
    leave_out: bool = True,
) -> list[list[int]]:
    """Deal units to ⌈n / size⌉ batches in order, no key twice in a batch.

    A unit that its own batch has no place for goes to one of the next 64 that has.

    Args:
        order: the n units.
        keys: of each unit.
        size: units a batch.
        leave_out: leave out what fits nowhere; else it goes where there is room.
    """
    n_batches = -(-len(order) // size)
    dealt: list[list[int]] = [[] for _ in range(n_batches)]
    taken: list[set[int]] = [set() for _ in range(n_batches)]
    waiting: list[tuple[int, int]] = []
    for place, unit in enumerate(order):
        if not _put(dealt, taken, place // size, unit, keys[unit], size):
            waiting.append((place // size, unit))
    for own, unit in waiting:
        near = ((own + step) % n_batches for step in range(1, min(N_TRIED, n_batches)))
        if not any(_put(dealt, taken, b, unit, keys[unit], size) for b in near) and not leave_out:
            roomy = min(range(n_batches), key=lambda b: len(dealt[b]))
            dealt[roomy].append(unit)
    return [batch for batch in dealt if batch]


def _put(
    dealt: list[list[int]],
    taken: list[set[int]],
    batch: int,
    unit: int,
    keys: Sequence[int],
    size: int,
) -> bool:
    if len(dealt[batch]) >= size or not taken[batch].isdisjoint(keys):
        return False
    dealt[batch].append(unit)
    taken[batch].update(keys)
    return True
