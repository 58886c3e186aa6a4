"""One row at a time: which rows can be used, and whether more are left out than allowed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from graft.data.captions import first_of_each
from graft.data.doctor.pictures import bad_images
from graft.data.doctor.places import at
from graft.data.faults import Finding, shorten
from graft.data.images import MAX_PIXELS
from graft.data.invisible import visible
from graft.data.table import Table
from graft.data.targets import is_empty_label

LARGEST_SKIPPED_SHARE = 0.01
NEVER_ROWS = frozenset(["not-an-image", "stray-image", "not-a-file"])
"""What lies among the files without being meant as an example does not count as left out."""


def usable(
    table: Table,
    *,
    max_pixels: int = MAX_PIXELS,
    max_skip: float = LARGEST_SKIPPED_SHARE,
    follow_links: bool = False,
) -> tuple[Table, tuple[Finding, ...]]:
    """Return the table without the rows that cannot be used, and one finding for each of them.

    Left out are empty texts, rows without a label (an error where they are more than `max_skip`),
    and images that are missing, unreadable, too large, or under 8 pixels on a side. Images are
    read to their end, so a truncated one is found now and not in the middle of the training.

    Args:
        table: N examples.
        max_pixels: leave out larger images.
        max_skip: largest share of rows without a label.
        follow_links: use images whose file is a link that leads out of the data.
    """
    skipped: dict[int, Finding] = {}
    others: list[Finding] = []
    is_pairs = table.roles.modality == "image-text"
    for view in table.views():
        if view.roles.modality == "text":
            skipped |= (without_captions if is_pairs else empty_texts)(view)
        else:
            seen, bad, odd = each_picture_once(view, max_pixels, follow_links=follow_links)
            skipped |= bad
            others += odd
            table = replace(table, thumbnails=seen.thumbnails, max_pixels=seen.max_pixels)
    unlabelled = empty_labels(table)
    skipped = unlabelled | skipped

    if len(unlabelled) > max_skip * len(table):
        others.append(too_few_labels(table, unlabelled, max_skip))
    elif skipped and len(skipped) == len(table):
        why = shorten(skipped[0].message.split(";")[0], 60)
        message = f"none of the {len(table)} rows can be used (first: {why}); mend the data"
        others.append(Finding("nothing-usable", "error", message, table.name_of_source))
    kept = np.array([i for i in range(len(table)) if i not in skipped], dtype=np.int64)
    findings = (*(skipped[i] for i in sorted(skipped)), *others)
    return (table.take(kept) if skipped else table), findings


def too_few_labels(table: Table, unlabelled: dict[int, Finding], max_skip: float) -> Finding:
    """Return the error for a label column that holds too few labels."""
    first = table.origin(min(unlabelled))
    kinds = Counter(finding.code for finding in unlabelled.values())
    what, mend = "label", "fill in the labels or drop these rows"
    if kinds["not-a-number"] > len(unlabelled) / 2:
        what, mend = "finite number", "write numbers, or name another column with --label"
    message = f"no {what}, as in {len(unlabelled)} of {len(table)} rows, more than "
    message += f"{max_skip:.2g}; {mend}" if max_skip < 0.01 else f"{100 * max_skip:.3g} %; {mend}"
    return Finding("no-labels", "error", message, first.path, first.row, table.roles.label)


def too_many_skipped(
    findings: Sequence[Finding], n_usable: int, max_skip: float
) -> tuple[Finding, ...]:
    """Return an error where more rows are left out than allowed, and none says so already.

    Args:
        findings: of the reader and of `usable`.
        n_usable: rows that are left.
        max_skip: largest share of the rows that may be left out.
    """
    skips = [f for f in findings if f.severity == "skip" and f.code not in NEVER_ROWS]
    n_rows = n_usable + len(skips)
    if len(skips) <= max_skip * n_rows or any(f.severity == "error" for f in findings):
        return ()
    share, first = len(skips) / n_rows, skips[0]
    kinds = Counter(f.code for f in skips).most_common(3)
    named = ", ".join(f"{n} {code}" for code, n in kinds)
    message = f"{len(skips):,} of {n_rows:,} rows cannot be used ({named}), more than "
    message += f"{100 * max_skip:.3g} %; mend them or pass --max-skip {rounded_up(share)}"
    return (Finding("too-many-skipped", "error", message, first.path, first.row, first.column),)


def rounded_up(share: float) -> str:
    """Return a share with two decimals that is not below it.

    >>> rounded_up(0.021), rounded_up(0.5)
    ('0.03', '0.5')
    """
    return f"{np.ceil(share * 100 - 1e-9) / 100:.3g}"


def empty_texts(table: Table) -> dict[int, Finding]:
    """Return row → finding for texts that are empty or show nothing, or no texts."""
    (column,) = table.roles.inputs
    empty = "the text is empty; fill it in or drop the row"
    other = "a list or an object is no text; write a text, or name another column with --input"
    found = {}
    for i, value in enumerate(table.column(column)):
        if isinstance(value, list | dict):
            found[i] = at(table, i, "not-a-text", "skip", other, column)
        elif value is None or not visible(str(value)):
            found[i] = at(table, i, "empty-text", "skip", empty, column)
    return found


def without_captions(table: Table) -> dict[int, Finding]:
    """Return row → finding for pictures whose caption is empty, or no text."""
    mend = "the picture has no caption; write one, or drop the row"
    return {
        i: replace(f, code="no-caption", message=mend) if f.code == "empty-text" else f
        for i, f in empty_texts(table).items()
    }


def each_picture_once(
    table: Table, max_pixels: int, *, follow_links: bool
) -> tuple[Table, dict[int, Finding], list[Finding]]:
    """Do as `bad_images`, but read a picture that several rows name once."""
    first, of_row = first_of_each(table.inputs())
    if len(first) == len(table):
        return bad_images(table, max_pixels, follow_links=follow_links)
    seen, bad, odd = bad_images(table.take(first), max_pixels, follow_links=follow_links)
    skipped = {
        i: at(table, i, bad[n].code, bad[n].severity, bad[n].message)
        for i, n in enumerate(of_row.tolist())
        if n in bad
    }
    assert seen.thumbnails is not None
    found = replace(table, thumbnails=seen.thumbnails[of_row], max_pixels=max_pixels)
    return found, skipped, odd


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
