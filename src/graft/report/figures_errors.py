"""Figures of what the model gets wrong: confusion, calibration, labels, numbers."""

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
FEW_ROWS = 10


def confusion(record: RunRecord, facts: Facts) -> Figure | None:
    """Draw the confusion matrix; of many classes a compact one."""
    if not facts.confused:
        return None
    support = Counter[int]()
    for cell in facts.confused:
        support[cell.truth] += cell.n_rows
    rows = [_cell(cell, record.classes, support[cell.truth]) for cell in facts.confused]
    wrong = [row for row in rows if not row["right"]]
    n_wrong = sum(row["n"] for row in wrong)
    is_named = len(record.classes) <= MOST_NAMED
    says = f"{plural(n_wrong, 'row')} of {sum(support.values()):,} off the diagonal"
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
        ("true", "predicted", "rows", "share of the true class"),
        tuple(
            (row["truth"], row["predicted"], f"{row['n']:,}", percent(row["share"]))
            for row in sorted(wrong, key=lambda row: (-row["n"], -row["share"]))[:30]
        ),
        size="half" if n <= 12 or not is_named else "wide",
    )


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


def reliability(record: RunRecord, facts: Facts) -> Figure | None:
    """Draw how often the model is right where it is so and so sure."""
    bins = [b for b in facts.calibration if b.n_rows]
    if not bins:
        return None
    what = "answers" if record.task == "classify" else "decisions about single labels"
    rows = [
        {
            "low": b.low,
            "high": b.high,
            "confidence": b.confidence,
            "accuracy": b.accuracy,
            "n": b.n_rows,
            "few": b.n_rows < FEW_ROWS,
        }
        for b in bins
    ]
    n_all = sum(b.n_rows for b in bins)
    surplus = sum(b.n_rows * (b.confidence - b.accuracy) for b in bins) / n_all
    tone = "on the whole too sure" if surplus > 0.02 else "on the whole not sure enough"
    tone = "on the whole as sure as it is right" if abs(surplus) <= 0.02 else tone
    says = f"mean confidence {percent(surplus + _mean_accuracy(facts))}, right in "
    says += f"{percent(_mean_accuracy(facts))}: {tone}"
    start = 0.5 if record.task != "classify" or len(record.classes) == 2 else 0.0
    x = {"scale": {"domain": [start, 1], "nice": False}, "axis": {"format": ".0%", "tickCount": 6}}
    y = {"scale": {"domain": [0, 1]}, "axis": {"format": ".0%", "tickCount": 6}}
    tooltip = [
        number("confidence", "mean confidence", format=".1%"),
        number("accuracy", "right", format=".1%"),
        number("n", "rows"),
    ]
    bars = [
        {
            "data": values([row for row in rows if row["few"] == few]),
            "mark": {"type": "bar", "style": "faint" if few else "soft"},
            "encoding": {
                "x": number("low", "confidence", **x),
                "x2": {"field": "high"},
                "y": number("accuracy", "right", **y),
                "y2": {"datum": 0},
                "tooltip": tooltip,
            },
        }
        for few in (True, False)
    ]
    line = {
        "data": values([{"a": start}, {"a": 1}]),
        "mark": {"type": "line", "style": "dashed"},
        "encoding": {"x": number("a", "confidence", **x), "y": number("a", "right", **y)},
    }
    points = {
        "data": values(rows),
        "mark": {"type": "point", "style": "accent-point", "filled": True, "size": 52},
        "encoding": {
            "x": number("confidence", "confidence", **x),
            "y": number("accuracy", "right", **y),
            "tooltip": tooltip,
        },
    }
    return Figure(
        "reliability",
        "Whether it is as sure as it is right",
        f"A bar shows in how many of the {what} of this confidence the model is right; on the "
        f"dashed line the two agree. Faint bars hold fewer than {FEW_ROWS} of them.",
        says,
        base(says, 300, layer=[*bars, line, points]),
        ("confidence", what, "mean confidence", "right"),
        tuple(
            (
                f"{percent(b.low, 0)} to {percent(b.high, 0)}",
                f"{b.n_rows:,}",
                percent(b.confidence),
                percent(b.accuracy),
            )
            for b in bins
        ),
        size="half",
    )


def _mean_accuracy(facts: Facts) -> float:
    bins = [b for b in facts.calibration if b.n_rows]
    return sum(b.n_rows * b.accuracy for b in bins) / sum(b.n_rows for b in bins)


