"""The cheap checks that every training repeats, and the rows that it has to leave out.

`usable` looks at each row alone and drops those that cannot be learned from; `check` looks at the
table and its splits as a whole. Both return findings; `refuse` raises the first that is an error.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

from graft.data.faults import Finding, PlacedError, Severity, listed, refuse, shorten
from graft.data.images import DEEP_MODES, ENDINGS, MAX_PIXELS, ImageFacts, examine
from graft.data.split import Splits
from graft.data.table import Table

__all__ = ["Finding", "check", "refuse", "usable"]

LARGEST_SHARE_WITHOUT_LABEL = 0.01
LARGEST_SHARE_OF_CLASSES = 0.9
SHORTEST_SIDE = 8


def usable(table: Table, *, max_pixels: int = MAX_PIXELS) -> tuple[Table, tuple[Finding, ...]]:
    """Return the table without the rows that cannot be used, and one finding for each of them.

    Left out are empty texts, rows without a label (an error above 1 %), and images that are
    missing, unreadable, too large, or under 8 pixels on a side. Images are read to their end, so
    a truncated one is found now and not in the middle of the training.

    Args:
        table: N examples.
        max_pixels: leave out larger images.
    """
    skipped: dict[int, Finding] = {}
    others: list[Finding] = []
    if table.roles.modality == "text":
        skipped |= empty_texts(table)
    else:
        skipped, others = bad_images(table, max_pixels)
    unlabelled = empty_labels(table)
    skipped = unlabelled | skipped

    if len(unlabelled) > LARGEST_SHARE_WITHOUT_LABEL * len(table):
        first = table.origin(min(unlabelled))
        message = f"no label, as in {len(unlabelled)} of {len(table)} rows, more than 1 %; fill in"
        message += " the labels or drop these rows"
        others.append(
            Finding("no-labels", "error", message, first.path, first.row, table.roles.label)
        )
    elif skipped and len(skipped) == len(table):
        why = shorten(skipped[0].message.split(";")[0], 60)
        message = f"none of the {len(table)} rows can be used (first: {why}); mend the data"
        others.append(Finding("nothing-usable", "error", message, table.name_of_source))
    kept = np.array([i for i in range(len(table)) if i not in skipped], dtype=np.int64)
    findings = (*(skipped[i] for i in sorted(skipped)), *others)
    return (table.take(kept) if skipped else table), findings


def check(table: Table, splits: Splits) -> tuple[Finding, ...]:
    """Return what is wrong with a table and its splits as a whole.

    Args:
        table: N usable examples.
        splits: their rows for training, validation and test.
    """
    labels = table.labels()
    if labels is None:
        message = f"no label column; pass --label with one of: {listed(table.columns)}"
        return (Finding("no-label", "error", message, table.name_of_source),)
    return (*label_faults(table, splits, labels), *split_faults(table, splits, labels))


# ------------------------------------------------------------------------------ one row at a time


def at(
    table: Table, i: int, code: str, severity: Severity, message: str, column: str | None = None
) -> Finding:
    """Return a finding at the place that row `i` came from."""
    origin = table.origin(i)
    return Finding(code, severity, message, origin.path, origin.row, column)


def empty_texts(table: Table) -> dict[int, Finding]:
    """Return row → finding for texts that are empty or only white space."""
    (column,) = table.roles.inputs
    return {
        i: at(
            table, i, "empty-text", "skip", "the text is empty; fill it in or drop the row", column
        )
        for i, text in enumerate(table.inputs())
        if text is None or not str(text).strip()
    }


def empty_labels(table: Table) -> dict[int, Finding]:
    """Return row → finding for missing labels; "nan" and "None" are no classes."""
    column = table.roles.label
    if column is None:
        return {}
    message = "the label is empty, nan or None; fill it in or drop the row"
    return {
        i: at(table, i, "empty-label", "skip", message, column)
        for i, label in enumerate(table.labels() or [])
        if not label
    }


def bad_images(table: Table, max_pixels: int) -> tuple[dict[int, Finding], list[Finding]]:
    """Return row → finding for images that cannot be used, and counts of what was unusual."""
    skipped: dict[int, Finding] = {}
    unusual: dict[str, list[str]] = defaultdict(list)
    for i, path in enumerate(table.inputs()):
        origin = table.origin(i)
        try:
            facts = examine(path or "", max_pixels=max_pixels)
        except PlacedError as error:
            message = error.message
            if origin.row is not None:
                message = f"{shorten(Path(path or '').name or 'no path', 40)}: {message}"
            skipped[i] = at(table, i, "bad-image", "skip", message)
            continue
        if min(facts.width, facts.height) < SHORTEST_SIDE:
            message = f"only {facts.width} × {facts.height} pixels; replace or remove it"
            skipped[i] = at(table, i, "tiny-image", "skip", message)
            continue
        for kind in oddities(path, facts):
            unusual[kind].append(origin.path if origin.row is None else str(path))
    severities: dict[str, Severity] = {"misnamed-image": "warn"}
    counts = [
        Finding(
            kind, severities.get(kind, "repair"), f"{ODDITIES[kind]} ({len(paths)} such)", paths[0]
        )
        for kind, paths in unusual.items()
    ]
    return skipped, counts


ODDITIES = {
    "deep-image": "16-bit or float pixels were scaled linearly to 8 bits",
    "moving-image": "only the first frame or page is used",
    "misnamed-image": "the ending disagrees with the content, which was believed; rename it",
}


def oddities(path: str, facts: ImageFacts) -> list[str]:
    """Return which of the ODDITIES an image shows."""
    found = ["deep-image"] if facts.mode in DEEP_MODES else []
    found += ["moving-image"] if facts.moves else []
    promised = ENDINGS.get(Path(path).suffix.lower())
    return found + (["misnamed-image"] if promised not in (None, facts.format) else [])


# ------------------------------------------------------------------------------- the whole table


def label_faults(table: Table, splits: Splits, labels: list[str]) -> list[Finding]:
    """Return what is wrong with the labels."""
    column, source = table.roles.label, table.name_of_source
    counts = Counter(labels)
    n = len(labels)
    if n < 2:
        message = f"{n} usable row; add data: at least 2 rows of each of 2 classes"
        return [Finding("too-few-rows", "error", message, source)]
    if len(counts) == 1:
        message = f"every label is {shorten(labels[0], 30)!r}; add rows of another class"
        return [Finding("single-class", "error", message, source, None, column)]
    if len(counts) > max(LARGEST_SHARE_OF_CLASSES * n, 2):
        message = f"{len(counts):,} different labels in {n:,} rows; pass --label with the column "
        message += "of the classes"
        return [Finding("all-unique-labels", "error", message, source, None, column)]

    findings = []
    single = sorted(label for label, count in counts.items() if count == 1)
    if single and not splits.given:
        first = labels.index(single[0])
        names = listed(single, n_chars=50)
        what = "classes have" if len(single) > 1 else "class has"
        message = f"{len(single)} {what} one row ({names}) and cannot be split; add rows or merge"
        findings.append(at(table, first, "class-with-one-row", "error", message, column))
    spellings: dict[str, list[str]] = defaultdict(list)
    for label in sorted(counts):
        spellings[label.strip().casefold()].append(label)
    for variants in (v for v in spellings.values() if len(v) > 1):
        names = listed(repr(v) for v in variants)
        message = f"labels differ only in case or spaces: {names}; write them alike"
        findings.append(Finding("label-variants", "warn", message, source, None, column))
    return findings


def split_faults(table: Table, splits: Splits, labels: list[str]) -> list[Finding]:
    """Return what the parts of the split have in common and should not, or the reverse."""
    part_of_row = np.full(len(table), -1)
    for number, rows in enumerate((splits.train, splits.validation, splits.test)):
        part_of_row[rows] = number
    findings = []

    trained = {labels[i] for i in splits.train}
    unseen = [i for i, label in enumerate(labels) if part_of_row[i] > 0 and label not in trained]
    if unseen:
        names = listed(sorted({labels[i] for i in unseen}), n_chars=50)
        message = f"no training row has the label {names}; add such rows to train or drop these"
        findings.append(at(table, unseen[0], "unseen-label", "error", message, table.roles.label))
    findings += duplicates(table, labels, part_of_row)
    if table.roles.group is not None:
        findings += torn_groups(table, part_of_row)
    return findings


def duplicates(table: Table, labels: list[str], part_of_row: np.ndarray) -> list[Finding]:
    """Return counts of equal texts: with other labels, with the same, and across the split."""
    if table.roles.modality != "text":
        return []
    rows_of: dict[str, list[int]] = defaultdict(list)
    for i, text in enumerate(table.inputs()):
        rows_of[text].append(i)
    repeated = [rows for rows in rows_of.values() if len(rows) > 1]
    conflicting = [rows for rows in repeated if len({labels[i] for i in rows}) > 1]
    leaking = [
        i
        for rows in repeated
        for i in rows
        if part_of_row[i] > 0 and any(part_of_row[j] == 0 for j in rows)
    ]
    n_spare = sum(len(rows) - len({labels[i] for i in rows}) for rows in repeated)
    (column,) = table.roles.inputs
    findings = []
    if conflicting:
        example = conflicting[0]
        names = listed(sorted({labels[i] for i in example}), n_shown=3, n_chars=50)
        message = (
            f"the same text has different labels ({names}), as have {len(conflicting)} in all;"
        )
        message += " keep one"
        findings.append(at(table, example[0], "conflicting-labels", "warn", message, column))
    if n_spare:
        message = f"{n_spare:,} rows repeat an earlier row exactly; drop them if that is not meant"
        findings.append(Finding("duplicate-rows", "warn", message, table.name_of_source))
    if leaking:
        message = (
            f"this text is also in train, as are {len(leaking):,} rows of validation and test;"
        )
        message += " drop them for an honest score"
        findings.append(at(table, leaking[0], "leaked-rows", "warn", message, column))
    return findings


def torn_groups(table: Table, part_of_row: np.ndarray) -> list[Finding]:
    """Return an error where a group lies on both sides of the split."""
    column = table.roles.group
    assert column is not None
    first_part: dict[object, int] = {}
    torn = {}
    for i, group in enumerate(table.column(column)):
        if part_of_row[i] != first_part.setdefault(group, int(part_of_row[i])):
            torn.setdefault(str(group), i)
    if not torn:
        return []
    message = f"{len(torn)} groups are in more than one part ({listed(torn)}); split by group"
    return [at(table, min(torn.values()), "torn-group", "error", message, column)]
