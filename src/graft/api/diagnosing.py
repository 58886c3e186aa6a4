"""Examining data before anything is trained: all that is wrong, not only the first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from graft.api.asked import asked_for
from graft.backbones.backbone import Backbone
from graft.data.check import Purpose, check, for_purpose
from graft.data.doctor.features import constant_features, near_features
from graft.data.doctor.near import Near, near_faults
from graft.data.doctor.tokens import token_faults
from graft.data.faults import Finding, Severity
from graft.data.split import Splits, part_numbers, same_inputs
from graft.data.table import Table
from graft.engine.predict import feature_rows
from graft.errors import DataError, InputError, UnknownName
from graft.job import counted_tokens
from graft.prepare import read_table, split_of, usable_rows
from graft.recipe import Recipe
from graft.surgery.opening import open_whole
from graft.tasks.labelled import table_stream

PURPOSES: tuple[Purpose, ...] = ("classify", "retrieval", "embed")


@dataclass(frozen=True)
class Diagnosis:
    """Say what is wrong with data.

    Args:
        findings: all of them, errors first.
        n_rows: rows that can be used; 0 where reading stopped.
        how_read: which columns are what, and why.
        how_split: where the split comes from.
        stopped_at: what could not be done, so that more may be wrong than was found; else empty.
    """

    findings: tuple[Finding, ...]
    n_rows: int
    how_read: str = ""
    how_split: str = ""
    stopped_at: str = ""

    def counts(self) -> dict[Severity, int]:
        """Return severity → number of findings, errors first, without zeros."""
        found = {s: sum(f.severity == s for f in self.findings) for s in SEVERITIES}
        return {severity: n for severity, n in found.items() if n}

    @property
    def is_sound(self) -> bool:
        """Whether a training would begin."""
        return not any(finding.severity == "error" for finding in self.findings)


SEVERITIES: tuple[Severity, ...] = ("error", "skip", "warn", "repair")


def doctor(
    data: str | Path | None = None,
    *,
    task: Purpose = "classify",
    model: str | Path | Backbone | None = None,
    recipe: str | Path | None = None,
    **options: Any,
) -> Diagnosis:
    """Examine data as `train` would read it, and more closely.

    Args:
        data: as `train` takes it.
        task: `classify`, or `retrieval`, where labels that are never trained are no fault and
            ids must be unique.
        model: a backbone whose tokenizer and features are asked too: what is cut off or unknown,
            and rows that are nearly the same to it. This takes a pass over all rows.
        recipe: a YAML file of options; keywords win over it.
        options: see `graft.recipe.Recipe`.

    Raises:
        InputError: an option is wrong, or the model cannot be opened; what is wrong with the data
            is returned.
    """
    if task not in PURPOSES:
        raise UnknownName("task of the doctor", task, PURPOSES)
    asked = asked_for(data, model, recipe, options)
    diagnosis = _examined(asked.recipe, task, asked.backbone)
    found = for_purpose(diagnosis.findings, task)
    ordered = sorted(found, key=lambda f: SEVERITIES.index(f.severity))
    return Diagnosis(
        tuple(ordered),
        diagnosis.n_rows,
        diagnosis.how_read,
        diagnosis.how_split,
        diagnosis.stopped_at,
    )


def _examined(recipe: Recipe, task: Purpose, own: Backbone | None) -> Diagnosis:
    """Take the steps of a training up to its beginning, each as far as it goes."""
    findings: tuple[Finding, ...] = ()
    table = None
    try:
        table = read_table(recipe)
        findings = table.findings
        table, findings = usable_rows(recipe, table)
    except DataError as error:
        what = "reading the data" if table is None else "mending the data"
        return Diagnosis((*findings, found_by(error, recipe)), 0, stopped_at=what)
    if not len(table):
        return Diagnosis(findings, 0, table.because, stopped_at="no row can be used")
    try:
        splits = split_of(recipe, table)
    except DataError as error:
        findings += (found_by(error, recipe),)
        everything, none = np.arange(len(table)), np.zeros(0, np.int64)
        splits = Splits(everything, none, none, "")
    allow_leak = recipe.allow_leak
    checked = check(table, splits, allow_leak=allow_leak, is_deep=True)
    findings += checked.findings
    stopped_at = "" if splits.how else "splitting the rows"
    if recipe.model is not None or own is not None:
        backbone = own or open_whole(recipe.place("model") or "")
        findings += tuple(_seen_by(backbone, table, splits, checked.near))
    return Diagnosis(findings, len(table), table.because, splits.how, stopped_at)


def found_by(error: DataError, recipe: Recipe) -> Finding:
    """Return the finding that says what an error said."""
    message = getattr(error, "message", "") or str(error)
    return Finding(
        "unreadable", "error", message, error.path or recipe.data, error.row, error.column
    )


def _seen_by(
    backbone: Backbone, table: Table, splits: Splits, known: Mapping[int, Near]
) -> list[Finding]:
    """Return what a backbone's tokenizer and features show.

    Raises:
        InputError: the backbone takes another modality.
    """
    if backbone.modality != table.roles.modality:
        raise InputError(
            f"the model takes {backbone.modality}, and `{table.name_of_source}` holds "
            f"{table.roles.modality}; choose another --model or --input"
        )
    backbone.eval()
    findings = token_faults(table, counted_tokens(backbone, table, None))
    features = feature_rows(backbone, table_stream(table, backbone, {})["train"])
    findings += constant_features(table, features)
    part_of_row = part_numbers(splits, len(table))
    near = near_features(features, part_of_row)
    new = {i: found for i, found in near.items() if i not in known}
    return findings + near_faults(table, new, same_inputs(table), part_of_row)
