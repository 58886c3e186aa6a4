"""Figures of what the model gets wrong: classes confused, labels given or missed."""

from __future__ import annotations

from collections import Counter
from typing import Any

from graft.records import ClassScores, RunRecord
from graft.report.facts import Confused, Facts
from graft.report.figure import Figure, base, name, number, values
from graft.report.words import percent, plural, shown

MOST_NAMED = 20
"""A confusion matrix of more classes is drawn without names and counts."""

MOST_LABELS = 30
MOST_PAIRS = 30


def confusion(record: RunRecord, facts: Facts) -> Figure | None:
    """Draw the confusion matrix; of many classes a compact one."""
    if not facts.confused:
        return None
    rows = _cells_of(record, facts)
    wrong = [row for row in rows if not row["right"]]
    n_wrong = sum(row["n"] for row in wrong)
    is_named = len(record.classes) <= MOST_NAMED
    says = f"{plural(n_wrong, 'row')} of {sum(row['n'] for row in rows):,} off the diagonal"
    axis: dict[str, Any] = {"labelLimit": 130, "grid": False}
    if not is_named:
        axis |= {"labels": False, "ticks": False}
    top = {
        **axis,
        "orient": "top",
        "labelAngle": -40 if is_named and len(record.classes) > 4 else 0,
    }
    place = {
        "x": name("predicted", "predicted", scale={"domain": record.classes}, axis=top),
        "y": name("truth", "true", scale={"domain": record.classes}, axis=axis),
        "tooltip": [
            name("truth", "true"),
            name("predicted", "predicted"),
            number("n", "rows"),
            number("share", "share of the true class", format=".1%"),
        ],
    }
    layers: list[dict[str, Any]] = [
        _cells([row for row in rows if row["right"]], "right", place, 1.0),
        _cells(wrong, "wrong", place, max((row["share"] for row in wrong), default=1.0)),
    ]
    if is_named:
        # on a strong cell the paper's colour is read, on a faint one the ink
        for style, chosen in (("on-strong", True), ("on-faint", False)):
            layers.append(
                {
                    "data": values([row for row in rows if row["strong"] == chosen]),
                    "mark": {"type": "text", "style": style},
                    "encoding": {**place, "text": {"field": "n"}},
                }
            )
    n = len(record.classes)
    return Figure(
        "confusion",
        "What is taken for what",
        "A row of the matrix is a true class, a column what was predicted: what lies off the "
        "diagonal is wrong, and the stronger the colour the larger its share of the class.",
        says,
        base(
            says,
            max(200, (48 if n < 6 else 34) * n + 90) if is_named else 460,
            layer=layers,
            resolve={"scale": {"opacity": "independent"}},
        ),
        # its numbers stand beside it: see confused_rows
        header=(),
        rows=(),
        size="half" if n <= 12 or not is_named else "wide",
    )


def confused_rows(record: RunRecord, facts: Facts) -> tuple[tuple[str, str, str, str], ...]:
    """Return the pairs of classes that are most often confused: true, predicted, rows, share."""
    wrong = [row for row in _cells_of(record, facts) if not row["right"]]
    wrong.sort(key=lambda row: (-row["n"], -row["share"]))
    return tuple(
        (row["truth"], row["predicted"], f"{row['n']:,}", percent(row["share"], 0))
        for row in wrong[:MOST_PAIRS]
    )


def _cells_of(record: RunRecord, facts: Facts) -> list[dict[str, Any]]:
    """Return the cells of the confusion matrix that are not empty."""
    support = Counter[int]()
    for cell in facts.confused:
        support[cell.truth] += cell.n_rows
    return [_cell(cell, record.classes, support[cell.truth]) for cell in facts.confused]


def _cell(cell: Confused, classes: tuple[str, ...], support: int) -> dict[str, Any]:
    share = cell.n_rows / support
    is_right = cell.truth == cell.predicted
    return {
        "truth": classes[cell.truth],
        "predicted": classes[cell.predicted],
        "n": cell.n_rows,
        "share": share,
        "right": is_right,
        "strong": is_right and share > 0.55,
    }


def _cells(
    rows: list[dict[str, Any]], style: str, place: dict[str, Any], most: float
) -> dict[str, Any]:
    scale = {"domain": [0, most], "range": [0.08, 0.9 if style == "right" else 0.6]}
    opacity = {"field": "share", "type": "quantitative", "scale": scale, "legend": None}
    return {
        "data": values(rows),
        "mark": {"type": "rect", "style": style},
        "encoding": {**place, "opacity": opacity},
    }


def label_scores(record: RunRecord) -> Figure | None:
    """Draw precision, recall and F1 of each label."""
    if record.task != "multilabel" or not record.per_class:
        return None
    hardest = hardest_first(record)[:MOST_LABELS]
    rows = [
        {"label": c.name, "kind": kind, "value": value, "rank": rank}
        for rank, c in enumerate(hardest)
        for kind, value in (("precision", c.precision), ("recall", c.recall), ("F1", c.f1))
        if value == value
    ]
    says = f"the hardest label is {hardest[0].name} with an F1 of {shown(hardest[0].f1)}"
    kinds = ["F1", "precision", "recall"]
    return Figure(
        "labels",
        "How well each label is told",
        "Precision is the share of the given labels that are right, recall the share of the right "
        "ones that are given; F1 lies between them. The hardest label comes first.",
        says,
        base(
            says,
            24 * len(hardest) + 70,
            data=values(rows),
            mark={"type": "point", "filled": True, "size": 74, "opacity": 0.95},
            encoding={
                "x": number("value", None, scale={"domain": [0, 1]}, axis={"tickCount": 5}),
                "y": name("label", None, sort={"field": "rank", "op": "min"}, axis={"grid": True}),
                "color": name(
                    "kind",
                    None,
                    scale={"domain": kinds, "range": "category"},
                    legend={"orient": "top"},
                ),
                "shape": name("kind", None, scale={"domain": kinds}),
                "tooltip": [
                    name("label", "label"),
                    name("kind", "is"),
                    number("value", "value", format=".3f"),
                ],
            },
        ),
        ("label", "rows", "precision", "recall", "F1"),
        tuple(
            (c.name, f"{c.support:,}", shown(c.precision), shown(c.recall), shown(c.f1))
            for c in hardest
        ),
    )


def hardest_first(record: RunRecord) -> list[ClassScores]:
    """Return the classes, those with the lowest F1 first; what has no F1 comes last."""
    return sorted(record.per_class, key=lambda c: (c.f1 != c.f1, c.f1, c.name))
