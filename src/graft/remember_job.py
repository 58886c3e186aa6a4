"""Rows for what a network could do before it is trained: `--remember`."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

from graft.data.faults import shorten_path
from graft.data.split import Splits
from graft.data.table import Table
from graft.errors import DataError, InputError
from graft.prepare import embeds, prepare
from graft.recipe import Recipe

SHARE_MEASURED = 0.5
"""Of the rows, where the data bring no split; the others are what a head is solved on."""


@dataclass(frozen=True, eq=False)
class OldRows:
    """Hold labelled rows of another question than the one that is trained.

    Args:
        name: as the user wrote it.
        splits: a head is solved on `train`; `test`, or else `validation`, is measured.
    """

    name: str
    table: Table
    splits: Splits


def read_old_rows(recipe: Recipe, modality: str) -> OldRows | None:
    """Read the rows that a recipe names; None where it names none.

    Columns have the names that they have in the training data, or are found by themselves.

    Args:
        modality: of the backbone.

    Raises:
        InputError: they are not usable, or nothing could be forgotten.
    """
    place = recipe.place("remember")
    if place is None:
        return None
    for flag, why in (
        ("--method scratch", "begins with random weights" if recipe.method == "scratch" else ""),
        ("--at any", "trains no body" if recipe.at == "any" else ""),
    ):
        if why:
            raise InputError(f"{flag} {why}, so nothing is forgotten; leave out --remember")
    prepared = None
    named: dict[str, Any] = {"input": recipe.input, "label": recipe.label}
    if any(named.values()):
        with contextlib.suppress(DataError):  # the columns have other names there
            prepared = prepare(_of(recipe, place, named))
    prepared = prepared or prepare(_of(recipe, place, {}))
    table, splits = prepared.table, prepared.splits
    if embeds(recipe.model_copy(update={"task": None}), table):
        raise InputError(f"{place}: --remember takes one input and a label a row; leave it out")
    if table.roles.modality != modality:
        raise InputError(
            f"{place}: --remember holds {table.roles.modality}, and the model takes {modality}; "
            "choose other data"
        )
    if not (len(splits.test) or len(splits.validation)):
        raise InputError(f"{place}: no row is left to measure what is remembered; add some")
    return OldRows(shorten_path(recipe.remember or "", 60), table, splits)


def _of(recipe: Recipe, place: str, named: dict[str, Any]) -> Recipe:
    """Return the recipe that reads the old rows as the training data are read."""
    alike = ("encoding", "sep", "follow_links", "max_pixels", "max_skip", "seed")
    kept = {name: getattr(recipe, name) for name in alike}
    shares = {"validation": 0.0, "test": SHARE_MEASURED}
    return Recipe(data=place, allow_leak=True, **shares, **kept, **named)
