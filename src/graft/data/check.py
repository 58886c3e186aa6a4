"""The cheap checks that every training repeats, and the rows that it has to leave out.

`usable` looks at each row alone and drops those that cannot be learned from; `check` looks at the
table and its splits as a whole. Both return findings; `refuse` raises the first that is an error.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from graft.data.faults import Finding, PlacedError, Severity, listed, refuse, shorten
from graft.data.files import Embedded
from graft.data.images import DEEP_MODES, ENDINGS, MAX_PIXELS, ImageFacts, examine
from graft.data.label_typos import likely_typos
from graft.data.split import Splits, same_inputs
from graft.data.table import Table
from graft.data.targets import as_number, is_empty_label

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
        kinds = Counter(finding.code for finding in unlabelled.values())
        what, mend = "label", "fill in the labels or drop these rows"
        if kinds["not-a-number"] > len(unlabelled) / 2:
            what, mend = "finite number", "write numbers, or name another column with --label"
        message = f"no {what}, as in {len(unlabelled)} of {len(table)} rows, more than 1 %; {mend}"
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


def check(table: Table, splits: Splits, *, allow_leak: bool = False) -> tuple[Finding, ...]:
    """Return what is wrong with a table and its splits as a whole.

    Args:
        table: N usable examples.
        splits: their rows for training, validation and test.
        allow_leak: only warn where a given split has the same input in train and outside of it.
    """
    labels = table.labels()
    if labels is None:
        message = f"no label column; pass --label with one of: {listed(table.columns)}"
        return (Finding("no-label", "error", message, table.name_of_source),)
    part_of_row = np.full(len(table), -1)
    for number, rows in enumerate((splits.train, splits.validation, splits.test)):
        part_of_row[rows] = number
    findings = [*label_faults(table, splits, labels)]
    if table.target_kind != "number":
        findings += unseen_labels(table, part_of_row)
    findings += duplicates(table, labels, part_of_row, allow_leak=allow_leak)
    if table.roles.group is not None:
        findings += torn_groups(table, part_of_row)
    return tuple(findings)


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
    mends = {"multi": "fill it in, write [] for no label, or drop the row"}
    mend = mends.get(table.target_kind, "fill it in or drop the row")
    skipped = {
        i: at(table, i, "empty-label", "skip", f"the label is empty, nan or None; {mend}", column)
        for i, label in enumerate(table.labels() or [])
        if not label
    }
    if table.target_kind == "number":
        numbers = table.numbers()
        assert numbers is not None
        values = table.column(column)
        for i in np.flatnonzero(np.isnan(numbers)).tolist():
            if not is_empty_label(values[i]):
                shown = shorten(str(values[i]), 24)
                message = f"{shown!r} is no finite number; write one such as 3.5 or drop the row"
                skipped[i] = at(table, i, "not-a-number", "skip", message, column)
    return skipped


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
            if origin.row is not None and not isinstance(path, Embedded):
                message = f"{shorten(Path(path or '').name or 'no path', 40)}: {message}"
            skipped[i] = at(table, i, "bad-image", "skip", message)
            continue
        if min(facts.width, facts.height) < SHORTEST_SIDE:
            message = f"only {facts.width} × {facts.height} pixels; replace or remove it"
            skipped[i] = at(table, i, "tiny-image", "skip", message)
            continue
        for kind in oddities(str(path), facts):
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
    n = len(labels)
    if n < 2:
        message = f"{n} usable row; add data: at least 2 rows of each of 2 classes"
        return [Finding("too-few-rows", "error", message, source)]
    if table.target_kind == "number":
        numbers = table.numbers()
        if numbers is not None and len(np.unique(numbers)) == 1:
            message = f"every number is {shorten(labels[0], 30)}; add rows with other numbers"
            return [Finding("single-number", "error", message, source, None, column)]
        return []
    several = table.target_kind == "multi"
    lists = table.label_lists() or []
    counts = Counter(label for found in lists for label in found or ())
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
        if all(not math.isnan(as_number(label)) for label in counts):
            message += ", or --target-kind number"
        return [Finding("all-unique-labels", "error", message, source, None, column)]

    findings = []
    single = sorted(label for label, count in counts.items() if count == 1)
    if single and not splits.given:
        first = next(i for i, found in enumerate(lists) if single[0] in (found or ()))
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
    for rare, common in likely_typos(counts):
        first = next(i for i, found in enumerate(lists) if rare in (found or ()))
        message = f"{shorten(rare, 30)!r} may be meant as {shorten(common, 30)!r}, which has "
        message += f"{counts[common]:,} rows; correct it if so"
        findings.append(at(table, first, "label-typo", "warn", message, column))
    return findings


def unseen_labels(table: Table, part_of_row: np.ndarray) -> list[Finding]:
    """Return an error where validation or test has labels that training never sees."""
    lists = table.label_lists() or []
    trained = {label for i in np.flatnonzero(part_of_row == 0) for label in lists[i] or ()}
    unseen: dict[str, int] = {}
    for i in np.flatnonzero(part_of_row > 0).tolist():
        for label in lists[i] or ():
            if label not in trained:
                unseen.setdefault(label, i)
    if not unseen:
        return []
    names = listed(sorted(unseen), n_chars=50)
    message = f"no training row has the label {names}; add such rows to train or drop these"
    return [at(table, min(unseen.values()), "unseen-label", "error", message, table.roles.label)]


def duplicates(
    table: Table, labels: list[str], part_of_row: np.ndarray, *, allow_leak: bool
) -> list[Finding]:
    """Return equal inputs: with other labels, with the same, and across the split."""
    rows_of: dict[str, list[int]] = defaultdict(list)
    for i, value in enumerate(same_inputs(table)):
        rows_of[value].append(i)
    repeated = [rows for rows in rows_of.values() if len(rows) > 1]
    conflicting = [rows for rows in repeated if len({labels[i] for i in rows}) > 1]
    n_spare = sum(len(rows) - len({labels[i] for i in rows}) for rows in repeated)
    (column,) = table.roles.inputs
    what = "text" if table.roles.modality == "text" else "image"
    findings = []
    if conflicting:
        example = conflicting[0]
        names = listed(sorted({labels[i] for i in example}), n_shown=3, n_chars=50)
        message = f"the same {what} has different labels ({names}), as have {len(conflicting)} in "
        message += "all; keep one"
        findings.append(at(table, example[0], "conflicting-labels", "warn", message, column))
    if n_spare:
        message = f"{n_spare:,} rows repeat an earlier row exactly; drop them if that is not meant"
        findings.append(Finding("duplicate-rows", "warn", message, table.name_of_source))
    return findings + leaks(table, repeated, part_of_row, what, allow_leak=allow_leak)


def leaks(
    table: Table,
    repeated: Sequence[Sequence[int]],
    part_of_row: np.ndarray,
    what: str,
    *,
    allow_leak: bool,
) -> list[Finding]:
    """Return a finding where held-out rows repeat the input of a training row."""
    leaking = sorted(
        i
        for rows in repeated
        for i in rows
        if part_of_row[i] > 0 and any(part_of_row[j] == 0 for j in rows)
    )
    if not leaking:
        return []
    examples = listed((place_of(table, i) for i in leaking), n_chars=50)
    (column,) = table.roles.inputs
    n = f"{len(leaking):,} held-out {'rows are' if len(leaking) > 1 else 'row is'}"
    message = f"{n} also in train, this {what} among them ({examples}); drop them"
    message += " for an honest score" if allow_leak else " or pass --allow-leak"
    severity: Severity = "warn" if allow_leak else "error"
    return [at(table, leaking[0], "leaked-rows", severity, message, column)]


def place_of(table: Table, i: int) -> str:
    """Return the short name of a row: its number, or the name of its file."""
    origin = table.origin(i)
    return Path(origin.path).name if origin.row is None else f"row {origin.row}"


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
