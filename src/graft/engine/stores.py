"""Which states are stored, for which phases, and filling the stores.

One pass over the data fills the stores of several heights: cuts only descend while unfreezing, and
what lies below a later cut has not moved by then. A store pays where its rows are wanted more than
once, by this phase or by later ones, and where it fits the budget. Where a row has several views,
each pass reads one of them, so there must be more passes than views.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import nn

from graft.backbones.backbone import towers
from graft.batch import Batch
from graft.engine.feeds import PhaseFeeds, Streams
from graft.engine.filling import Filling, OnNote, filled
from graft.engine.fingerprint import fingerprint
from graft.engine.groups import locate
from graft.engine.prefix import OnRows, Prefix, estimate_bytes, store_key
from graft.engine.processes import Processes
from graft.engine.replay import Replay, Run
from graft.engine.row_places import NOTE, difference_by_place
from graft.engine.views import ENDLESS, is_endless, items, n_numbers
from graft.phase_records import CacheRecord
from graft.surgery.inserting import inserted_parameters
from graft.tasks.task import Progress, Stream, Task

MB = 1_000_000
MANY = 10
"""Passes of whoever reads features again and again: solvers, indexes, plots."""


@dataclass(frozen=True)
class Wish:
    """What one phase would like to have stored.

    Args:
        feeds: its cut and replays.
        frozen: names of the parameters that do not train in it.
        n_passes: how often it wants each row.
    """

    feeds: PhaseFeeds
    frozen: frozenset[str]
    n_passes: int


def attach(
    model: nn.Module,
    task: Task,
    wishes: Sequence[Wish],
    splits: Mapping[str, Streams],
    *,
    root: Path | None,
    budget_bytes: int,
    processes: Processes,
    n_workers: int = 0,
    on_rows: OnRows = lambda *_: None,
    on_note: OnNote = lambda _: None,
) -> list[CacheRecord]:
    """Give the first phase its prefixes, filling on the way the stores of the later ones.

    Args:
        wishes: of this phase and those that follow.
        splits: streams by split (`train`, `validation`).
        root: folder of the stores; None to store nothing.
        budget_bytes: most bytes for the stores of one stream.
        processes: one of them writes; all take part in the passes where parameters are sharded.
        n_workers: threads that read ahead.
        on_rows: told how far a pass has come.
        on_note: told what is about to be written, and what cannot be.

    Returns:
        For each split and stream the record of the first phase's store.
    """
    now = wishes[0].feeds
    records = []
    for split, streams in splits.items():
        for name, stream in streams.items():
            if name not in now.replays or not _lengths_are_known(now, name, stream):
                continue
            source = items(stream)
            if is_endless(source):
                records.append(CacheRecord(now.cut.label, False, ENDLESS))
                continue
            run = encode_only(model, task)
            wanted, reason = {}, "nothing is stored (--cache off)"
            if root is not None:
                wanted, reason = worth_storing(model, task, wishes, name, source, budget_bytes)
            store, n_computed, began = None, 0, time.perf_counter()
            if root is not None and wanted:
                filling = Filling(root, processes, n_workers, on_rows, on_note)
                store, n_computed, reason = filled(model, wanted, run, source, filling)
            if store is not None and n_computed:
                replay = now.replays[name]
                difference = difference_by_place(model, replay, run, source, store)
                if difference:
                    on_note(NOTE.format(difference=difference))
            now.prefixes[split, name] = Prefix(model, now.replays[name], run, stream, store)
            seconds = time.perf_counter() - began if n_computed else 0.0
            size = 0 if store is None else store.size_bytes
            records.append(
                CacheRecord(now.cut.label, store is not None, reason, size, n_computed, seconds)
            )
    return records


def together(records: Sequence[CacheRecord]) -> CacheRecord | None:
    """Return one record of the stores of all splits and streams; None where there are none."""
    if not records:
        return None
    return replace(
        records[0],
        size_bytes=sum(r.size_bytes for r in records),
        n_computed=sum(r.n_computed for r in records),
        seconds=sum(r.seconds for r in records),
    )


def _lengths_are_known(feeds: PhaseFeeds, name: str, stream: Stream) -> bool:
    """Return whether the replay was probed on lengths as they occur in the stream."""
    only = feeds.only_length.get(name)
    return not only or stream.lengths is None or bool((stream.lengths == only).all())


def worth_storing(
    model: nn.Module,
    task: Task,
    wishes: Sequence[Wish],
    name: str,
    stream: Stream,
    budget_bytes: int,
) -> tuple[dict[str, Replay], str]:
    """Return the replays to store by key, this phase's first, or none and why not."""
    in_backbones = frozenset(m.place.name for m in locate(model) if m.place.chain)
    still_frozen = wishes[0].frozen
    wanted: dict[str, Replay] = {}
    n_passes, left_bytes = 0, budget_bytes
    for wish in wishes:
        # what trains before a phase begins cannot be stored for it now
        still_frozen &= wish.frozen
        replay = wish.feeds.replays.get(name)
        if replay is None or not wish.frozen & in_backbones <= still_frozen:
            continue
        size_bytes = estimate_bytes(replay, stream)
        if size_bytes > left_bytes:
            if wish is wishes[0]:
                return {}, f"{size_bytes / MB:.0f} MB are over the budget"
            continue
        n_passes += wish.n_passes
        key = store_key(replay, _below(model, wish.frozen, replay), stream, _about(model, task))
        if key not in wanted:  # two phases may read the same store
            wanted[key] = replay
            left_bytes -= size_bytes
    n_views = n_numbers(stream) // max(1, len(stream))
    if n_passes <= n_views:  # to fill is to compute every view once
        if n_views == 1:
            return {}, "one pass over the rows does not pay"
        return {}, f"to store {n_views} views of each row does not pay: {n_passes} are read"
    return wanted, ""


