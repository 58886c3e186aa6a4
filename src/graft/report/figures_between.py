"""The curve between the weights before training and those after it."""

from __future__ import annotations

from collections.abc import Mapping

from graft.records import RunRecord
from graft.report.figure import Figure, base, name, number, values
from graft.report.words import readable

PARTS = ("validation", "test")


def between(record: RunRecord, meanings: Mapping[str, tuple[str, str, bool]]) -> Figure | None:
    """Draw what models between both ends are worth, by alpha; None where none was scored.

    Args:
        meanings: metric → (…, what it means, whether higher is better).
    """
    if not record.between:
        return None
    metric = readable(record.headline)
    rows = [
        {"alpha": point.alpha, "part": part, "value": value}
        for point in record.between
        for part, value in point.scores.items()
    ]
    chosen = next(point for point in record.between if point.chosen)
    is_higher = record.headline not in meanings or meanings[record.headline][2]
    told = ", ".join(f"{value:.3f} on {part} rows" for part, value in chosen.scores.items())
    says = f"{metric} by alpha; the best on validation rows is alpha {chosen.alpha:g}: {told}"
    x = number("alpha", "alpha: 0 before training, 1 after it", scale={"domain": [0, 1]})
    line = {
        "data": values(rows),
        "mark": {"type": "line", "point": {"size": 44, "filled": True}, "strokeWidth": 2},
        "encoding": {
            "x": x,
            "y": number("value", metric, scale={"zero": False}),
            "color": name(
                "part", None, scale={"domain": PARTS, "range": "ordinal"}, legend={"orient": "top"}
            ),
            "strokeDash": name("part", None, scale={"domain": PARTS}, legend={"orient": "top"}),
            "tooltip": [
                number("alpha", "alpha"),
                name("part", "rows"),
                number("value", metric, format=".3f"),
            ],
        },
    }
    rule = {
        "data": values([{"alpha": chosen.alpha}]),
        "mark": {"type": "rule", "style": "rule"},
        "encoding": {"x": x},
    }
    return Figure(
        "between",
        "Between before and after",
        f"Each point is a model with weights between those before training and those after; "
        f"{'more' if is_higher else 'less'} is better, and the rule stands at the alpha that is "
        "best on validation rows.",
        says,
        base(says, 240, layer=[rule, line]),
        ("alpha", *PARTS, ""),
        tuple(
            (
                f"{p.alpha:g}",
                *(f"{p.scores[part]:.3f}" if part in p.scores else "–" for part in PARTS),
                "chosen" if p.chosen else "",
            )
            for p in record.between
        ),
    )
