"""From a plan's phase to what its steps are fed: cut and replay, for every stream.

All cuts of a plan are found before training begins, so what cannot be replayed is known early.
`engine/stores.py` decides what is stored of it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from graft.batch import Batch
from graft.engine.cut import Cut, find_cut
from graft.engine.groups import Group, set_trainable, trainable
from graft.engine.modes import set_modes
from graft.engine.prefix import Prefix
from graft.engine.probe import find_replay
from graft.engine.replay import Replay, Run, Unsound, evaluating
from graft.engine.step import Feed
from graft.tasks.task import Progress, Stream, Task

Streams = Mapping[str, Stream]


@dataclass
class PhaseFeeds:
    """Know how each stream of one phase is fed.

    Args:
        cut: where nothing below trains.
        replays: by stream; empty where the whole network runs.
        reason: why there is no replay, or why nothing is stored.
        prefixes: by split and stream, made when the phase begins.
        only_length: by stream, where all rows it was probed on are equally long: that length.
    """

    cut: Cut
    replays: dict[str, Replay] = field(default_factory=dict)
    reason: str = ""
    prefixes: dict[tuple[str, str], Prefix] = field(default_factory=dict)
    only_length: dict[str, int] = field(default_factory=dict)

    def reads(self, split: str, name: str) -> bool:
        """Return whether a step reads the examples themselves, or only what is stored of them."""
        prefix = self.prefixes.get((split, name))
        if prefix is None or prefix.store is None or not prefix.store.is_complete:
            return True
        return not prefix.replay.unread

    def feed(
        self,
        split: str,
        name: str,
        stream: Stream,
        rows: np.ndarray,
        device: Any,
        beside: Sequence[np.ndarray] = (),
        *,
        length: int | None = None,
        seeds: np.ndarray | None = None,
    ) -> Feed:
        """Return what some rows of a stream give to a step.

        Args:
            beside: rows that each process takes at this time, where parameters are sharded and
                all must run the network equally often.
            length: of the longest row of the whole step, to which these are padded.
            seeds: see `Feed`.
        """
        drawn = () if seeds is None else seeds
        prefix = self.prefixes.get((split, name))
        if prefix is None:
            return Feed(stream.batch(rows, length=length).to(device), seeds=drawn)
        state, batch = prefix.batch(rows, beside, length=length)
        return Feed(batch, prefix.replay, state, prefix.run, drawn)


def find_feeds(
    model: nn.Module,
    state: nn.Module | None,
    task: Task,
    groups: Sequence[Group],
    streams: Streams,
) -> PhaseFeeds:
    """Find the cut of a phase and how to replay above it; never fails, but may say why not."""
    set_trainable(groups)
    cut = find_cut(model, trainable(groups))
    if not cut:
        return PhaseFeeds(cut, reason="what trains begins at the bottom")
    replays: dict[str, Replay] = {}
    only_length: dict[str, int] = {}
    for name, stream in streams.items():
        probes = probe_batches(stream)
        if probes is None:
            return PhaseFeeds(cut, reason=f"`{name}` has too few rows to probe")
        device = next(model.parameters()).device
        probes = (probes[0].to(device), probes[1].to(device))
        run = make_run(model, state, task, streams, name, {b.n for b in probes})
        try:
            with evaluating(nn.Module() if state is None else state):
                replay = find_replay(model, cut, run, probes, set_modes=lambda: set_modes(model))
        except Unsound as why:
            return PhaseFeeds(cut, reason=f"trained without the cut: {why}")
        if replay.taps:  # a stream may pass by all that is frozen
            replays[name] = replay
        if probes[0].length == probes[1].length:
            only_length[name] = probes[0].length
    return PhaseFeeds(cut, replays, only_length=only_length)


def make_run(
    model: nn.Module,
    state: nn.Module | None,
    task: Task,
    streams: Streams,
    name: str,
    sizes: Collection[int],
) -> Run:
    """Return what runs the bare model and the loss on a batch of one stream.

    The other streams of a step join with as many rows of their own, so that whatever the loss reads
    shows when it is poisoned. They are encoded here, once: run among the stubs, they would count
    as calls of the frozen modules.

    Args:
        sizes: of the batches that will be run.
    """
    device = next(model.parameters()).device
    company: dict[int, tuple[dict[str, Any], dict[str, Batch]]] = {}
    with evaluating(model), torch.no_grad():
        for n in sizes:
            others = {
                other: stream.batch(np.arange(n) % len(stream)).to(device)
                for other, stream in streams.items()
                if other != name
            }
            company[n] = {o: task.encode(model, b, Progress()) for o, b in others.items()}, others

    def run(batch: Batch) -> Any:
        mine = task.encode(model, batch, Progress())
        encoded, batches = company[batch.n]
        # in the streams' own order
        encoded = {other: mine if other == name else encoded[other] for other in streams}
        batches = {other: batch if other == name else batches[other] for other in streams}
        return mine, task.loss(encoded, batches, state, Progress()).total

    return run


def probe_batches(stream: Stream) -> tuple[Batch, Batch] | None:
    """Return two batches of different size, with the shortest and the longest rows."""
    if len(stream) < 3:
        return None
    if stream.lengths is None:
        return stream.batch(np.arange(2)), stream.batch(np.arange(3) % len(stream))
    order = np.argsort(stream.lengths, kind="stable")
    short = order[[0, len(order) // 4]]
    if stream.lengths[short].max() == stream.lengths.max():
        short = order[[0, 0]]  # most rows are cut at one length, and a shorter one is rare
    for n in (3, 4):
        long = np.concatenate([order[: n - 1], order[-1:]])
        first, second = stream.batch(short), stream.batch(long)
        if first.length == second.length:
            second = stream.batch(long, length=max(stream.bucket(first.length), first.length))
        # equal ratios of rows and lengths would make sizes ambiguous
        if first.length * n != second.length * 2:
            return first, second
    return None
