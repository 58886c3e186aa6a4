"""What a training would do, without training."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from graft.api.asked import asked_for
from graft.api.choosing import with_method
from graft.api.training import settings_of
from graft.backbones.backbone import Backbone
from graft.backbones.pair import BackbonePair
from graft.data.faults import Finding
from graft.engine.estimate import estimate
from graft.engine.feeds import find_feeds
from graft.engine.groups import locate, resolve
from graft.engine.solve import why_not_convex
from graft.engine.threads import choose_threads, computing_with
from graft.engine.views import ENDLESS
from graft.job import PARTS, Job, open_job
from graft.methods.plan import Convex
from graft.phase_records import GroupRecord
from graft.tasks.adapted import TARGET
from graft.tasks.distilled import UNLABELLED
from graft.tasks.task import Stream

MOST_ROWS = 4096
"""Rows of a split whose lengths are looked at; the rest is taken to be like them."""


@dataclass(frozen=True)
class PlannedPhase:
    """A phase as it would run: its groups, where the network would be cut, and what it would take.

    Args:
        seconds: estimated, on this machine as busy as it is now.
        memory_bytes: estimated peak, on top of what Python and its libraries hold.
        store_bytes: of the feature stores that it would add.
        n_steps: optimiser steps; 0 where the head is solved.
    """

    name: str
    by: str
    cut: str
    cached: bool
    reason: str
    groups: tuple[GroupRecord, ...]
    seconds: float = 0.0
    memory_bytes: int = 0
    store_bytes: int = 0
    n_steps: int = 0


@dataclass(frozen=True)
class Planned:
    """What a training would do.

    Args:
        problem: what the outputs mean, in the words of transformers' configurations.
        n_target: rows of another domain that it would adapt to, and
        adapt: how; empty where there is none.
        transforms: what lies between the data and the pretrained network: what becomes of a
            picture or a text, and what of the network was changed to read it.
    """

    model: str
    method: str
    n_blocks: int
    problem: str
    classes: tuple[str, ...]
    n_train: int
    n_validation: int
    n_test: int
    how_read: str
    how_split: str
    notes: tuple[str, ...]
    phases: tuple[PlannedPhase, ...]
    findings: tuple[Finding, ...]
    seconds: float = 0.0
    memory_bytes: int = 0
    store_bytes: int = 0
    n_target: int = 0
    adapt: str = ""
    transforms: tuple[str, ...] = ()


def plan(
    data: str | Path | None = None,
    *,
    model: str | Path | Backbone | None = None,
    recipe: str | Path | None = None,
    **options: Any,
) -> Planned:
    """Say what `train` would do, without training."""
    asked = asked_for(data, model, recipe, options)
    began = time.perf_counter()
    with computing_with(asked.recipe.threads or choose_threads()):
        job = open_job(asked.recipe, asked.backbone, asked.plan)
        job = replace(job, notes=(*asked.notes, *job.notes))
        if job.recipe.method == "auto":
            train = job.task.streams(job.table.take(job.splits.train), job.backbone)["train"]
            job = with_method(job, train, settings_of(job))
        streams, n_rows = _some_streams(job)
        loading = time.perf_counter() - began
        costs = estimate(
            job.plan,
            job.model,
            job.task,
            streams,
            n_rows=n_rows,
            state=job.state,
            settings=settings_of(job),
        )
    stream = job.streams_of("train", 64)
    phases = []
    for phase, cost in zip(job.plan.phases, costs.phases, strict=True):
        groups = resolve(phase.rules, locate(job.model, job.state))
        feeds = find_feeds(job.model, job.state, job.task, groups, stream)
        records = tuple(
            GroupRecord(str(g.rule.where), g.rule.lr, len(g.members), g.n_parameters)
            for g in groups
            if g.members
        )
        if isinstance(phase.by, Convex):
            why = why_not_convex(job.task, job.model, feeds)
            by = f"gradient ({why})" if why else "convex"
        else:
            n_epochs = phase.by.n_epochs(len(job.splits.train))
            by = f"{n_epochs} epoch{'' if n_epochs == 1 else 's'}"
        cached, reason = bool(feeds.replays), feeds.reason
        if cached and by != "convex" and job.varies_without_end:
            cached, reason = False, ENDLESS
        phases.append(
            PlannedPhase(
                phase.name,
                by,
                feeds.cut.label,
                cached,
                reason,
                records,
                cost.seconds,
                cost.memory_bytes,
                cost.store_bytes,
                cost.n_steps,
            )
        )
    return Planned(
        job.recipe.model or "",
        job.recipe.method,
        job.n_blocks,
        job.task.problem,
        job.task.classes,
        len(job.splits.train),
        len(job.splits.validation),
        len(job.splits.test),
        job.table.because,
        job.splits.how,
        _notes(job),
        tuple(phases),
        job.findings,
        loading + costs.seconds,
        costs.memory_bytes,
        costs.store_bytes,
        len(job.target.splits.train) if job.target is not None and TARGET in stream else 0,
        getattr(job.task, "adapt", ""),
        _transforms(job.backbone),
    )


def _transforms(backbone: Backbone | BackbonePair) -> tuple[str, ...]:
    is_pair = isinstance(backbone, BackbonePair)
    read = [backbone.image, backbone.text] if is_pair else [backbone]
    # a processor of one's own need not say what it does
    said = (str(b.processor) for b in read if type(b.processor).__str__ is not object.__str__)
    return (*said, *backbone.origin.notes)


def _notes(job: Job) -> tuple[str, ...]:
    """Return what is said of a plan, and what its estimate leaves out."""
    if job.teacher is None:
        return job.notes
    asked = "the teacher is asked for every row that it was not asked for before: not counted here"
    return (*job.notes, asked)


def _some_streams(job: Job) -> tuple[dict[str, Mapping[str, Stream]], dict[str, int]]:
    """Return streams of up to MOST_ROWS rows of each split, and how many rows it has."""
    n_rows: dict[str, int] = {part: len(getattr(job.splits, part)) for part in PARTS}
    streams: dict[str, Mapping[str, Stream]] = {
        part: job.streams_of(part, MOST_ROWS) for part in PARTS if n_rows[part]
    }
    if job.unlabelled is not None:
        n_rows[f"train/{UNLABELLED}"] = len(job.unlabelled.table)
    return streams, n_rows
