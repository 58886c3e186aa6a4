"""From a recipe to examples: read, made usable, mended, split and checked.

Training goes through `prepare`, which raises the first error. The doctor takes the same steps one
by one, so that it can go on after an error and look deeper.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from graft.data.check import Purpose, check, for_purpose, no_label, too_many_skipped, usable
from graft.data.doctor.mends import mended
from graft.data.doctor.near import Near
from graft.data.faults import Finding, refuse
from graft.data.readers import read
from graft.data.split import Splits, split
from graft.data.table import Table
from graft.data.unlabelled import Unlabelled, read_unlabelled
from graft.recipe import Recipe


@dataclass(frozen=True)
class Prepared:
    """Hold examples that can be learned from.

    Args:
        table: N usable examples.
        splits: their rows for training, validation and test.
        findings: what was found, nothing of it an error.
        near: held-out row → the row of an earlier part that it repeats, exactly or nearly.
    """

    table: Table
    splits: Splits
    findings: tuple[Finding, ...]
    near: Mapping[int, Near]


def prepare(recipe: Recipe) -> Prepared:
    """Return the examples of a recipe.

    Raises:
        InputError: the data, or an option about it, is not usable.
    """
    table = read_table(recipe)
    is_embedding = embeds(recipe, table)
    if table.roles.label is None and len(table.roles.inputs) == 1:
        refuse((no_label(table),))
    table, findings = usable_rows(recipe, table)
    if not len(table):
        refuse(findings)
    splits = split_of(recipe, table)
    checked = check(table, splits, allow_leak=recipe.allow_leak)
    purpose: Purpose = "embed" if is_embedding else "classify"
    found = for_purpose((*findings, *checked.findings), purpose)
    refuse(found)
    return Prepared(table, splits, found, {} if is_embedding else checked.near)


def embeds(recipe: Recipe, table: Table) -> bool:
    """Return whether embeddings are trained: as asked, or because a row has several inputs."""
    return recipe.task == "embed" or len(table.roles.inputs) > 1


def read_table(recipe: Recipe) -> Table:
    """Return the table that a recipe names, as it is."""
    return read(
        recipe.place("data") or "",
        input=recipe.input,
        label=recipe.label,
        group=recipe.group,
        split=recipe.split_column,
        encoding=recipe.encoding,
        sep=recipe.sep,
        target_kind=recipe.target_kind,
        follow_links=recipe.follow_links,
        drop_empty_classes=recipe.drop_empty_classes,
    )


def usable_rows(recipe: Recipe, table: Table) -> tuple[Table, tuple[Finding, ...]]:
    """Return the rows that can be used, mended as asked, with all findings up to here."""
    kept, found = usable(
        table,
        max_pixels=recipe.max_pixels,
        max_skip=recipe.max_skip,
        follow_links=recipe.follow_links,
    )
    findings = (*table.findings, *found)
    findings += too_many_skipped(findings, len(kept), recipe.max_skip)
    kept, mends = mended(
        kept,
        fold_labels=recipe.fold_labels,
        drop_conflicts=recipe.drop_conflicts,
        min_per_class=recipe.min_per_class,
    )
    return kept, (*findings, *mends)


def split_of(recipe: Recipe, table: Table) -> Splits:
    """Return which rows train, validate and test."""
    return split(table, seed=recipe.seed, validation=recipe.validation, test=recipe.test)


def read_beside(recipe: Recipe, table: Table, place: str) -> Unlabelled:
    """Return rows that stand beside a training table, for their inputs alone.

    Args:
        table: the training table, whose roles the rows have.
        place: file or folder.

    Raises:
        InputError: they cannot be used.
    """
    return read_unlabelled(
        place,
        table,
        encoding=recipe.encoding,
        sep=recipe.sep,
        max_pixels=recipe.max_pixels,
        max_skip=recipe.max_skip,
        follow_links=recipe.follow_links,
    )
