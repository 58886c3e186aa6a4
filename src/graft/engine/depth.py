"""Which block knows most: the pooled output of every block, each under a head solved exactly.

One pass over the training rows gives the vectors of all blocks and the features at the end. They
run in the prefix's groups of one shape and lie in row stores, so a second run reads the same bits.
All depths are compared on the same folds of training rows.

A lower block is only chosen where it is better than the features at the end by more than the
standard error of the paired differences between folds, and by a hundredth of the loss: the network
ends where it did unless there is reason to cut it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from graft.backbones.backbone import Backbone
from graft.backbones.outlets import Outlet, find_outlets, pool
from graft.batch import Batch
from graft.engine.cut import Cut
from graft.engine.feeds import find_feeds
from graft.engine.filling import Filling, fill_all
from graft.engine.groups import locate, resolve
from graft.engine.prefix import compute_group, store_key
from graft.engine.processes import Processes
from graft.engine.replay import Dim, Replay, Tap, evaluating
from graft.engine.row_groups import RowGroups
from graft.engine.settings import Settings
from graft.engine.solve import search, why_not_convex
from graft.engine.stores import identity
from graft.errors import InputError
from graft.methods.plan import Rule
from graft.methods.select import everything, head
from graft.phase_records import DepthRecord
from graft.tasks.task import ConvexProblem, Stream, Task

LEAST_GAIN = 0.01
"""Share of the loss at the end that a lower block must gain for the network to be cut."""
FEATURES = "features"
"""What the vectors at the end of the network are called among the blocks."""


@dataclass(frozen=True)
class Depths:
    """Say how well each depth of a network serves a linear head.

    Args:
        records: one per block that could be pooled, from the bottom, the features last.
        blocks: number of each record's block; None for the features.
        best: index of the record to read, by the rule in this module's head.
        n_folds: of the cross-validation.
        notes: which blocks were left out, and why.
    """

    records: tuple[DepthRecord, ...]
    blocks: tuple[int | None, ...]
    best: int
    n_folds: int
    notes: tuple[str, ...] = ()


def probe_depths(
    model: nn.Module,
    task: Task,
    stream: Stream,
    settings: Settings,
    *,
    n_folds: int = 5,
    name: str = "train",
) -> Depths:
    """Solve a head on every block of a model's backbone, by cross-validation on a stream's rows.

    Raises:
        InputError: task or head have no convex form.
    """
    processes = Processes(precision=settings.precision)
    found, notes = _vectors(model, task, stream, settings, processes, name)
    problem: ConvexProblem = task.convex(stream)  # type: ignore[attr-defined]
    outlets = list(found)
    # the folds follow from the problem and the seed: the same ones at every depth
    searches = [search(x, problem, n_folds, settings.seed) for x in found.values()]
    records = tuple(
        DepthRecord(
            FEATURES if outlet is None else f"block {outlet.block}",
            found[outlet].shape[1],
            found_l2.accuracies[found_l2.chosen] if found_l2.accuracies else None,
            found_l2.losses[found_l2.chosen],
            found_l2.l2,
        )
        for outlet, found_l2 in zip(outlets, searches, strict=True)
    )
    per_fold = [found_l2.fold_losses[found_l2.chosen] for found_l2 in searches]
    best = processes.agree(choose([r.loss for r in records], per_fold))
    blocks = tuple(None if outlet is None else outlet.block for outlet in outlets)
    return Depths(records, blocks, best, len(per_fold[0]), notes)


def choose(losses: Sequence[float], per_fold: Sequence[Sequence[float]]) -> int:
    """Return the index of the depth to read; the last one is the network's own end.

    Args:
        losses: mean held-out loss of each depth.
        per_fold: the same per fold, on the same folds for all.

    >>> choose([0.3, 0.5], [[0.3, 0.3], [0.5, 0.5]]), choose([0.4, 0.5], [[0.2, 0.6], [0.5, 0.5]])
    (0, 1)
    """
    end = len(losses) - 1
    best = min(range(len(losses)), key=lambda i: (losses[i], -i))
    differences = np.subtract(per_fold[end], per_fold[best])
    standard_error = float(differences.std(ddof=1)) / math.sqrt(len(differences))
    least = max(standard_error, LEAST_GAIN * losses[end])
    return best if float(differences.mean()) > least else end


def with_choice(depths: Depths, index: int) -> tuple[DepthRecord, ...]:
    """Return the records with the one marked on which the head is trained."""
    return tuple(
        dataclasses.replace(record, chosen=i == index) for i, record in enumerate(depths.records)
    )


class _Tapped(nn.Module):
    """Run a backbone and send each block's vectors through a module that the engine can tap."""

    def __init__(self, backbone: Backbone, outlets: Sequence[Outlet]) -> None:
        super().__init__()
        self.backbone = backbone
        self.outlets = nn.ModuleList(nn.Identity() for _ in outlets)
        self._of = tuple(outlets)

    def forward(self, inputs: Mapping[str, Tensor]) -> None:
        hooks = [
            self.backbone.net.get_submodule(outlet.path).register_forward_hook(
                lambda _m, _a, output, outlet=outlet, tapped=tapped: self._send(
                    outlet, tapped, output, inputs
                )
            )
            for outlet, tapped in zip(self._of, self.outlets, strict=True)
        ]
        try:
            self.backbone(inputs)
        finally:
            for hook in hooks:
                hook.remove()

    def _send(
        self, outlet: Outlet, tapped: nn.Module, output: Any, inputs: Mapping[str, Tensor]
    ) -> None:
        tapped(pool(self.backbone, outlet, output, inputs))


