"""Features of untouched backbones, from the same store that the phases read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from graft.engine.feeds import find_feeds
from graft.engine.filling import OnNote
from graft.engine.groups import locate, resolve
from graft.engine.processes import Processes
from graft.engine.replay import evaluating
from graft.engine.row_groups import RowGroups
from graft.engine.settings import Settings
from graft.engine.stores import MANY, Wish, attach
from graft.methods.plan import Rule
from graft.methods.select import everything, head
from graft.phase_records import CacheRecord
from graft.tasks.task import Stream, Task


@dataclass(frozen=True, eq=False)
class Pooled:
    """Hold pooled features (N, D), and the record of the store that they went through."""

    features: np.ndarray
    cache: CacheRecord | None = None


def pooled_features(
    model: nn.Module,
    task: Task,
    streams: Mapping[str, Stream],
    settings: Settings,
    name: str = "train",
    state: nn.Module | None = None,
    on_rows: Callable[[str, int, int], None] = lambda *_: None,
    on_note: OnNote = lambda _: None,
) -> dict[str, Pooled]:
    """Return pooled features of every row of some splits' streams, stored on the way.

    Args:
        streams: by split; the cut is proven on the first of them.
        name: of the stream that each is in its split.
        state: what the task keeps beside the model.
        on_rows: told of which split a pass is, and how far it has come.
        on_note: told what is about to be written, and what cannot be.
    """
    rules = (Rule(head(), 1.0), Rule(everything(), None))
    groups = resolve(rules, locate(model), may_be_idle=True)
    feeds = find_feeds(model, state, task, groups, {name: next(iter(streams.values()))})
    if not feeds.replays:
        return {split: Pooled(by_forward(model, stream)) for split, stream in streams.items()}
    frozen = frozenset(m.place.name for m in groups[-1].members)
    processes = Processes(precision=settings.precision)
    found = {}
    with processes.autocast():
        for split, stream in streams.items():
            caches = attach(
                model,
                task,
                [Wish(feeds, frozen, MANY)],
                {split: {name: stream}},
                root=settings.cache,
                budget_bytes=settings.cache_bytes,
                processes=processes,
                n_workers=settings.workers,
                on_rows=partial(on_rows, split),
                on_note=on_note,
            )
            prefix = feeds.prefixes.get((split, name))
            if prefix is None:
                found[split] = Pooled(by_forward(model, stream))
            else:
                found[split] = Pooled(prefix.vectors(), caches[0])
    return found


def by_forward(model: nn.Module, stream: Stream) -> np.ndarray:
    """Return pooled features (N, D) of every row by plain passes; nothing is proven or stored."""
    backbone: Any = model.backbone
    device = next(model.parameters()).device
    groups = RowGroups(stream).of(np.arange(len(stream)))
    found = []
    with evaluating(model), torch.no_grad():
        for group in groups:
            inputs = stream.batch(group.padded, length=group.length).to(device).inputs
            found.append(backbone(inputs).pooled[: len(group.rows)].float().cpu())
    order = np.argsort(np.concatenate([group.rows for group in groups]))
    return torch.cat(found).numpy()[order]
