"""Evaluating the model of a run on labelled data."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graft.adapters import open_model
from graft.api.both_towers import first_of, open_both, vectors_of_both
from graft.api.judging import N_RESAMPLES, asked_pairs, classes_of, pairs_record
from graft.api.predicting import model_folder, refuse_many_skipped, refuse_other_modality
from graft.api.run_limits import limits_of
from graft.backbones.backbone import Backbone
from graft.backbones.pair import folder_of_both
from graft.data.captions import IMAGE_TEXT
from graft.data.check import usable
from graft.data.faults import Finding, refuse
from graft.data.readers import read
from graft.data.split import Part, given_parts
from graft.data.table import Table
from graft.data.targets import TargetKind
from graft.data.tuples import relevant
from graft.embedding_job import judged
from graft.errors import DataError, InputError
from graft.metrics import scorer_of
from graft.metrics.intervals import bootstrap
from graft.metrics.verification_scores import scorer_of_sample
from graft.recipe import read_recipe
from graft.records import ClassScores, Interval, PairsRecord
from graft.tasks.embed import Embed

TARGETS: dict[str, TargetKind] = {
    "classify": "single",
    "multilabel": "multi",
    "regress": "number",
    "embed": "single",
}
"""task → how a label column is read for it."""


@dataclass(frozen=True)
class Evaluation:
    """Say what a model is worth on N labelled rows.

    Args:
        n_rows: N.
        task: name in `TASKS`.
        headline: the metric by which the model is judged at a glance.
        intervals: every metric with its 95 % bootstrap interval.
        per_class: a row per class or label; empty for numbers.
        findings: rows that could not be used, and what else was noticed.
        n_skipped: rows that could not be used.
        pairs: those that a threshold on their cosine tells apart, as `RunRecord` has it.
    """

    n_rows: int
    task: str
    headline: str
    intervals: dict[str, Interval]
    per_class: tuple[ClassScores, ...]
    findings: tuple[Finding, ...] = ()
    n_skipped: int = 0
    pairs: PairsRecord | None = None

    def refuse_if_many_skipped(self) -> None:
        """Raise where more than 1 % of the rows could not be used.

        Raises:
            SkippedTooMany: as said.
        """
        refuse_many_skipped(self.n_skipped, self.n_rows + self.n_skipped)

    @property
    def metrics(self) -> dict[str, float]:
        """Return every metric without its interval."""
        return {name: interval.value for name, interval in self.intervals.items()}


def evaluate(
    folder: str | Path,
    data: str | Path,
    *,
    backbone: Backbone | None = None,
    only: Part | None = None,
    **roles: str | None,
) -> Evaluation:
    """Evaluate the model of a run on labelled data.

    Args:
        folder: of the run, or of its model.
        data: a table or folder with labels.
        backbone: where the run's network was declared in Python: the same, declared again.
        only: evaluate the rows of one part of the split that the data brings, such as `test`.
        roles: names of columns, and more that `graft.data.readers.read` takes; those of the run
            where none is given.

    Raises:
        InputError: the data has no labels, or no such part, or another modality than the model.
        DataError: a label is none that the model knows.
    """
    opened: Any
    limits = limits_of(folder)
    asked: dict[str, Any] = {**roles}
    if limits.follow_links:
        asked["follow_links"] = True
    if folder_of_both(folder) is not None:
        opened = open_both(folder)
        table = _read(folder, data, {k: v for k, v in asked.items() if k != "label"})
        if table.roles.modality != IMAGE_TEXT:
            raise InputError(
                f"{data}: holds no pictures with captions; name both columns: --input image,caption"
            )
    else:
        opened = open_model(model_folder(folder), backbone=backbone)
        table = _read(folder, data, {**asked, "target_kind": TARGETS[opened[1].name]})
        refuse_other_modality(opened[0].backbone, table, folder)
    if table.roles.label is None and len(table.roles.inputs) == 1:
        raise InputError(f"{data}: no label column to evaluate on; name it with --label")
    if only is not None:
        table = _part(table, only)
    if isinstance(opened[1], Embed):
        opened = opened[0], judged(opened[1], table, _objective(folder))
        table = relevant(table) if opened[1].by_relevance else table
    n_asked = len(table)
    table, findings = usable(table, max_pixels=limits.max_pixels, follow_links=limits.follow_links)
    refuse(findings)
    parts: tuple[Any, Any] = opened
    model, task = parts
    streams = task.streams(table, getattr(model, "backbone", model))
    outputs = vectors_of_both(model, task, streams, None)
    targets = task.truth(first_of(streams))
    intervals = bootstrap(scorer_of(task.metrics)(targets, outputs))
    pairs = asked_pairs(task, targets)
    if pairs is not None:
        intervals |= bootstrap(scorer_of_sample(pairs, outputs), n_resamples=N_RESAMPLES)
    return Evaluation(
        len(table),
        task.name,
        task.headline,
        intervals,
        classes_of(task, targets, outputs),
        (*table.findings, *findings),
        n_asked - len(table),
        None if pairs is None else pairs_record(pairs),
    )


def _read(folder: str | Path, data: str | Path, roles: Mapping[str, Any]) -> Table:
    """Read a table; what is not said of its columns is what was said when the run was trained."""
    path = Path(folder) / "recipe.yaml"
    if roles.get("label") is None and path.is_file():
        recipe = read_recipe({}, path)
        as_trained: dict[str, Any] = {"input": recipe.input, "label": recipe.label}
        with contextlib.suppress(DataError):  # the columns have other names here
            return read(data, **{**as_trained, **{k: v for k, v in roles.items() if v}})
    return read(data, **roles)


def _objective(folder: str | Path) -> str | None:
    """Return the objective of a run, where its recipe is there and names one."""
    path = Path(folder) / "recipe.yaml"
    return read_recipe({}, path).objective if path.is_file() else None


def _part(table: Table, part: Part) -> Table:
    """Return the rows of one part of a split.

    Raises:
        InputError: the data brings no split, or no row of this part.
    """
    rows = [i for i, found in enumerate(given_parts(table) or ()) if found == part]
    if not rows:
        raise InputError(
            f"{table.name_of_source}: no row is marked as {part}; name the column with "
            "--split-column, or leave out --only"
        )
    return table.take(rows)
