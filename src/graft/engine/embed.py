"""Features of untouched backbones, from the same store that the phases read."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from graft.engine.feeds import find_feeds
from graft.engine.filling import OnNote
from graft.engine.groups import locate, resolve
from graft.engine.prefix import OnRows
from graft.engine.processes import Processes
from graft.engine.replay import evaluating
from graft.engine.settings import Settings
from graft.engine.stores import MANY, Wish, attach
from graft.methods.plan import Rule
from graft.methods.select import everything, head
from graft.tasks.task import Stream, Task

BATCH = 64


def pooled_features(
    model: nn.Module,
    task: Task,
    stream: Stream,
    settings: Settings,
    name: str = "train",
    on_rows: OnRows = lambda *_: None,
    on_note: OnNote = lambda _: None,
) -> np.ndarray:
    """Return (N, D) pooled features of every row of a stream, stored on the way.

    Args:
        on_rows: told how far the pass has come.
        on_note: told what is about to be written, and what cannot be.
    """
    rules = (Rule(head(), 1.0), Rule(everything(), None))
    groups = resolve(rules, locate(model))
    feeds = find_feeds(model, None, task, groups, {name: stream})
    processes = Processes(precision=settings.precision)
    if not feeds.replays:
        return _by_forward(model, stream)
    frozen = frozenset(m.place.name for m in groups[-1].members)
    with processes.autocast():
        attach(
            model,
            task,
            [Wish(feeds, frozen, MANY)],
            {"rows": {name: stream}},
            root=settings.cache,
            budget_bytes=settings.cache_bytes,
            processes=processes,
            n_workers=settings.workers,
            on_rows=on_rows,
            on_note=on_note,
        )
        prefix = feeds.prefixes["rows", name]
        if prefix.store is not None:
            return prefix.store.array(0).reshape(len(stream), -1)
        tensors = prefix.compute(np.arange(len(stream)))[0]
    return torch.stack(tensors).float().cpu().numpy().reshape(len(stream), -1)


def _by_forward(model: nn.Module, stream: Stream) -> np.ndarray:
    backbone = model.backbone
    found = []
    with evaluating(model), torch.no_grad():
        for start in range(0, len(stream), BATCH):
            rows = np.arange(start, min(start + BATCH, len(stream)))
            found.append(backbone(stream.batch(rows).inputs).pooled.float().cpu())  # type: ignore[operator]
    return torch.cat(found).numpy()
