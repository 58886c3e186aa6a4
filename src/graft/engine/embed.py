"""Features of untouched backbones, from the same store that the phases read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from graft.engine.feeds import find_feeds
from graft.engine.groups import locate, resolve
from graft.engine.prefix import OnRows
from graft.engine.processes import Processes
from graft.engine.replay import evaluating
from graft.engine.settings import Settings
from graft.engine.stores import MANY, Wish, attach
from graft.methods.plan import Rule
from graft.methods.select import everything, head
from graft.records import CacheRecord
from graft.tasks.task import Stream, Task

BATCH = 64


@dataclass(frozen=True, eq=False)
class Pooled:
    """Hold pooled features (N, D), and the record of the store that they went through."""

    features: np.ndarray
    cache: CacheRecord | None = None


def pooled_features(
    model: nn.Module,
    task: Task,
    stream: Stream,
    settings: Settings,
    name: str = "train",
    on_rows: OnRows = lambda *_: None,
) -> np.ndarray:
    """Return (N, D) pooled features of every row of a stream, stored on the way.

    Args:
        on_rows: told how far the pass has come.
    """
    return pooled_pass(model, task, stream, settings, name, on_rows).features


def pooled_pass(
    model: nn.Module,
    task: Task,
    stream: Stream,
    settings: Settings,
    name: str = "train",
    on_rows: OnRows = lambda *_: None,
) -> Pooled:
    """Return the same together with what it took."""
    rules = (Rule(head(), 1.0), Rule(everything(), None))
    groups = resolve(rules, locate(model))
    feeds = find_feeds(model, None, task, groups, {name: stream})
    processes = Processes(precision=settings.precision)
    if not feeds.replays:
        return Pooled(_by_forward(model, stream))
    frozen = frozenset(m.place.name for m in groups[-1].members)
    with processes.autocast():
        caches = attach(
            model,
            task,
            [Wish(feeds, frozen, MANY)],
            {"rows": {name: stream}},
            root=settings.cache,
            budget_bytes=settings.cache_bytes,
            processes=processes,
            n_workers=settings.workers,
            on_rows=on_rows,
        )
        prefix = feeds.prefixes["rows", name]
        if prefix.store is not None:
            return Pooled(prefix.store.array(0).reshape(len(stream), -1), caches[0])
        tensors = prefix.compute(np.arange(len(stream)))[0]
    return Pooled(torch.stack(tensors).float().cpu().numpy().reshape(len(stream), -1), caches[0])


def _by_forward(model: nn.Module, stream: Stream) -> np.ndarray:
    backbone = model.backbone
    found = []
    with evaluating(model), torch.no_grad():
        for start in range(0, len(stream), BATCH):
            rows = np.arange(start, min(start + BATCH, len(stream)))
            found.append(backbone(stream.batch(rows).inputs).pooled.float().cpu())  # type: ignore[operator]
    return torch.cat(found).numpy()
