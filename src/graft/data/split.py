"""Which rows train, which choose, which are read once at the end.

A split that the data brings is kept. What is missing is drawn: seeded, stratified by label, and
never tearing a group apart. Rows with the same input stay together as well, so what is drawn
leaks nothing. One row of every class is set aside for training before anything is drawn, so no
class is only ever seen in a test.

Numbers are stratified by their quantiles; rows with several labels are dealt one by one to the
part that lacks their labels most (`stratify.deal_labels`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from graft.data.deal import deal_groups, draw, merged, with_two_groups
from graft.data.faults import data_error, shorten
from graft.data.sampling import generator
from graft.data.stratify import deal_labels
from graft.data.table import Table, file_hash
from graft.data.targets import bins_of
from graft.data.tuples import holds_relevance
from graft.errors import InputError
from graft.wording import counted

USUAL_SHARE = 0.15
"""Of the rows, for validation and for the test, unless another is asked for."""

Part = Literal["train", "validation", "test"]

FOLDER_PARTS: dict[str, Part] = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
"""Folder names (in lower case) that mean a part of a split, and so are never labels."""

COLUMN_PARTS: dict[str, Part] = {
    **FOLDER_PARTS,
    "training": "train",
    "dev": "validation",
    "testing": "test",
}
"""Values of a split column, in lower case."""


@dataclass(frozen=True, eq=False)
class Splits:
    """Hold the row numbers of the three parts.

    Args:
        train: (n_train,) int64, ascending.
        validation: (n_validation,) int64, ascending.
        test: (n_test,) int64, ascending; empty where the data brings a split without a test.
        how: one sentence that says where the split comes from.
        given: whether the data brought it (a validation part may still have been carved out).
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    how: str
    given: bool = False


def part_numbers(splits: Splits, n_rows: int) -> np.ndarray:
    """Return (N,) 0 for rows that train, 1 for validation, 2 for test, -1 for none of them."""
    numbers = np.full(n_rows, -1)
    for number, rows in enumerate((splits.train, splits.validation, splits.test)):
        numbers[rows] = number
    return numbers


def part_of(value: object) -> Part | None:
    """Return the part that a cell of a split column means, or None."""
    return COLUMN_PARTS.get(str(value).strip().casefold())


def split(
    table: Table, *, seed: int = 0, validation: float = USUAL_SHARE, test: float = USUAL_SHARE
) -> Splits:
    """Return which rows of a table train, validate and test.

    Args:
        table: N examples. Its split column, if any, is kept; its group column, if any, is not torn.
        seed: seed of the drawing.
        validation: share of the rows for validation, of the training rows where a split is given.
        test: share of the rows for the test; where a split is given, none is drawn.

    Raises:
        DataError: the split column holds an unknown value, or no row for training.
        InputError: the shares leave nothing to train on.
    """
    if not (validation >= 0 and test >= 0 and validation + test < 1):
        message = f"validation {validation} and test {test}: pass shares whose sum is below 1"
        raise InputError(message)
    parts = given_parts(table)
    if parts is None or set(parts) == {"train"}:
        deal = Dealing.of(table)
        how = f"drawn with seed {seed}: {deal.how}"
        everything = np.arange(len(table), dtype=np.int64)
        rest, tested = deal.carve(everything, test, generator(seed, 0, "split"))
        of_rest = validation / (1 - test)
        trained, validated = deal.carve(rest, of_rest, generator(seed, 0, "validation"))
        for part, rows, share in (("validation", validated, validation), ("test", tested, test)):
            if share and not len(rows):
                how += f"; no row could be held out for {part}"
        return Splits(trained, validated, tested, how)

    where = {part: np.flatnonzero(np.array(parts) == part).astype(np.int64) for part in set(parts)}
    none = np.zeros(0, dtype=np.int64)
    trained, validated = where.get("train", none), where.get("validation", none)
    tested = where.get("test", none)
    if not len(trained):
        message = "no row is for training; mark some as train, or pass the file without this column"
        raise data_error(message, path=table.name_of_source, column=table.roles.split)
    asked = {"--validation": validation if len(validated) else USUAL_SHARE, "--test": test}
    unused = [flag for flag, share in asked.items() if share != USUAL_SHARE]
    how = "as given" + (f" ({' and '.join(unused)} had no effect)" if unused else "")
    if not len(validated) and validation > 0:
        deal = Dealing.of(table)
        trained, validated = deal.carve(trained, validation, generator(seed, 0, "validation"))
        how += f"; validation drawn from train with seed {seed}: {deal.how}"
    if not len(tested):
        how += "; no test part"
    return Splits(trained, validated, tested, how, given=True)


def folds(
    labels: Sequence[Any] | np.ndarray,
    n_folds: int,
    seed: int,
    groups: Sequence[Any] | np.ndarray | None = None,
) -> np.ndarray:
    """Return the fold of each row, for cross-validation.

    Args:
        labels: (N,) labels; each class is spread evenly, to within one row where there are no
            groups. Floating-point numbers are spread by their quantiles. A matrix (N, C) of 0 and
            1, or a tuple of labels for each row, says that there are several.
        n_folds: number of folds, at least 2.
        seed: seed of the drawing.
        groups: (N,) groups; all rows of a group share a fold.

    Returns:
        (N,) int64 numbers from 0 to n_folds - 1, each of which occurs.

    Raises:
        InputError: there are fewer rows, or groups, than folds.
    """
    several = several_labels(labels)
    classes = np.zeros(len(labels), np.int64)
    if several is None:
        is_number = isinstance(labels, np.ndarray) and labels.dtype.kind == "f"
        classes = bins_of(np.asarray(labels)) if is_number else codes(labels)
    random = generator(seed, 0, "folds")
    of_group = None if groups is None else codes(groups)
    n_units = len(classes) if of_group is None else len(set(of_group.tolist()))
    if not 2 <= n_folds <= n_units:
        kind = "rows" if groups is None else "groups"
        raise InputError(f"{n_folds} folds of {n_units} {kind}: choose from 2 to {n_units} folds")
    shares = np.full(n_folds, 1 / n_folds)
    if several is not None:
        units = np.arange(len(labels)) if of_group is None else of_group
        return deal_labels(several, units, shares, random)
    if of_group is None:
        shuffled = random.permutation(len(classes))
        by_class = shuffled[np.argsort(classes[shuffled], kind="stable")]
        fold = np.empty(len(classes), dtype=np.int64)
        fold[by_class] = np.arange(len(classes)) % n_folds
        return random.permutation(n_folds)[fold]
    return deal_groups(classes, of_group, shares, random)