def confidences(record: RunRecord, facts: Facts) -> Figure | None:
    """Draw how many answers fall into each bin of confidence."""
    bins = [b for b in facts.calibration if b.n_rows]
    if not bins:
        return None
    n = sum(b.n_rows for b in bins)
    n_sure = sum(b.n_rows for b in bins if b.low >= 0.899)
    says = f"{percent(n_sure / n, 0)} of {n:,} have a confidence above 90 %"
    start = 0.5 if record.task != "classify" or len(record.classes) == 2 else 0.0
    rows = [
        {
            "low": b.low,
            "high": b.high,
            "n": round(b.n_rows * share),
            "part": part,
        }
        for b in bins
        for part, share in (("right", b.accuracy), ("wrong", 1 - b.accuracy))
    ]
    return Figure(
        "confidences",
        "How sure it is",
        "The height of a bar is the number of answers of this confidence, divided into right and "
        "wrong ones.",
        says,
        base(
            says,
            300,
            layer=[
                {
                    "data": values(_stacked(rows, part)),
                    "mark": {"type": "bar", "style": style},
                    "encoding": {
                        "x": number(
                            "low",
                            "confidence",
                            scale={"domain": [start, 1], "nice": False},
                            axis={"format": ".0%", "tickCount": 6},
                        ),
                        "x2": {"field": "high"},
                        "y": number("from", "answers", axis={"tickMinStep": 1}),
                        "y2": {"field": "to"},
                        "tooltip": [name("part", "are"), number("n", "answers")],
                    },
                }
                for part, style in (("right", "right"), ("wrong", "wrong"))
            ],
        ),
        ("confidence", "answers", "wrong"),
        tuple(
            (
                f"{percent(b.low, 0)} to {percent(b.high, 0)}",
                f"{b.n_rows:,}",
                f"{round(b.n_rows * (1 - b.accuracy)):,}",
            )
            for b in bins
        ),
        size="half",
    )


def _stacked(rows: list[dict[str, Any]], part: str) -> list[dict[str, Any]]:
    """Return one part of the bars with where it begins and ends: wrong below, right above."""
    below = {row["low"]: row["n"] for row in rows if row["part"] == "wrong"}
    found = []
    for row in rows:
        if row["part"] == part and row["n"]:
            base_ = 0 if part == "wrong" else below[row["low"]]
            found.append({**row, "from": base_, "to": base_ + row["n"]})
    return found


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
                "x": number("value", None, scale={"domain": [0, 1]}),
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


def scatter(record: RunRecord, facts: Facts) -> Figure | None:
    """Draw predicted over true numbers."""
    if not facts.truths:
        return None
    pairs = list(zip(facts.truths, facts.predictions, strict=True))
    low, high = min(map(min, pairs)), max(map(max, pairs))
    rows = [{"truth": t, "found": f} for t, f in pairs]
    scores = record.after.get(record.judged_on, {})
    says = f"{plural(len(rows), 'row')} from {low:.4g} to {high:.4g}; "
    says += f"correlation {shown(scores.get('pearson', float('nan')))}"
    scale = {"domain": [low, high], "zero": False}
    x, y = (
        number("truth", f"true {record.classes[0]}", scale=scale),
        number("found", "predicted", scale=scale),
    )
    return Figure(
        "scatter",
        "Predicted and true",
        "Each point is a held-out row; on the dashed line the prediction is exact, above it too "
        "high, below it too low.",
        says,
        base(
            says,
            340,
            layer=[
                {
                    "data": values([{"truth": low, "found": low}, {"truth": high, "found": high}]),
                    "mark": {"type": "line", "style": "dashed"},
                    "encoding": {"x": x, "y": y},
                },
                {
                    "data": values(rows),
                    "mark": {"type": "point", "style": "accent-point", "filled": True, "size": 26},
                    "encoding": {
                        "x": x,
                        "y": y,
                        "opacity": {"value": 0.55},
                        "tooltip": [
                            number("truth", "true", format=".4g"),
                            number("found", "predicted", format=".4g"),
                        ],
                    },
                },
            ],
        ),
        ("true", "predicted", "error"),
        tuple((f"{t:.5g}", f"{f:.5g}", f"{f - t:+.4g}") for t, f in pairs[:25]),
        size="half",
    )


def residuals(record: RunRecord, facts: Facts) -> Figure | None:
    """Draw how far predictions are off."""
    if not facts.truths:
        return None
    errors = [f - t for t, f in zip(facts.truths, facts.predictions, strict=True)]
    far = max(map(abs, errors)) or 1.0
    ordered = sorted(map(abs, errors))
    middle, most = ordered[len(ordered) // 2], ordered[int(0.9 * (len(ordered) - 1))]
    says = f"half of the predictions are within {middle:.3g}, nine of ten within {most:.3g}"
    counts = Counter(min(int((e + far) / (2 * far) * 30), 29) for e in errors)
    rows = [
        {"low": -far + b * far / 15, "high": -far + (b + 1) * far / 15, "n": n}
        for b, n in sorted(counts.items())
    ]
    return Figure(
        "residuals",
        "How far it is off",
        "A bar counts the rows whose prediction is too low (left of zero) or too high (right) by "
        "so much.",
        says,
        base(
            says,
            340,
            data=values(rows),
            mark={"type": "bar", "style": "soft"},
            encoding={
                "x": number("low", "predicted minus true", axis={"tickCount": 7}),
                "x2": {"field": "high"},
                "y": number("n", "rows", axis={"tickMinStep": 1}),
                "tooltip": [
                    number("low", "from", format=".3g"),
                    number("high", "to", format=".3g"),
                    number("n", "rows"),
                ],
            },
        ),
        ("error from", "to", "rows"),
        tuple((f"{r['low']:.3g}", f"{r['high']:.3g}", f"{r['n']:,}") for r in rows),
        size="half",
    )
