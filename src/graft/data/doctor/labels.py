"""Labels: too few, too many, misspelt, or never trained."""

from __future__ import annotations

import math
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable

import numpy as np

from graft.data.captions import hint_of_captions
from graft.data.doctor.label_typos import likely_typos
from graft.data.doctor.places import at
from graft.data.faults import Finding, listed, shorten
from graft.data.invisible import visible
from graft.data.split import Splits
from graft.data.table import Table
from graft.data.targets import as_number
from graft.wording import counted

LARGEST_SHARE_OF_CLASSES = 0.9


def label_faults(table: Table, splits: Splits, labels: list[str]) -> list[Finding]:
    """Return what is wrong with the labels of N rows."""
    n, source = len(labels), table.name_of_source
    if n < 2:
        message = f"{n} usable row; add data: at least 2 rows of each of 2 classes"
        return [Finding("too-few-rows", "error", message, source)]
    if table.target_kind == "number":
        return number_faults(table, labels)
    lists = table.label_lists() or []
    counts = Counter(label for found in lists for label in found or ())
    stops = nothing_to_learn(table, counts, n)
    if stops:
        return stops
    findings = [] if splits.given else single_rows(table, lists, counts)
    for variants in variants_of(counts):
        by_eye = len({" ".join(label.casefold().split()) for label in variants}) == 1
        how = "case or spaces" if by_eye else "how they are coded (invisible characters, accents)"
        names = listed(repr(v) if by_eye else ascii(v) for v in variants)
        message = f"labels differ only in {how}: {names}; write them alike"
        message += " or pass --fold-labels"
        findings.append(Finding("label-variants", "warn", message, source, None, table.roles.label))
    for rare, common in likely_typos(counts):
        first = next(i for i, found in enumerate(lists) if rare in (found or ()))
        message = f"{shorten(rare, 30)!r} may be meant as {shorten(common, 30)!r}, which has "
        message += f"{counts[common]:,} rows; correct it if so"
        findings.append(at(table, first, "label-typo", "warn", message, table.roles.label))
    return findings


def number_faults(table: Table, labels: list[str]) -> list[Finding]:
    """Return an error where every number is the same."""
    numbers = table.numbers()
    if numbers is None or len(np.unique(numbers)) > 1:
        return []
    message = f"every number is {shorten(labels[0], 30)}; add rows with other numbers"
    column, source = table.roles.label, table.name_of_source
    return [Finding("single-number", "error", message, source, None, column)]


def nothing_to_learn(table: Table, counts: Counter[str], n: int) -> list[Finding]:
    """Return an error where no label tells rows apart, or every row has one of its own."""
    column, source = table.roles.label, table.name_of_source
    several = table.target_kind == "multi"
    if several and not counts:
        message = "no row has a label; add rows that have one"
        return [Finding("no-label-used", "error", message, source, None, column)]
    always = [label for label, count in counts.items() if count == n]
    if always and (several or len(counts) == 1):
        name = shorten(always[0], 30)
        message = f"every label is {name!r}; add rows of another class"
        if several:
            message = f"every row has the label {name!r}; add rows without it or drop it"
        return [Finding("single-class", "error", message, source, None, column)]
    if len(counts) > max(LARGEST_SHARE_OF_CLASSES * n, 2):
        message = f"{len(counts):,} different labels in {n:,} rows; pass --label with the column "
        message += "of the classes"
        message += ", or --target-kind number" if are_numbers(counts) else ""
        message += hint_of_captions(table)
        return [Finding("all-unique-labels", "error", message, source, None, column)]
    return []


def single_rows(
    table: Table, lists: list[tuple[str, ...] | None], counts: Counter[str]
) -> list[Finding]:
    """Return an error where classes have one row, which cannot both train and test."""
    single = sorted(label for label, count in counts.items() if count == 1)
    if not single:
        return []
    first = next(i for i, found in enumerate(lists) if single[0] in (found or ()))
    names = listed(single, n_chars=50)
    n = counted(len(single), "class has", "classes have")
    message = f"{n} one row ({names}) and cannot be split; add rows or merge"
    if table.target_kind == "single":
        message += ", or pass --min-per-class 2"
        message += " or --target-kind number" if are_numbers(counts) else ""
    return [at(table, first, "class-with-one-row", "error", message, table.roles.label)]


def are_numbers(labels: Iterable[str]) -> bool:
    """Tell whether all labels are written as numbers."""
    return all(not math.isnan(as_number(label)) for label in labels)


def variants_of(labels: Iterable[str]) -> list[list[str]]:
    """Return the groups of labels that differ only in case, spaces or what nobody sees."""
    spellings: dict[str, list[str]] = defaultdict(list)
    for label in sorted(labels):
        spellings[folded(label)].append(label)
    return [found for found in spellings.values() if len(found) > 1]


def folded(label: str) -> str:
    """Return a label in the one spelling that its variants share.

    >>> folded(" Big  Cat") == folded("big cat")
    True
    """
    return " ".join(visible(unicodedata.normalize("NFC", label)).casefold().split())


def unseen_labels(table: Table, part_of_row: np.ndarray) -> list[Finding]:
    """Return an error where validation or test has labels that training never sees.

    Args:
        part_of_row: (N,) 0 for training, else a part that is held out.
    """
    lists = table.label_lists() or []
    trained = {label for i in np.flatnonzero(part_of_row == 0) for label in lists[i] or ()}
    unseen: dict[str, list[int]] = {}
    for i in np.flatnonzero(part_of_row > 0).tolist():
        for label in lists[i] or ():
            if label not in trained:
                unseen.setdefault(label, []).append(i)
    if not unseen:
        return []
    rows = sorted(i for found in unseen.values() for i in found)
    n = counted(len(rows), "held-out row has", "held-out rows have")
    names = listed(sorted(unseen), n_chars=50)
    message = f"{n} a label without a training row ({names}); add such rows to train or drop these"
    return [at(table, rows[0], "unseen-label", "error", message, table.roles.label)]


def one_class_parts(table: Table, splits: Splits, labels: list[str]) -> list[Finding]:
    """Return a warning for each part of one class held out: every search there is right."""
    findings, trained = [], {labels[i] for i in splits.train.tolist()}
    for name, rows in (("validation", splits.validation), ("test", splits.test)):
        classes = {labels[i] for i in rows.tolist()} - {""}
        if len(rows) > 1 and len(classes - trained) == len(classes) == 1:
            message = (
                f"every row of {name} is of class {shorten(classes.pop(), 30)!r}, so whatever "
            )
            message += "is found there is right and the metrics say nothing; hold out two classes "
            message += "or more"
            column = table.roles.label
            findings.append(at(table, int(rows[0]), "one-class-part", "warn", message, column))
    return findings