def several_labels(labels: Sequence[Any] | np.ndarray) -> list[tuple[str, ...]] | None:
    """Return the labels of each row where there may be several, else None."""
    if isinstance(labels, np.ndarray):
        if labels.ndim != 2:
            return None
        return [tuple(map(str, np.flatnonzero(row))) for row in labels]
    if not any(isinstance(value, (tuple, list)) for value in labels):
        return None
    return [tuple(map(str, value or ())) for value in labels]


def codes(values: Sequence[Any] | np.ndarray) -> np.ndarray:
    """Return (N,) int64 numbers that stand for the values, in the order of their texts."""
    texts = [str(value) for value in values]
    number = {text: i for i, text in enumerate(sorted(set(texts)))}
    return np.fromiter((number[text] for text in texts), dtype=np.int64, count=len(texts))


def given_parts(table: Table) -> list[Part] | None:
    """Return the part of each row as the split column says, or None without such a column."""
    if table.roles.split is None:
        return None
    parts: list[Part] = []
    for i, value in enumerate(table.column(table.roles.split)):
        part = part_of(value)
        if part is None:
            origin = table.origin(i)
            message = f"{shorten(str(value), 24)!r} is no part of a split; "
            message += "write train, validation or test"
            raise data_error(message, path=origin.path, row=origin.row, column=table.roles.split)
        parts.append(part)
    return parts


@dataclass(frozen=True, eq=False)
class Dealing:
    """Hold what rows are dealt by.

    Args:
        classes: (N,) class of each row; quantile bin of a number.
        labels: the labels of each row where there may be several, else None.
        units: (N,) rows of one unit have the same input, or the same group; they stay together.
        grouped: whether the user named a group.
        by_class: whether the group is the class, so that whole classes are held out.
        how: the words for it.
    """

    classes: np.ndarray
    labels: Sequence[tuple[str, ...] | None] | None
    units: np.ndarray
    grouped: bool
    by_class: bool
    how: str

    @classmethod
    def of(cls, table: Table) -> Dealing:
        """Return how the rows of a table are dealt."""
        kind = table.target_kind
        numbers = table.numbers() if kind == "number" else None
        labels = table.label_lists() if kind == "multi" else None
        classes = codes(table.labels() or [""] * len(table))
        if numbers is not None:
            classes = bins_of(numbers)
        group = table.roles.group
        by_class = group is not None and group == table.roles.label
        if by_class:
            classes = np.zeros(len(table), np.int64)
        units = codes(units_of(table))
        n_repeated = len(units) - len(set(units.tolist()))
        how = "at random"
        if table.roles.label is not None:
            how = {"number": "stratified by quantiles"}.get(kind, "stratified")
        if group is not None:
            units = merged(codes(table.column(group)), units)
            how += f", whole groups of `{group}`"
        if table.roles.modality == "image-text":
            how += ", all captions of a picture together"
        elif holds_relevance(table.roles):
            how += ", all judgements of a query together"
        elif n_repeated:
            repeated = counted(n_repeated, "row repeats", "rows repeat")
            how += f", equal inputs kept together ({repeated} one)"
        return cls(classes, labels, units, group is not None, by_class, how)

    def carve(
        self, rows: np.ndarray, share: float, random: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return `rows` in two: what stays, and a stratified share of them that is taken out."""
        if share == 0 or not len(rows):
            return rows, rows[:0]
        units = self.units[rows]
        targets = np.array([1 - share, share])
        if self.labels is not None:
            labels = [self.labels[i] or () for i in rows]
            taken = deal_labels(labels, units, targets, random, cover_first=True) == 1
        elif self.grouped:
            taken = deal_groups(self.classes[rows], units, targets, random, cover_first=True) == 1
            # among rows of one class whatever is found is right
            taken = with_two_groups(units, taken) if self.by_class else taken
        else:
            taken = draw(self.classes[rows], units, share, random)
        return rows[~taken], rows[taken]


def units_of(table: Table) -> list[str]:
    """Return for each row a text that only rows share which no split may tear apart.

    They have the same input; of pictures with captions, the same picture; of judgements, the same
    query.
    """
    by_first = table.roles.modality == "image-text" or holds_relevance(table.roles)
    return same_inputs(table.views()[0] if by_first else table)


def same_inputs(table: Table) -> list[str]:
    """Return for each row a text that only rows with exactly the same input share.

    Pictures are the same where the bytes of their files are; one that cannot be read is alone.
    """
    columns = []
    for view in table.views():
        values = view.inputs()
        if view.roles.modality == "image":
            values = [file_hash(value) or f"row {i}" for i, value in enumerate(values)]
        columns.append([str(value) for value in values])
    return ["\x1f".join(row) for row in zip(*columns, strict=True)]
