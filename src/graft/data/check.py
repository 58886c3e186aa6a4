"""What every training repeats of the doctor's checks, and what the doctor adds to them.

`usable` looks at each row alone and drops those that cannot be learned from; `check` looks at the
table and its splits as a whole. Both return findings; `refuse` raises the first that is an error.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from graft.data.captions import hint_of_captions
from graft.data.doctor.groups import likely_groups, repeated_ids, torn_groups
from graft.data.doctor.labels import label_faults, one_class_parts, unseen_labels
from graft.data.doctor.near import Near, near_faults, near_rows, not_compared
from graft.data.doctor.repeats import duplicates
from graft.data.doctor.rows import too_many_skipped, usable
from graft.data.doctor.texts import decomposed_texts
from graft.data.doctor.tuples import tuple_faults
from graft.data.faults import Finding, Severity, listed, refuse
from graft.data.split import Splits, part_numbers, same_inputs
from graft.data.table import Table

__all__ = ["Checked", "Finding", "check", "for_purpose", "refuse", "too_many_skipped", "usable"]

Purpose = Literal["classify", "retrieval", "embed"]

RETRIEVAL: dict[str, Severity | None] = {
    "no-label": None,
    "no-labels": "warn",
    "empty-label": "warn",
    "single-class": "warn",
    "all-unique-labels": None,
    "class-with-one-row": "warn",
    "unseen-label": "warn",
    "duplicate-ids": "error",
}
"""code → its severity where examples are searched and not classified; None is no finding then."""


EMBED: dict[str, Severity | None] = {
    **{code: severity for code, severity in RETRIEVAL.items() if code != "duplicate-ids"},
    "unseen-label": None,
}
"""The same where embeddings are trained: ids only matter to what is searched, and classes that are
held out whole are what one wants to know of."""


@dataclass(frozen=True)
class Checked:
    """Hold what was found in a table as a whole.

    Args:
        findings: what is wrong.
        near: held-out row → the row of an earlier part that it repeats, exactly or nearly.
    """

    findings: tuple[Finding, ...]
    near: dict[int, Near]


def check(
    table: Table, splits: Splits, *, allow_leak: bool = False, is_deep: bool = False
) -> Checked:
    """Return what is wrong with a table and its splits as a whole.

    Args:
        table: N usable examples.
        splits: their rows for training, validation and test.
        allow_leak: only warn where a given split has the same input in train and outside of it.
        is_deep: look for similar texts too, which takes seconds.
    """
    if len(table.roles.inputs) > 1:
        return Checked(tuple(tuple_faults(table, splits, allow_leak=allow_leak)), {})
    labels, findings = table.labels(), []
    part_of_row = part_numbers(splits, len(table))
    if labels is None:
        findings.append(no_label(table))
    else:
        findings += label_faults(table, splits, labels)
        if table.target_kind != "number":
            findings += unseen_labels(table, part_of_row)
        if table.target_kind == "single":
            findings += one_class_parts(table, splits, labels)
    exact = same_inputs(table)
    told = labels or [""] * len(table)
    findings += duplicates(table, exact, told, part_of_row, allow_leak=allow_leak)
    findings += torn_groups(table, part_of_row)
    findings += likely_groups(table, part_of_row)
    findings += repeated_ids(table)
    findings += decomposed_texts(table)
    near = near_rows(table, exact, part_of_row, is_deep=is_deep)
    findings += near_faults(table, near, exact, part_of_row)
    if is_deep:
        findings += not_compared(table, part_of_row)
    return Checked(tuple(findings), near)


def no_label(table: Table) -> Finding:
    """Return the error for a table without a label column, or for pictures without classes."""
    if table.roles.modality == "image" and not table.row_of.any():
        message = "pictures without folders of classes; name the folder above, which has one for "
        message += "each class, or a table of their labels"
    else:
        message = f"no label column; pass --label with one of: {listed(table.columns)}"
        message += hint_of_captions(table)
    return Finding("no-label", "error", message, table.name_of_source)


def for_purpose(findings: tuple[Finding, ...], purpose: Purpose) -> tuple[Finding, ...]:
    """Return findings with the severities that they have for a purpose."""
    if purpose == "classify":
        return findings
    severities = RETRIEVAL if purpose == "retrieval" else EMBED
    found = [(f, severities.get(f.code, f.severity)) for f in findings]
    return tuple(replace(f, severity=severity) for f, severity in found if severity is not None)
