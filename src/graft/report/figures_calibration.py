"""Figures of calibration: how sure the model is, and how often it is right then."""

from __future__ import annotations

from typing import Any

from graft.records import RunRecord
from graft.report.facts import Facts
from graft.report.figure import Figure, base, name, number, values
from graft.report.words import percent

FEW_ROWS = 10
"""Bins with fewer rows are drawn faintly: they say little."""


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
    start = _lowest(record)
    x = _confidence(start)
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


def _lowest(record: RunRecord) -> float:
    """Return the confidence below which no answer can lie: of two, the surer has a half."""
    return 0.5 if record.task != "classify" or len(record.classes) == 2 else 0.0


def _confidence(start: float) -> dict[str, Any]:
    """Return scale and axis of the confidence, from `start` to 1."""
    return {
        "scale": {"domain": [start, 1], "nice": False},
        "axis": {"format": ".0%", "tickCount": 6},
    }


def _mean_accuracy(facts: Facts) -> float:
    bins = [b for b in facts.calibration if b.n_rows]
    return sum(b.n_rows * b.accuracy for b in bins) / sum(b.n_rows for b in bins)


def confidences(record: RunRecord, facts: Facts) -> Figure | None:
    """Draw how many answers fall into each bin of confidence."""
    bins = [b for b in facts.calibration if b.n_rows]
    if not bins:
        return None
    n = sum(b.n_rows for b in bins)
    surest = max(facts.calibration, key=lambda b: b.low)
    says = f"{percent(surest.n_rows / n, 0)} of {n:,} have a confidence above "
    says += percent(surest.low, 0)
    x = _confidence(_lowest(record))
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
                        "x": number("low", "confidence", **x),
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