def identity(
    model: nn.Module, task: Task, frozen: frozenset[str], replay: Replay
) -> tuple[str, str]:
    """Return what a store's content depends on beside its rows: weights, and who reads them."""
    return _below(model, frozen, replay), _about(model, task)


def encode_only(model: nn.Module, task: Task) -> Run:
    """Return what runs the bare model on a batch, without a loss."""

    def run(batch: Batch) -> Any:
        return task.encode(model, batch, Progress())

    return run


def _below(model: nn.Module, frozen: frozenset[str], replay: Replay) -> str:
    """Fingerprint the frozen parameters of the backbones, and the buffers below the cut.

    A stream that passes by a backbone, as captions do by that of the pictures, does not depend on
    it. What surgery put in and nothing has trained changes no number.
    """
    idle = inserted_parameters(model, idle=True)
    called = [f"{path}." for path, _ in replay.structure]
    read = [t for t in towers(model) if any(path.startswith(f"{t.path}.") for path in called)]
    inside = tuple(f"{tower.path}." for tower in read)
    parameters = [
        (m.place.name, m.parameter)
        for m in locate(model)
        if m.place.name in frozen
        and m.place.name.startswith(inside)
        and id(m.parameter) not in idle
    ]
    below = tuple(f"{path}." for path in replay.cut.below if f"{path}.".startswith(inside))
    chains = [chain for tower in read for chain in tower.chains]
    parts = tuple(f"{path}." for chain in chains for part in chain.parts for path in part)
    # a buffer in no part (an own network's mean and scale) may be read anywhere
    buffers = [
        (name, b)
        for name, b in model.named_buffers()
        if name.startswith(below) or (name.startswith(inside) and not name.startswith(parts))
    ]
    return fingerprint([*parameters, *buffers])


def _about(model: nn.Module, task: Task) -> str:
    reads = [_named(model.get_submodule(t.path).read) for t in towers(model)]
    versions = [f"{name} {version(name)}" for name in ("transformers", "timm", "torchvision")]
    encodes_as = getattr(task, "encodes_as", type(task).__qualname__)
    return " ".join([encodes_as, *reads, *versions])


def _named(read: Any) -> str:
    """Return what identifies a way to read features: the same in every process."""
    if isinstance(read, partial):  # whose own text holds addresses
        parts = [*read.args, *(read.keywords[k] for k in sorted(read.keywords))]
        return f"{_named(read.func)}({', '.join(map(_named, parts))})"
    name = getattr(read, "__qualname__", None)
    return repr(read) if name is None else f"{read.__module__}.{name}"
