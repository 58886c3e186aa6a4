"""The prefix: from examples to what crosses the cut, computed or read back, always the same bits.

Rows are computed in groups of a fixed shape (`row_groups.py`). So what comes out for a row depends
on that row and its stream alone, not on the batch it is wanted for, on the order of an epoch, on
the number of processes or on where a store was left half-written: cached equals uncached bit for
bit, by construction.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from graft.batch import Batch
from graft.engine.ahead import Ahead
from graft.engine.replay import Replay, Run, Tap, capture, evaluating
from graft.engine.row_groups import RULE, RowGroup, RowGroups
from graft.engine.store import RowStore
from graft.engine.views import items, n_numbers, places
from graft.errors import StorageError
from graft.tasks.task import Stream

OnRows = Callable[[int, int], None]
"""Be told how far a pass over the rows has come: done, and in all."""

FORMAT = "3"


@dataclass
class Prefix:
    """Give the state of any rows of one stream at one cut.

    Args:
        model: weights final below the cut.
        replay: how to capture and to run on.
        run: runs the bare model on a batch of the stream.
        stream: the examples.
        store: where states lie, if they are stored.
    """

    model: nn.Module
    replay: Replay
    run: Run
    stream: Stream
    store: RowStore | None = None
    n_computed: int = 0

    def __post_init__(self) -> None:
        self.items = items(self.stream)
        self.groups = RowGroups(self.items)

    def batch(
        self, rows: np.ndarray, beside: Sequence[np.ndarray] = (), *, length: int | None = None
    ) -> tuple[list[Tensor], Batch]:
        """Return the state of some rows, and their batch without the inputs nobody reads.

        Args:
            beside: rows that each process takes at this time; where parameters are sharded all
                must run the network equally often.
            length: to which to pad; None for that of the longest row.
        """
        batch = self._collate(rows, length)
        if self.replay.has_shared:
            for some in beside:
                self.replay.learn(self.model, self._collate(some, length), self.run)
        own = places(self.stream, rows)
        if self.store is not None and self.store.is_complete:
            values = self.store.read(own)
        else:
            values = self.compute(own, [places(self.stream, some) for some in beside])
        state = [
            collate(leaf, tap.ragged, _sizes(tap, batch.length)).to(self._device)
            for leaf, tap in zip(values, self.replay.taps, strict=True)
        ]
        return state, batch

    def vectors(self) -> np.ndarray:
        """Return (N, D) of the first tap, all views of all items; memory-mapped where stored."""
        n = n_numbers(self.items)
        if self.store is not None and self.store.is_complete:
            return self.store.array(0).reshape(n, -1)
        tensors = self.compute(np.arange(n))[0]
        return torch.stack(tensors).float().cpu().numpy().reshape(n, -1)

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    def _collate(self, rows: np.ndarray, length: int | None = None) -> Batch:
        if self.stream.lengths is not None:
            longest = length or int(self.stream.lengths[rows].max())
            length = self.stream.bucket(longest) if self.replay.pads_to_bucket else longest
        batch = self.stream.batch(rows, length=length, without=frozenset(self.replay.unread))
        return batch.to(self._device)

    def compute(self, rows: np.ndarray, beside: Sequence[np.ndarray] = ()) -> list[list[Tensor]]:
        """Compute the state of some items; returns for each tap their tensors."""
        values: list[dict[int, Tensor]] = [{} for _ in self.replay.taps]
        own = self.groups.of(rows)
        n_passes = max(len(self.groups.of(some)) for some in (rows, *beside))
        with evaluating(self.model):
            for group in own + own[-1:] * (n_passes - len(own)):
                [state] = compute_group(self.model, [self.replay], self.run, self.items, group)
                self.n_computed += len(group.rows)
                for leaf, tensors in zip(values, state, strict=True):
                    leaf.update(zip(group.rows.tolist(), tensors, strict=True))
        return [[leaf[row] for row in rows.tolist()] for leaf in values]


def compute_group(
    model: nn.Module, replays: Sequence[Replay], run: Run, stream: Stream, group: RowGroup
) -> list[list[list[Tensor]]]:
    """Run one group; returns for each replay, for each tap, the rows' tensors cut to length.

    The model must be in eval mode.
    """
    rows = group.rows
    device = next(model.parameters()).device
    batch = stream.batch(group.padded, length=group.length).to(device)
    states = capture(model, replays, run, batch)
    found = []
    for replay, state in zip(replays, states, strict=True):
        leaves = []
        for tap, leaf in zip(replay.taps, state, strict=True):
            tensors = list(leaf[: len(rows)])
            if stream.lengths is not None and not replay.pads_to_bucket:
                lengths = stream.lengths[rows]
                tensors = [_cut(t, tap, int(n)) for t, n in zip(tensors, lengths, strict=True)]
            leaves.append(tensors)
        found.append(leaves)
    return found


def fill(
    model: nn.Module,
    wanted: Sequence[tuple[Replay, RowStore]],
    run: Run,
    stream: Stream,
    *,
    write: bool = True,
    is_alone: bool = True,
    n_workers: int = 0,
    on_rows: OnRows = lambda *_: None,
) -> tuple[int, str]:
    """Complete stores at several cuts in one pass over the stream.

    Processes that share sharded parameters must all run the pass; one of them writes. A store that
    cannot be written is removed and left out; the others are completed.

    Args:
        is_alone: nobody else runs the pass, so it may end early.
        n_workers: threads that read ahead.
        on_rows: called after each group with what is done and what there is, in rows × length.

    Returns:
        The rows computed, and why a store could not be written.
    """
    open_ = [(r, s) for r, s in wanted if not s.is_complete]
    if not open_:
        return 0, ""
    n_computed, why = 0, ""
    first = min(store.n_groups for _, store in open_)
    rest = RowGroups(stream).of(np.arange(n_numbers(stream)))[first:]
    work = np.cumsum([group.units for group in rest]).tolist()
    with evaluating(model), Ahead(n_workers) as ahead:
        coming = ahead.over(stream, [group.rows for group in rest])
        for index, (group, rows) in enumerate(zip(rest, coming, strict=True), start=first):
            lacking = [(r, s) for r, s in open_ if index >= s.n_groups]
            replays = [r for r, _ in lacking or wanted[:1]]
            values = compute_group(model, replays, run, stream, group)
            n_computed += len(rows)
            for (_, store), leaves in zip(lacking, values, strict=False):
                if write:
                    fault = _tried(store, partial(store.write_group, index, rows, leaves))
                    open_ = [pair for pair in open_ if not fault or pair[1] is not store]
                    why = why or fault
            if not open_ and is_alone:
                return n_computed, why
            on_rows(work[index - first], work[-1])
    for _, store in open_ if write else ():
        why = _tried(store, store.finish) or why
    return n_computed, why


def _tried(store: RowStore, write: Callable[[], None]) -> str:
    """Write to a store; where that fails remove it, and return why."""
    try:
        write()
    except StorageError as error:
        store.give_up()
        return str(error)
    return ""


def store_key(replay: Replay, weights: str, stream: Stream, about: str) -> str:
    """Hash everything that a store's content depends on.

    Args:
        weights: fingerprint of everything below the cut.
        about: identity of the task's way to encode, and of the libraries.
    """
    parts = (
        FORMAT,
        weights,
        stream.key,
        repr(replay.taps),
        repr(replay.stubs),
        str(replay.pads_to_bucket),
        about,
        RULE,
        f"torch {torch.__version__}, {torch.get_num_threads()} threads",
        f"autocast {[torch.is_autocast_enabled(device) for device in ('cpu', 'cuda')]}",
    )
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def open_store(
    root: Path, key: str, replay: Replay, stream: Stream, *, mend: bool = True
) -> RowStore:
    """Open or begin the store of a key under `root`.

    Args:
        mend: see `RowStore`.
    """
    axes = [tap_axes(tap, stream) for tap in replay.taps]
    return RowStore(root / key, n_numbers(stream), axes, mend=mend)


def tap_axes(tap: Tap, stream: Stream) -> tuple[int, ...]:
    """Return which axes of a row's stored tensor vary; none where all rows have one shape."""
    return tap.ragged if stream.lengths is not None else ()


