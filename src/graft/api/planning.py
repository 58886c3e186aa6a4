"""What a training would do, without training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graft.api.asked import asked_for
from graft.backbones.backbone import Backbone
from graft.data.faults import Finding
from graft.engine.feeds import find_feeds
from graft.engine.groups import locate, resolve
from graft.engine.solve import why_not_convex
from graft.engine.views import ENDLESS
from graft.job import open_job
from graft.methods.plan import Convex
from graft.records import GroupRecord


@dataclass(frozen=True)
class PlannedPhase:
    """A phase as it would run: its groups, and where the network would be cut."""

    name: str
    by: str
    cut: str
    cached: bool
    reason: str
    groups: tuple[GroupRecord, ...]


@dataclass(frozen=True)
class Planned:
    """What a training would do."""

    model: str
    method: str
    n_blocks: int
    classes: tuple[str, ...]
    n_train: int
    n_validation: int
    n_test: int
    how_read: str
    how_split: str
    phases: tuple[PlannedPhase, ...]
    findings: tuple[Finding, ...]


def plan(
    data: str | Path | None = None,
    *,
    model: str | Path | Backbone | None = None,
    recipe: str | Path | None = None,
    **options: Any,
) -> Planned:
    """Say what `train` would do, without training."""
    asked = asked_for(data, model, recipe, options)
    job = open_job(asked.recipe, asked.backbone, asked.plan)
    stream = job.task.streams(job.table.take(job.splits.train[:64]), job.backbone)
    phases = []
    for phase in job.plan.phases:
        groups = resolve(phase.rules, locate(job.model))
        feeds = find_feeds(job.model, None, job.task, groups, stream)
        records = tuple(
            GroupRecord(str(g.rule.where), g.rule.lr, len(g.members), g.n_parameters)
            for g in groups
            if g.members
        )
        if isinstance(phase.by, Convex):
            why = why_not_convex(job.task, job.model, feeds)
            by = f"gradient ({why})" if why else "convex"
        else:
            by = f"{phase.by.n_epochs(len(job.splits.train))} epochs"
        cached, reason = bool(feeds.replays), feeds.reason
        if cached and by != "convex" and job.varies_without_end:
            cached, reason = False, ENDLESS
        phases.append(PlannedPhase(phase.name, by, feeds.cut.label, cached, reason, records))
    return Planned(
        job.recipe.model or "",
        job.recipe.method,
        job.n_blocks,
        job.task.classes,
        len(job.splits.train),
        len(job.splits.validation),
        len(job.splits.test),
        job.table.because,
        job.splits.how,
        tuple(phases),
        job.findings,
    )
