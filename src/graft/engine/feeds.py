"""From a plan's phase to what its steps are fed: cut, replay and store, for every stream.

All cuts of a plan are found before training begins, so what cannot be replayed is known early, and
one pass over the data can fill the stores of several heights: cuts only descend while unfreezing,
and what lies below a later cut has not moved by then.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from graft.backbones.backbone import towers
from graft.batch import Batch
from graft.engine.cut import Cut, find_cut
from graft.engine.fingerprint import fingerprint
from graft.engine.groups import Group, locate, set_trainable, trainable
from graft.engine.modes import set_modes
from graft.engine.prefix import Prefix, estimate_bytes, fill, open_store, store_key
from graft.engine.probe import find_replay
from graft.engine.processes import Processes
from graft.engine.replay import Replay, Run, Unsound, evaluating
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
        only_length: by stream, where all rows it was probed on are equally long: that length.
    """

    cut: Cut
    replays: dict[str, Replay] = field(default_factory=dict)
    reason: str = ""
    prefixes: dict[tuple[str, str], Prefix] = field(default_factory=dict)
    only_length: dict[str, int] = field(default_factory=dict)

    def feed(
        self,
        split: str,
        name: str,
        stream: Stream,
        rows: np.ndarray,
        device: Any,
        beside: Sequence[np.ndarray] = (),
    ) -> Feed:
        """Return what some rows of a stream give to a step.

        Args:
            beside: rows that each process takes at this time, where parameters are sharded and
                all must run the network equally often.
        """
        prefix = self.prefixes.get((split, name))
        if prefix is None:
            return Feed(stream.batch(rows).to(device))
        state, batch = prefix.batch(rows, beside)
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
    for n in (3, 4):
        long = np.concatenate([order[: n - 1], order[-1:]])
        first, second = stream.batch(short), stream.batch(long)
        if first.length == second.length:
            second = stream.batch(long, length=max(stream.bucket(first.length), first.length))
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
    processes: Processes,
) -> list[CacheRecord]:
    """Give the first of `phases` its prefixes, filling on the way the stores of the later ones.

    Args:
        phases: this phase and those that follow.
        frozen: for each phase, names of the parameters that do not train in it.
        splits: streams by split (`train`, `validation`).
        n_passes: for each phase, how often it will want each training row.
        root: folder of the stores; None to store nothing.
        budget_bytes: most bytes for one split's stores.
        processes: one of them writes; all take part in the passes where parameters are sharded.

    Returns:
        For each split the record of the first phase's store.
    """
    now = phases[0]
    records = []
    for split, streams in splits.items():
        for name, stream in streams.items():
            if name not in now.replays:
                continue
            only = now.only_length.get(name)
            if only and stream.lengths is not None and (stream.lengths != only).any():
                continue  # nothing is known of other lengths: the whole network runs
            run = _encode_only(model, task)
            left = budget_bytes
            wanted: dict[str, Replay] = {}
            reason = "nothing is stored (--cache off)"
            if root is not None:
                reason = ""
                still = frozen[0]
                for phase, names, passes in zip(phases, frozen, n_passes, strict=True):
                    replay = phase.replays.get(name)
                    # what trains before a phase begins cannot be stored for it now
                    still &= names
                    if replay is None or not names & _in_backbones(model) <= still:
                        continue
                    size = estimate_bytes(replay, stream)
                    if phase is now and passes < 2:
                        reason = "one pass over the rows does not pay"
                    elif size > left:
                        if phase is now:
                            reason = f"{size / 1e6:.0f} MB are over the budget"
                    elif passes >= 2 or phase is not now:
                        key = store_key(
                            replay, _below(model, names, replay), stream, _about(model, task)
                        )
                        # two phases may read the same store
                        if key not in wanted:
                            wanted[key] = replay
                            left -= size
                        continue
                    if phase is now:
                        break
            store, n_computed = None, 0
            if root is not None and next(iter(wanted.values()), None) is now.replays[name]:
                store, n_computed = _filled(model, wanted, run, stream, root, processes)
                if store is None:
                    reason = "the processes do not see one folder of stores"
            prefix = Prefix(model, now.replays[name], run, stream, store)
            now.prefixes[split, name] = prefix
            size = store.size_bytes if store is not None else 0
            used = store is not None
            records.append(CacheRecord(now.cut.label, used, reason, size, n_computed))
    return records


def _filled(
    model: nn.Module,
    by_key: Mapping[str, Replay],
    run: Run,
    stream: Stream,
    root: Path,
    processes: Processes,
) -> tuple[RowStore | None, int]:
    """Return the first store, complete, and how many rows had to be computed.

    To open a store is to mend it, and what it lacks decides who waits for whom: so the others
    open it after the first process did and before it writes, and take its word for what is there.
    """
    keys, replays = processes.agree(list(by_key)), list(by_key.values())

    def open_all() -> list[tuple[Replay, RowStore]]:
        stores = [open_store(root, k, r, stream) for k, r in zip(keys, replays, strict=True)]
        return list(zip(replays, stores, strict=True))

    wanted = open_all() if processes.is_main else []
    processes.barrier()
    wanted = wanted or open_all()
    found = processes.agree([(store.is_complete, store.n_groups) for _, store in wanted])
    processes.barrier()
    for (_, store), (is_complete, n_groups) in zip(wanted, found, strict=True):
        store.is_complete, store.n_groups = is_complete, n_groups
    n_computed = 0
    if not wanted[0][1].is_complete:
        if processes.is_main or processes.is_sharded:
            n_computed = fill(model, wanted, run, stream, write=processes.is_main)
        processes.barrier()
    store = wanted[0][1] if processes.is_main else open_store(root, keys[0], replays[0], stream)
    return (store if processes.everywhere(store.is_complete) else None), n_computed


def _encode_only(model: nn.Module, task: Task) -> Run:
    def run(batch: Batch) -> Any:
        return task.encode(model, batch, Progress())

    return run


def _below(model: nn.Module, frozen: frozenset[str], replay: Replay) -> str:
    """Fingerprint the frozen parameters of the backbones, and the buffers below the cut."""
    parameters = [
        (m.place.name, m.parameter)
        for m in locate(model)
        if m.place.name in frozen and m.place.role == "backbone"
    ]
    model_towers = towers(model)
    inside = tuple(f"{tower.path}." for tower in model_towers)
    below = tuple(f"{path}." for path in replay.cut.below)
    chains = [chain for tower in model_towers for chain in tower.chains]
    parts = tuple(f"{path}." for chain in chains for part in chain.parts for path in part)
    # a buffer in no part (an own network's mean and scale) may be read anywhere
    buffers = [
        (name, b)
        for name, b in model.named_buffers()
        if name.startswith(below) or (name.startswith(inside) and not name.startswith(parts))
    ]
    return fingerprint([*parameters, *buffers])


def _in_backbones(model: nn.Module) -> frozenset[str]:
    return frozenset(m.place.name for m in locate(model) if m.place.role == "backbone")


def _about(model: nn.Module, task: Task) -> str:
    reads = [_named(model.get_submodule(t.path).read) for t in towers(model)]
    versions = [f"{name} {version(name)}" for name in ("transformers", "timm", "torchvision")]
    return " ".join([type(task).__qualname__, *reads, *versions])


def _named(read: Any) -> str:
    """Return what identifies a way to read features: the same in every process."""
    name = getattr(read, "__qualname__", None)
    return repr(read) if name is None else f"{read.__module__}.{name}"
