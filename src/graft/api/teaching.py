"""What a teacher says of every row: one pass, through the same stores as all features."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from graft.engine.embed import pooled_features
from graft.engine.fingerprint import fingerprint
from graft.engine.processes import Processes, is_main
from graft.engine.settings import Listener, Settings
from graft.engine.views import items
from graft.job import PARTS, Job
from graft.metrics import scorer_of
from graft.records import TeacherRecord
from graft.tasks.distilled import UNLABELLED, Distilled
from graft.tasks.labelled import Labelled, answered, table_stream
from graft.teacher import Teacher
from graft.teacher_job import Taught


def taught(job: Job, settings: Settings, listener: Listener) -> Job:
    """Return the job with what its teacher says of every row; the teacher itself is let go.

    Its pooled features are stored by its weights, its processor and the rows, as any backbone's
    are; what its head makes of them is computed anew.
    """
    teacher, task = job.teacher, job.task
    if teacher is None:
        return job
    assert isinstance(task, Distilled)
    own: Labelled = task.task
    streams: dict[str, Any] = {
        part: own.streams(job.table.take(rows), teacher.backbone)["train"]
        for part in PARTS
        if len(rows := getattr(job.splits, part))
    }
    if job.unlabelled is not None:
        streams[UNLABELLED] = table_stream(job.unlabelled.table, teacher.backbone, {})["train"]
    teacher.to(Processes().device)
    told = listener if is_main() else Listener()
    passes = pooled_features(
        teacher.model,
        own,
        {part: items(stream) for part, stream in streams.items()},
        replace(settings, precision="fp32"),
        state=teacher.state,
        on_rows=lambda part, done, n: told.on_rows(f"{part} rows of the teacher", done, n),
        on_note=told.on_note,
    )
    features = {part: found.features for part, found in passes.items()}
    speaks = teacher.head is not None and not task.reads_features
    said = {
        ("train", part) if part == UNLABELLED else (part, "train"): (
            teacher.outputs(found) if speaks else np.array(found)
        )
        for part, found in features.items()
    }
    if task.kind == "features":
        task = replace(task, spread=max(float(said["train", "train"].var(0).mean()), 1e-12))
    record = TeacherRecord(
        teacher.name,
        task.kind,
        task.weight,
        task.temperature,
        teacher.head is not None,
        _scores(teacher, own, streams, features),
        0 if job.unlabelled is None else len(job.unlabelled.table),
        passes["train"].cache,
    )
    weights = fingerprint(teacher.tensors())
    return replace(job, task=task, teacher=None, taught=Taught(said, record, weights))


def _scores(
    teacher: Teacher, task: Labelled, streams: dict[str, Any], features: dict[str, np.ndarray]
) -> dict[str, dict[str, float]]:
    """Return what the teacher is worth on each held-out split."""
    score, known = scorer_of(task.metrics), task.truth(streams["train"])
    found = {}
    for part in ("validation", "test"):
        if part in streams:
            outputs = (
                task.untrained(features["train"], known, features[part])  # type: ignore[arg-type]
                if teacher.head is None
                else answered(task, teacher.outputs(features[part]))
            )
            found[part] = score(task.truth(streams[part]), outputs).scores()
    return found