def _vectors(
    model: nn.Module,
    task: Task,
    stream: Stream,
    settings: Settings,
    processes: Processes,
    name: str,
) -> tuple[dict[Outlet | None, np.ndarray], tuple[str, ...]]:
    """Return (N, D) of each outlet and, under None, of the features; and notes."""
    model_groups = resolve((Rule(head(), 1.0), Rule(everything(), None)), locate(model))
    feeds = find_feeds(model, None, task, model_groups, {name: stream})
    why = why_not_convex(task, model, feeds)
    if why:
        raise InputError(f"--at any solves a head exactly at each block: {why}; leave it out")
    backbone: Any = model.backbone
    device = next(model.parameters()).device
    outlets = find_outlets(backbone, stream.batch(np.arange(2)).to(device).inputs)
    tapped = _Tapped(backbone, outlets.found)

    def run(batch: Batch) -> None:
        tapped(batch.inputs)

    frozen = frozenset(m.place.name for m in model_groups[-1].members)
    with processes.autocast():
        replays = [_replay(i, o) for i, o in enumerate(outlets.found)] + [feeds.replays[name]]
        by_key = {}
        for outlet, replay in zip((*outlets.found, None), replays, strict=True):
            weights, about = identity(model, task, frozen, replay)
            about = about if outlet is None else f"{about} {outlet}"
            by_key[store_key(replay, weights, stream, about)] = replay
        widths = sum(tap.dims[1].plus for replay in replays for tap in replay.taps)
        stores = None
        if settings.cache is not None and 4 * widths * len(stream) <= settings.cache_bytes:
            filling = Filling(settings.cache, processes, settings.workers)
            stores = fill_all(tapped, by_key, run, stream, filling)
        if stores is None:
            arrays = _in_memory(tapped, replays, run, stream)
        else:
            arrays = [store.array(0).reshape(len(stream), -1) for store in stores]
    found = dict(zip((*outlets.found, None), arrays, strict=True))
    _drop_twin(found)
    return found, outlets.left_out


def _replay(number: int, outlet: Outlet) -> Replay:
    """Return how one outlet's vectors are captured; nothing is ever run on from them."""
    dims = (Dim(rows=1), Dim(plus=outlet.width))
    tap = Tap(f"outlets.{number}", 0, 0, dims, torch.float32)
    return Replay(Cut(("backbone",), f"at block {outlet.block}"), (tap,), {}, False, (), {})


def _in_memory(
    tapped: nn.Module, replays: Sequence[Replay], run: Any, stream: Stream
) -> list[np.ndarray]:
    """Return the vectors of all rows at each replay, from one pass, stored nowhere."""
    held: list[dict[int, Tensor]] = [{} for _ in replays]
    with evaluating(tapped):
        for group in RowGroups(stream).of(np.arange(len(stream))):
            values = compute_group(tapped, replays, run, stream, group)
            for by_row, [tensors] in zip(held, values, strict=True):
                by_row.update(zip(group.rows.tolist(), tensors, strict=True))
    stacked = [torch.stack([by_row[i] for i in range(len(stream))]) for by_row in held]
    return [t.float().cpu().numpy().reshape(len(stream), -1) for t in stacked]


def _drop_twin(found: dict[Outlet | None, np.ndarray]) -> None:
    """Leave out the last block where its vectors are the features, number for number."""
    last = next((o for o in reversed(found) if o is not None), None)
    if last is not None and np.array_equal(found[last], found[None]):
        del found[last]
