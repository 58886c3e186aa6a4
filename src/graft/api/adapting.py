"""What adapting to another domain came to: both domains before and after, on held-out rows.

    phases, held-out rows of both, their features and answers ─with_domain→ DomainRecord, a map

Here, and nowhere before, labels of the target are read, where its data brings some.

Shapes: K source and L target rows whose features are looked at, D feature width, C classes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from graft.api.mapping import drawn_rows, lay_out
from graft.data.table import Table
from graft.domain_job import Target
from graft.engine.predict import predict_and_embed
from graft.engine.solve import search
from graft.job import Job
from graft.metrics import scorer_of
from graft.metrics.intervals import bootstrap_change
from graft.model import Model
from graft.phase_records import EpochRecord, PhaseRecord
from graft.records import DomainRecord, Interval, RunRecord
from graft.report.facts import Facts, FeatureMap
from graft.tasks.adapted import SOURCE, TARGET, Adapted
from graft.tasks.streams import TableStream
from graft.tasks.task import ConvexProblem

N_FOLDS = 5
MOST_SHOWN = 1_000
"""Rows of each domain in the map."""

CLEARLY = 0.1
"""Nats by which an epoch must be better for it to be worth a note."""


@dataclass(frozen=True, eq=False)
class Seen:
    """Hold what a network makes of the held-out rows of one domain.

    Args:
        features: (K, D) of the rows that are looked at.
        outputs: (N, C) answers for all of them.
    """

    features: np.ndarray
    outputs: np.ndarray


def held_out_target(streams: Mapping[str, Mapping[str, TableStream]]) -> TableStream | None:
    """Return the target's rows of the part that counts; None where there are none.

    Args:
        streams: by split.
    """
    return streams[judged_part(streams)].get(TARGET)


def judged_part(streams: Mapping[str, Mapping[str, TableStream]]) -> Literal["test", "validation"]:
    """Return the part that counts: test, or validation where the source has no test rows."""
    return "test" if len(streams["test"][SOURCE]) else "validation"


def with_domain(
    job: Job,
    record: RunRecord,
    *,
    facts: Facts,
    streams: Mapping[str, Mapping[str, TableStream]],
    source: tuple[np.ndarray, np.ndarray] | None,
    before: Seen | None,
) -> tuple[RunRecord, Facts]:
    """Return record and facts of a run with what adapting to another domain came to.

    Args:
        streams: by split.
        source: features (K, D) of held-out source rows before and after; None without such rows.
        before: the held-out target rows, before; None without such rows.
    """
    assert job.target is not None and isinstance(job.model, Model)
    task: Any = job.task
    domain = domain_record(task, job.target, record.phases)
    if source is not None and before is not None:
        stream = streams[record.judged_on][TARGET]
        outputs, features = predict_and_embed(
            job.model, task, stream, drawn_rows(len(stream)), n_workers=job.recipe.workers
        )
        seen = before, Seen(features, outputs[task.output])
        rows = getattr(job.target.splits, record.judged_on)
        domain = compared(
            domain,
            task,
            target=job.target,
            rows=rows,
            source=source,
            seen=seen,
            seed=job.recipe.seed,
        )
        facts = dataclasses.replace(facts, domain_map=domain_map(source, seen))
    notes = (*record.notes, *better_epoch(task, record.phases))
    return dataclasses.replace(record, domain=domain, notes=notes), facts


def domain_record(task: Adapted, target: Target, phases: Sequence[PhaseRecord]) -> DomainRecord:
    """Return what is known of the target without its held-out rows.

    Args:
        target: the rows that were adapted to.
        phases: as they ran.
    """
    found = kept_epoch(phases)
    scores = {} if found is None else found[1].scores
    return DomainRecord(
        data=target.table.name_of_source,
        data_hash=target.table.content_hash(),
        adapt=task.adapt,
        weight=task.weight,
        n_train=len(target.splits.train),
        n_validation=len(target.splits.validation),
        n_test=len(target.splits.test),
        criterion=task.criterion(0.0, scores) if scores else None,
        scores=scores,
        label=target.read.label or "",
    )


def compared(
    record: DomainRecord,
    task: Adapted,
    *,
    target: Target,
    rows: np.ndarray,
    source: tuple[np.ndarray, np.ndarray],
    seen: tuple[Seen, Seen],
    seed: int,
) -> DomainRecord:
    """Return the record with what held-out rows of both domains say, before and after.

    Args:
        rows: (N,) numbers of the target's held-out rows.
        source: features (K, D) of held-out source rows, before and after.
        seen: the held-out target rows, before and after.
        seed: of the folds.
    """
    before, after = (told_apart(a, b.features, seed) for a, b in zip(source, seen, strict=True))
    n_scored, intervals = scored(task, target, rows, seen)
    return dataclasses.replace(
        record, told_before=before, told_after=after, n_scored=n_scored, intervals=intervals
    )


def told_apart(source: np.ndarray, target: np.ndarray, seed: int) -> float | None:
    """Return how often a linear probe tells the domain of a row that it was not solved on.

    Each domain counts half, so 0.5 is chance, whatever the numbers of rows. The proxy distance of
    the domains is 2 (2 a − 1) for a share a of right answers.

    Args:
        source: (K, D).
        target: (L, D).
        seed: of the folds.

    Returns:
        0 to 1, by cross-validation; None where a domain has fewer rows than there are folds.

    Source: Ben-David et al. 2007, "Analysis of Representations for Domain Adaptation", section 5;
    Ganin et al. 2016, section 5.1.
    """
    n, m = len(source), len(target)
    if min(n, m) < N_FOLDS:
        return None
    domains = np.repeat([0, 1], [n, m])
    weights = np.repeat([(n + m) / (2 * n), (n + m) / (2 * m)], [n, m])
    problem = ConvexProblem("softmax", domains, 2, weights)
    found = search(np.concatenate([source, target]), problem, N_FOLDS, seed)
    return found.accuracies[found.chosen]


def scored(
    task: Adapted, target: Target, rows: np.ndarray, seen: tuple[Seen, Seen]
) -> tuple[int, dict[str, dict[str, Interval]]]:
    """Return how many target rows have a label that the model knows, and what it is worth there.

    Args:
        rows: (N,) numbers of the target's held-out rows.
        seen: what the network makes of them, before and after.
    """
    known = [(i, name) for i, name in enumerate(labels_of(target, rows)) if name in task.classes]
    if not known:
        return 0, {}
    places = np.asarray([i for i, _ in known])
    truth = np.asarray([task.classes.index(name) for _, name in known])
    score = scorer_of(task.metrics)
    before, after = (score(truth, part.outputs[places]) for part in seen)
    return len(known), bootstrap_change(before, after)


def labels_of(target: Target, rows: np.ndarray) -> list[str]:
    """Return the labels of some target rows, "" where there is none."""
    if target.read.label is None:
        return [""] * len(rows)
    table: Table = target.table
    roles = dataclasses.replace(table.roles, label=target.read.label)
    return dataclasses.replace(table, roles=roles).take(rows).labels() or []


def kept_epoch(phases: Sequence[PhaseRecord]) -> tuple[PhaseRecord, EpochRecord] | None:
    """Return the last phase by gradient, and which of its epochs the model has."""
    last = next((phase for phase in reversed(phases) if phase.epochs), None)
    if last is None:
        return None
    return last, last.epochs[-1 if last.best_epoch is None else last.best_epoch]


def better_epoch(task: Adapted, phases: Sequence[PhaseRecord]) -> tuple[str, ...]:
    """Say where an earlier epoch was clearly better by what is known without target labels."""
    found = kept_epoch(phases)
    if found is None or not found[1].scores:
        return ()
    values = [task.criterion(0.0, epoch.scores) for epoch in found[0].epochs]
    kept, best = task.criterion(0.0, found[1].scores), min(values)
    if best > kept - CLEARLY:
        return ()
    note = (
        f"without labels of the target, epoch {values.index(best) + 1} looks better than the one "
        f"that was kept (criterion {best:.2f} and {kept:.2f}): pass --patience {len(values)}, or a "
        "smaller --adapt-weight"
    )
    return (note,)


def domain_map(source: tuple[np.ndarray, np.ndarray], seen: tuple[Seen, Seen]) -> FeatureMap:
    """Lay out rows of both domains by their features before and after, in one basis.

    Args:
        source: features (K, D) of held-out source rows, before and after.
        seen: the held-out target rows, before and after.
    """
    own, other = (drawn_rows(len(x), MOST_SHOWN) for x in (source[0], seen[0].features))
    sets = [np.concatenate([a[own], b.features[other]]) for a, b in zip(source, seen, strict=True)]
    groups = ["source"] * len(own) + ["target"] * len(other)
    before, after = lay_out(sets, groups, is_divided=True)
    n_rows = len(source[0]) + len(seen[0].features)
    return FeatureMap(n_rows, tuple(groups), (), (False,) * len(groups), after, before)