def _sizes(tap: Tap, length: int) -> dict[int, int]:
    """Return how long the axes of a tap are that follow the padded length."""
    return {i: d.length * length + d.plus for i, d in enumerate(tap.dims) if i and d.length}


def collate(
    tensors: Sequence[Tensor], ragged: tuple[int, ...], sizes: Mapping[int, int] | None = None
) -> Tensor:
    """Stack rows, ragged axes padded by repeating their last slice: padding goes on as it began.

    Args:
        sizes: by axis, to which at least to pad.
    """
    for axis in ragged:
        longest = max(*(t.shape[axis] for t in tensors), (sizes or {}).get(axis, 0))
        tensors = [_extend(t, axis, longest) for t in tensors]
    return torch.stack(list(tensors))


def estimate_bytes(replay: Replay, stream: Stream) -> int:
    """Estimate the size of a store of all rows; exact where lengths are the tokens' own."""
    lengths = (
        stream.lengths if stream.lengths is not None else np.zeros(n_numbers(stream), np.int64)
    )
    total = 0.0
    for tap in replay.taps:
        per_row = np.ones(len(lengths)) * tap.dtype.itemsize * max(tap.dims[0].rows, 1)
        for dim in tap.dims[1:]:
            own = np.maximum(lengths, 1) if dim.like else dim.length * lengths + dim.plus
            per_row = per_row * own
        total += float(per_row.sum())
    return int(total)


def _cut(tensor: Tensor, tap: Tap, length: int) -> Tensor:
    """Cut the padding off a row's tensor (k, …)."""
    for axis, dim in enumerate(tap.dims):
        if axis and dim.length:
            tensor = tensor.narrow(axis, 0, length + dim.plus)
    return tensor


def _extend(tensor: Tensor, axis: int, size: int) -> Tensor:
    missing = size - tensor.shape[axis]
    if missing == 0:
        return tensor
    last = tensor.narrow(axis, tensor.shape[axis] - 1, 1)
    shape = list(tensor.shape)
    shape[axis] = missing
    return torch.cat([tensor, last.expand(shape)], dim=axis)
