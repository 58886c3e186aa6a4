"""Figures of predicted numbers: predicted over true, and how far off."""

from __future__ import annotations

import math
from collections import Counter

from graft.records import RunRecord
from graft.report.facts import Facts
from graft.report.figure import Figure, base, number, values
from graft.report.words import plural, shown


def scatter(record: RunRecord, facts: Facts) -> Figure | None:
    """Draw predicted over true numbers."""
    pairs = finite_pairs(facts)
    if not pairs:
        return None
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


def finite_pairs(facts: Facts) -> list[tuple[float, float]]:
    """Return true and predicted numbers, without the pairs that hold one that is not finite."""
    pairs = zip(facts.truths, facts.predictions, strict=True)
    return [pair for pair in pairs if all(map(math.isfinite, pair))]


def how_far(facts: Facts) -> str:
    """Say within what half and nine of ten predictions are; empty where there are none."""
    errors = sorted(abs(found - truth) for truth, found in finite_pairs(facts))
    if not errors:
        return ""
    middle, most = errors[len(errors) // 2], errors[int(0.9 * (len(errors) - 1))]
    return f"are within {middle:.3g}, nine of ten within {most:.3g}"


def residuals(record: RunRecord, facts: Facts) -> Figure | None:
    """Draw how far predictions are off."""
    errors = [f - t for t, f in finite_pairs(facts)]
    if not errors:
        return None
    far = max(map(abs, errors)) or 1.0
    says = f"half of the predictions {how_far(facts)}"
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
