"""What the untouched network answers for held-out rows: what training is held against."""

from __future__ import annotations

from typing import Any

import numpy as np

from graft.api.adapting import Seen, held_out_target
from graft.api.both_towers import first_of, is_paired, vectors_of_both
from graft.api.finishing import Streams, Untouched
from graft.api.mapping import drawn_rows
from graft.engine.embed import pooled_features
from graft.engine.processes import is_main
from graft.engine.settings import Listener, Settings
from graft.engine.views import items, plain
from graft.job import Job
from graft.tasks.adapted import TARGET


def untouched(job: Job, streams: Streams, settings: Settings, listener: Listener) -> Untouched:
    """Return what the untouched backbone's features answer for each held-out split."""
    if is_paired(streams["train"]):
        return _before_of_both(job, streams)
    told = listener if is_main() else Listener()
    parts = {
        name: items(plain(part["train"])) for name, part in streams.items() if len(part["train"])
    }
    target = held_out_target(streams)
    if target is not None:
        parts[TARGET] = target
    passes = pooled_features(
        job.model,
        job.task,
        parts,
        settings,
        state=job.state,
        on_rows=lambda split, done, n: told.on_rows(f"{split} rows", done, n),
        on_note=told.on_note,
    )
    known = passes.pop("train")
    targets: Any = job.task.truth(streams["train"]["train"])
    seen = None
    if target is not None:
        of_target = passes.pop(TARGET).features
        answers = job.task.untrained(known.features, targets, of_target)
        seen = Seen(np.array(of_target[drawn_rows(len(of_target))]), answers)
    outputs, features = {}, {}
    for name, found in passes.items():
        outputs[name] = job.task.untrained(known.features, targets, found.features)
        features[name] = np.array(found.features[drawn_rows(len(found.features))])
    return Untouched(outputs, features, known.cache, known.features, seen)


def _before_of_both(job: Job, streams: Streams) -> Untouched:
    """Return the vectors of untouched towers under the projections that training begins with."""
    outputs = {
        name: vectors_of_both(job.model, job.task, part, job.recipe.workers)
        for name, part in streams.items()
        if name != "train" and len(first_of(part))
    }
    return Untouched(outputs, {k: v[drawn_rows(len(v))] for k, v in outputs.items()})
