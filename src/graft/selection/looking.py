"""One candidate: opened on the common table, its features from one pass or from the store."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from graft.backbones.backbone import Backbone
from graft.engine.embed import pooled_features
from graft.engine.replay import evaluating
from graft.engine.row_groups import RowGroups
from graft.engine.settings import Listener, Settings
from graft.engine.views import plain
from graft.job import Job, open_job
from graft.phase_records import CacheRecord
from graft.prepare import Prepared
from graft.recipe import Recipe
from graft.selection.candidates import Candidate, name_of
from graft.tasks.streams import TableStream

SettingsOf = Callable[[Job], Settings]


@dataclass(frozen=True, eq=False)
class Look:
    """Hold what is seen of one candidate.

    Args:
        name: as it was named.
        stream: the training rows.
        features: (N, D) of those that are asked, memory-mapped where all are, and are stored.
        cache: of the pass; None where nothing was stored.
        open_seconds: that opening it took.
        pass_seconds: that a pass over all rows takes.
    """

    name: str
    job: Job
    stream: TableStream
    features: np.ndarray
    cache: CacheRecord | None
    open_seconds: float
    pass_seconds: float

    @property
    def n_computed(self) -> int:
        """Return the rows that had to be computed; the others lay in the store."""
        is_stored = self.cache is not None and self.cache.used
        return self.cache.n_computed if self.cache and is_stored else len(self.stream)

    @property
    def backbone(self) -> Backbone:
        """Return the network."""
        return self.job.backbone


def look(
    recipe: Recipe,
    candidate: Candidate,
    prepared: Prepared,
    rows: np.ndarray,
    settings_of: SettingsOf,
    listener: Listener,
) -> Look:
    """Open a candidate and pass the training rows through it once.

    Args:
        rows: (N,) numbers of the training rows that are asked, ascending.

    Raises:
        InputError: it cannot be opened, or takes another modality than the table holds.
    """
    began = time.perf_counter()
    name = name_of(candidate)
    own = candidate if isinstance(candidate, Backbone) else None
    job = open_job(recipe.model_copy(update={"model": name}), own, prepared=prepared)
    opened = time.perf_counter()
    stream: Any = plain(job.streams()["train"]["train"])
    features, cache = features_of(job, stream, settings_of(job), listener, name)
    taken = time.perf_counter() - opened
    features = features if len(rows) == len(features) else features[rows]
    found = Look(name, job, stream, features, cache, opened - began, taken)
    if found.n_computed == len(stream):
        return found
    return replace(found, pass_seconds=estimated_seconds(job.backbone, stream))


def features_of(
    job: Job, stream: TableStream, settings: Settings, listener: Listener, told: str
) -> tuple[np.ndarray, CacheRecord | None]:
    """Return pooled features (N, D) of a stream's rows, and the record of their store.

    Args:
        told: what the listener is told that the pass is of.
    """
    found = pooled_features(
        job.model,
        job.task,
        {"train": stream},
        settings,
        on_rows=lambda _, done, n: listener.on_rows(told, done, n),
        on_note=listener.on_note,
    )["train"]
    for parameter in job.model.parameters():
        parameter.requires_grad_(True)  # a backbone declared in Python is the user's own
    return found.features, found.cache


def estimated_seconds(backbone: Backbone, stream: TableStream) -> float:
    """Return about how long a pass over all rows takes, from two groups of them."""
    groups = RowGroups(stream).of(np.arange(len(stream)))
    some = [groups[len(groups) // 4], groups[3 * len(groups) // 4]]
    device = next(backbone.parameters()).device
    with evaluating(backbone), torch.no_grad():
        began = time.perf_counter()
        for group in some:
            backbone(stream.batch(group.padded, length=group.length).to(device).inputs)
        taken = time.perf_counter() - began
    return taken * sum(g.units for g in groups) / sum(g.units for g in some)


def source_probabilities(backbone: Backbone, features: np.ndarray) -> np.ndarray | None:
    """Return (N, Z) probabilities of the classes that the checkpoint's own head tells apart.

    None where it came without a head of exclusive classes that is linear on pooled features.
    """
    origin = backbone.origin
    if origin.old_head is None or origin.problem != "single_label_classification":
        return None
    weight, bias = (t.detach().cpu().double() for t in origin.old_head)
    scores = torch.from_numpy(np.array(features)).double() @ weight.T + bias
    return torch.softmax(scores, -1).numpy()
