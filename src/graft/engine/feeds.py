"""From a plan's phase to what its steps are fed: cut, replay and store, for every stream.

All cuts of a plan are found before training begins, so what cannot be replayed is known early, and
one pass over the data can fill the stores of several heights: cuts only descend while unfreezing,
and what lies below a later cut has not moved by then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from graft.backbones.backbone import towers
from graft.batch import Batch
from graft.engine.cut import Cut, find_cut
from graft.engine.fingerprint import fingerprint
from graft.engine.groups import Group, set_trainable, trainable
from graft.engine.modes import set_modes
from graft.engine.prefix import Prefix, estimate_bytes, fill, open_store, store_key
from graft.engine.probe import find_replay
from graft.engine.replay import Replay, Run, Unsound
from graft.engine.step import Feed
from graft.engine.store import RowStore
from graft.records import CacheRecord
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
    """

    cut: Cut
    replays: dict[str, Replay] = field(default_factory=dict)
    reason: str = ""
    prefixes: dict[tuple[str, str], Prefix] = field(default_factory=dict)

    def feed(self, split: str, name: str, stream: Stream, rows: np.ndarray, device: Any) -> Feed:
        """Return what some rows of a stream give to a step."""
        prefix = self.prefixes.get((split, name))
        if prefix is None:
            return Feed(stream.batch(rows).to(device))
        state, batch = prefix.batch(rows)
        return Feed(batch, prefix.replay, state, prefix.run)


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
        return PhaseFeeds(cut, reason="everything trains")
    replays = {}
    for name, stream in streams.items():
        probes = probe_batches(stream)
        if probes is None:
            return PhaseFeeds(cut, reason=f"`{name}` has too few rows to probe")
        device = next(model.parameters()).device
        probes = (probes[0].to(device), probes[1].to(device))
        run = make_run(model, state, task, streams, name)
        try:
            replays[name] = find_replay(model, cut, run, probes, set_modes=lambda: set_modes(model))
        except Unsound as why:
            return PhaseFeeds(cut, reason=f"trained without the cut: {why}")
    return PhaseFeeds(cut, replays)


def make_run(
    model: nn.Module, state: nn.Module | None, task: Task, streams: Streams, name: str
) -> Run:
    """Return what runs the bare model and the loss on a batch of one stream.

    The other streams of a step join with as many rows of their own, so that whatever the loss reads
    shows when it is poisoned.
    """

    def run(batch: Batch) -> Any:
        encoded, batches = {}, {}
        for other, stream in streams.items():
            part = batch
            if other != name:
                rows = np.arange(batch.n) % len(stream)
                part = stream.batch(rows).to(next(model.parameters()).device)
            encoded[other] = task.encode(model, part, Progress())
            batches[other] = part
        loss = task.loss(encoded, batches, state, Progress())
        return encoded[name], loss.total

    return run


def probe_batches(stream: Stream) -> tuple[Batch, Batch] | None:
    """Return two batches of different size, with the shortest and the longest rows."""
    if len(stream) < 3:
        return None
    if stream.lengths is None:
        return stream.batch(np.arange(2)), stream.batch(np.arange(3) % len(stream))
    order = np.argsort(stream.lengths, kind="stable")
    short = order[[0, len(order) // 4]]
    for n in (3, 4):
        long = np.concatenate([order[: n - 1], order[-1:]])
        first, second = stream.batch(short), stream.batch(long)
        # equal ratios of rows and lengths would make sizes ambiguous
        if first.length * n != second.length * 2:
            return first, second
    return None


def attach(
    model: nn.Module,
    state: nn.Module | None,
    task: Task,
    phases: Sequence[PhaseFeeds],
    frozen: Sequence[frozenset[str]],
    splits: Mapping[str, Streams],
    *,
    n_passes: Sequence[int],
    root: Path | None,
    budget_bytes: int,
    is_main: bool,
    barrier: Any,
    compute_everywhere: bool,
) -> list[CacheRecord]:
    """Give the first of `phases` its prefixes, filling on the way the stores of the later ones.

    Args:
        phases: this phase and those that follow.
        frozen: for each phase, names of the parameters that do not train in it.
        splits: streams by split (`train`, `validation`).
        n_passes: for each phase, how often it will want each training row.
        root: folder of the stores; None to store nothing.
        budget_bytes: most bytes for one split's stores.
        compute_everywhere: every process must take part in forward passes (sharded parameters).

    Returns:
        For each split the record of the first phase's store.
    """
    now = phases[0]
    records = []
    for split, streams in splits.items():
        for name, stream in streams.items():
            if name not in now.replays:
                continue
            run = _encode_only(model, task)
            left = budget_bytes
            wanted: list[tuple[Replay, RowStore]] = []
            reason = "nothing is stored (--cache off)"
            if root is not None:
                reason = ""
                for phase, names, passes in zip(phases, frozen, n_passes, strict=True):
                    replay = phase.replays.get(name)
                    if replay is None:
                        continue
                    size = estimate_bytes(replay, stream)
                    if phase is now and passes < 2:
                        reason = "one pass over the rows does not pay"
                    elif size > left:
                        reason = reason or f"{size / 1e6:.0f} MB are over the budget"
                    elif passes >= 2 or phase is not now:
                        left -= size
                        key = store_key(
                            replay, _below(model, names, replay), stream, _about(model, task)
                        )
                        wanted.append((replay, open_store(root, key, replay, stream)))
                        continue
                    if phase is now:
                        break
            store = wanted[0][1] if wanted and wanted[0][0] is now.replays[name] else None
            n_computed = 0
            if store is not None and not store.is_complete:
                if is_main or compute_everywhere:
                    n_computed = fill(model, wanted, run, stream, write=is_main)
                barrier()
                if not is_main:
                    store = open_store(root, store.folder.name, now.replays[name], stream)  # type: ignore[arg-type]
            prefix = Prefix(model, now.replays[name], run, stream, store)
            now.prefixes[split, name] = prefix
            size = store.size_bytes if store is not None else 0
            used = store is not None
            records.append(CacheRecord(now.cut.label, used, reason, size, n_computed))
    return records


def _encode_only(model: nn.Module, task: Task) -> Run:
    def run(batch: Batch) -> Any:
        return task.encode(model, batch, Progress())

    return run


def _below(model: nn.Module, frozen: frozenset[str], replay: Replay) -> str:
    """Fingerprint the frozen parameters of the backbones, and the buffers below the cut."""
    prefixes = tuple(f"{tower.path}." for tower in towers(model))
    parameters = [
        (name, p)
        for name, p in model.named_parameters()
        if name in frozen and name.startswith(prefixes)
    ]
    below = tuple(f"{path}." for path in replay.cut.below)
    buffers = [(name, b) for name, b in model.named_buffers() if name.startswith(below)]
    return fingerprint([*parameters, *buffers])


def _about(model: nn.Module, task: Task) -> str:
    reads = [repr(model.get_submodule(t.path).read) for t in towers(model)]
    versions = [f"{name} {version(name)}" for name in ("transformers", "timm", "torchvision")]
    return " ".join([type(task).__qualname__, *reads, *versions])
