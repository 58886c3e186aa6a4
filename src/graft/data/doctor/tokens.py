"""What a tokenizer cuts off, and what it does not know."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from graft.data.doctor.places import at
from graft.data.faults import Finding, shorten
from graft.data.table import Table

N_LOOKED_AT = 2_000
"""Rows whose tokens a training counts, evenly spread; the doctor counts all."""

LARGEST_SHARE_UNKNOWN = 0.2


@dataclass(frozen=True, eq=False)
class TokenCounts:
    """Hold how a tokenizer reads some rows of a table.

    Args:
        rows: (M,) their numbers.
        n_tokens: (M,) tokens of each text.
        n_kept: (M,) tokens that are left where long texts are cut.
        n_unknown: (M,) tokens of each text that stand for something unknown.
    """

    rows: np.ndarray
    n_tokens: np.ndarray
    n_kept: np.ndarray
    n_unknown: np.ndarray


def token_faults(table: Table, counts: TokenCounts | None) -> list[Finding]:
    """Return how much is cut off, and the classes whose texts are mostly unknown to the model."""
    if counts is None:
        return []
    return [*cut_texts(table, counts), *unknown_texts(table, counts)]


def cut_texts(table: Table, counts: TokenCounts) -> list[Finding]:
    """Return a finding where texts are longer than the model reads."""
    is_cut = counts.n_tokens > counts.n_kept
    if not is_cut.any():
        return []
    (column,) = table.roles.inputs
    lost = 1 - counts.n_kept.sum() / counts.n_tokens.sum()
    n, of = int(is_cut.sum()), len(counts.rows)
    what = "is" if n == 1 else "are"
    message = f"{n:,} of {of:,} texts {what} longer than the model reads ({counts.n_kept.max():,} "
    message += f"tokens); {lost:.1%} of all tokens are cut off"
    first = int(counts.rows[is_cut.argmax()])
    return [at(table, first, "cut-text", "repair", message, column)]


def unknown_texts(table: Table, counts: TokenCounts) -> list[Finding]:
    """Return a warning for each class a fifth of whose tokens the tokenizer does not know.

    Rows without a class, or with several or a number, count as one.
    """
    labels = table.labels() if table.target_kind == "single" else None
    numbers: dict[str, list[int]] = defaultdict(list)
    for k, row in enumerate(counts.rows.tolist()):
        numbers["" if labels is None else labels[row]].append(k)
    (column,) = table.roles.inputs
    findings = []
    for label, some in sorted(numbers.items()):
        share = counts.n_unknown[some].sum() / max(int(counts.n_tokens[some].sum()), 1)
        if share <= LARGEST_SHARE_UNKNOWN:
            continue
        of = f" of class {shorten(label, 30)!r}" if label else ""
        message = f"{share:.0%} of the tokens{of} are unknown to the model, as in this text; "
        message += "choose a --model of this language or script"
        worst = some[int(counts.n_unknown[some].argmax())]
        findings.append(
            at(table, int(counts.rows[worst]), "unknown-tokens", "warn", message, column)
        )
    return findings
