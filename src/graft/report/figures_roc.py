"""The curve of verification: what a threshold accepts of either kind of pairs."""

from __future__ import annotations

import math
from typing import Any

from graft.report.facts_embedding import CosineCounts, EmbeddingFacts, Operating
from graft.report.figure import Figure, Spec, base, name, number, values
from graft.report.words import percent, plural, shown

WHEN = ("before", "after")
TABLED = (1e-4, 1e-3, 1e-2, 0.1)
"""False-accept rates of which the table has a row, where they accept ten pairs or more."""


def curve(facts: EmbeddingFacts | None) -> Figure | None:
    """Draw the share that is accepted of pairs that belong together, by that of the others."""
    if facts is None or facts.before is None or facts.after is None:
        return None
    sides = dict(zip(WHEN, (facts.before, facts.after), strict=True))
    if not all(side.curve for side in sides.values()):
        return None
    rows = [_row(when, o) for when, side in sides.items() for o in side.curve]
    lowest = facts.after.curve[0].far
    x = number(
        "far",
        "accepted of pairs that do not belong together (FAR)",
        scale={"type": "log", "domain": [lowest, 1], "nice": False},
        axis={"format": "~%", "labelOverlap": True},
    )
    y = number(
        "tar",
        "accepted of those that do (TAR)",
        scale={"domain": [0, 1]},
        axis={"format": ".0%", "tickCount": 6},
    )
    says = _says(sides)
    return Figure(
        "roc",
        "What a threshold accepts",
        "A threshold that lets fewer strange pairs through (to the left, by powers of ten) also "
        "accepts fewer that belong together; the higher the line, the better. The dots are the "
        "thresholds of the histograms, the dashed line is chance.",
        says,
        base(says, 300, layer=_layers(rows, sides, x, y)),
        ("FAR at most", "TAR before", "TAR after", "threshold after"),
        _table(sides),
    )


def _row(when: str, o: Operating) -> dict[str, Any]:
    threshold = o.threshold if math.isfinite(o.threshold) else None
    return {"when": when, "far": o.far, "tar": o.tar, "threshold": threshold}


def _layers(
    rows: list[dict[str, Any]], sides: dict[str, CosineCounts], x: Spec, y: Spec
) -> list[Spec]:
    # the trained network has the first colour, as it has in all figures
    color = name(
        "when",
        None,
        scale={"domain": WHEN[::-1], "range": "ordinal"},
        legend={"orient": "top", "values": WHEN},
    )
    tooltip = [
        name("when", "network"),
        number("far", "FAR at most", format=".3~%"),
        number("tar", "TAR", format=".1%"),
        number("threshold", "threshold", format=".3f"),
    ]
    chance = [{"far": row["far"], "tar": row["far"]} for row in rows if row["when"] == WHEN[0]]
    dots = [_row(when, side.point) for when, side in sides.items() if side.point is not None]
    return [
        {
            "data": values(chance),
            "mark": {"type": "line", "style": "dashed"},
            "encoding": {"x": x, "y": y},
        },
        {
            "data": values(rows),
            "mark": {"type": "line", "interpolate": "step-after", "strokeWidth": 2},
            "encoding": {"x": x, "y": y, "color": color, "tooltip": tooltip},
        },
        {
            "data": values(dots),
            "mark": {"type": "point", "filled": True, "size": 80, "opacity": 1},
            "encoding": {"x": x, "y": y, "color": color, "tooltip": tooltip},
        },
    ]


def _is_known(sides: dict[str, CosineCounts], far: float) -> bool:
    return far * sum(sides["after"].unlike) >= 10 - 1e-9


def _at(side: CosineCounts, far: float) -> Operating:
    """Return the point of the curve at the largest FAR that is no more."""
    return [o for o in side.curve if o.far <= far * (1 + 1e-9)][-1]


def _says(sides: dict[str, CosineCounts]) -> str:
    far = next((f for f in TABLED[1:] if _is_known(sides, f)), 1.0)
    one, other = (_at(side, far).tar for side in sides.values())
    pairs = plural(sum(sides["after"].unlike), "pair")
    return (
        f"where {percent(far)} of {pairs} that do not belong together are accepted, so are "
        f"{percent(other)} of those that do; before training {percent(one)}"
    )


def _table(sides: dict[str, CosineCounts]) -> tuple[tuple[str, ...], ...]:
    found = []
    for far in TABLED:
        if not _is_known(sides, far):
            continue
        one, other = (_at(side, far) for side in sides.values())
        threshold = shown(other.threshold) if math.isfinite(other.threshold) else "–"
        found.append((f"{100 * far:g}\u00a0%", percent(one.tar), percent(other.tar), threshold))
    return tuple(found)
