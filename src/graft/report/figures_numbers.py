"""Figures of predicted numbers: predicted over true, and how far off."""

from __future__ import annotations

from collections import Counter

from graft.records import RunRecord
from graft.report.facts import Facts
from graft.report.figure import Figure, base, number, values
from graft.report.words import plural, shown


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
                "y2": {"datum": 0},
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
