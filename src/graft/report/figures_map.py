"""Figures of the features: the held-out rows in two dimensions, before and after training.

Of embeddings there are two kinds of maps: the linear one, and one in which near stays near.
"""

from __future__ import annotations

from typing import Any, Literal

from graft.records import RunRecord
from graft.report.facts import FeatureMap, MapSide
from graft.report.figure import Figure, base, name, number, values
from graft.report.words import IN_A_SPACE, percent, plural

READING = {
    "before": "As the untouched backbone sees the rows: alike for it is what lies together.",
    "after": "As the trained network sees them: the further classes lie apart, the easier the head "
    "has it.",
}
READING_OF_EMBEDDINGS = {
    "before": "As the untouched backbone sees the items: near each other is what is alike for it.",
    "after": "As the trained network sees them: what belongs together should have come nearer.",
}
READING_OF_DOMAINS = {
    "before": "As the untouched backbone sees rows of both domains: where they lie apart, what is "
    "learned of the one need not hold for the other.",
    "after": "As the trained network sees them: the better they mix, the less its features tell "
    "where a row comes from.",
}
Kind = Literal["map", "near", "domains"]
TITLES = {"near": "Near items", "domains": "Both domains"}
FEW_ROWS, MANY_ROWS = 200, 1_000
LONG_NAME, LONGER_NAME = 14, 20
"""Characters of a class name, above which the legend has two columns, and one."""

LEGEND_LINE = 17
"""Pixels."""


def maps(record: RunRecord, found: FeatureMap | None, kind: Kind = "map") -> list[Figure]:
    """Draw one picture, or two where training moved the features; both have the same axes.

    Args:
        kind: `map` for directions in the features, `near` for a map in which near stays near,
            `domains` for rows of two domains.
    """
    if found is None:
        return []
    sides = [("before", found.before), ("after", found.after)]
    shown = [(when, side) for when, side in sides if side is not None]
    xs = [x for _, side in shown for x in side.x]
    ys = [y for _, side in shown for y in side.y]
    frame = (_widened(min(xs), max(xs)), _widened(min(ys), max(ys)))
    return [_map(record, found, when, side, frame, kind) for when, side in shown]


def _map(
    record: RunRecord,
    found: FeatureMap,
    when: str,
    side: MapSide,
    frame: tuple[list[float], list[float]],
    kind: Kind,
) -> Figure:
    alone = found.before is None
    x = number("x", None, scale={"domain": frame[0], "nice": False}, axis=None)
    y = number("y", None, scale={"domain": frame[1], "nice": False}, axis=None)
    names = sorted({group for group in found.groups if group})
    layers = [*_regions(side, x, y), *_links(found, side, x, y)]
    layers += [*_points(record, found, side, x, y, names), *_spreads(side, x, y, names)]
    if side.centres:
        layers.append(_centres(side, x, y, names))
    rows = [(c.name, f"{c.x:.2f}", f"{c.y:.2f}") for c in side.centres]
    says = _says(record, side, kind)
    return Figure(
        f"{kind}-{when}",
        _title(record, when, alone, kind),
        _reading(record, kind)[when],
        says,
        base(says, (440 if alone else 380) + _legend_height(names), layer=layers),
        ("mean of", "first direction", "second"),
        tuple(rows),
        size="wide" if alone else "half",
    )


def _reading(record: RunRecord, kind: Kind) -> dict[str, str]:
    if kind == "domains":
        return READING_OF_DOMAINS
    return READING_OF_EMBEDDINGS if record.task in IN_A_SPACE else READING


def _columns(names: list[str]) -> int:
    longest = max(map(len, names), default=0)
    return 1 if longest > LONGER_NAME else 2 if longest > LONG_NAME else 3


def _legend_height(names: list[str]) -> int:
    """Return what a legend of one column needs more than one of two."""
    return LEGEND_LINE * (len(names) - len(names) // 2) if _columns(names) == 1 else 0


def _title(record: RunRecord, when: str, alone: bool, kind: Kind) -> str:
    what = "Embeddings" if record.task in IN_A_SPACE else "Features"
    if alone:
        return f"{what} of the held-out {'items' if record.task in IN_A_SPACE else 'rows'}"
    return f"{TITLES.get(kind, what)} {when} training"


def _says(record: RunRecord, side: MapSide, kind: Kind) -> str:
    said = plural(len(side.x), "item" if record.task in IN_A_SPACE else "row")
    if kind == "near":
        return f"{said}, laid out so that near ones stay near"
    said += f"; two directions that hold {percent(side.explained, 0)} of the variance"
    if side.separable is not None:
        said += f"; a linear classifier of the picture gets {percent(side.separable, 0)} of the "
        said += "coloured rows right"
    return said


def _regions(side: MapSide, x: Any, y: Any) -> list[dict[str, Any]]:
    edges = [
        {"x": px, "y": py, "of": i, "order": k}
        for i, region in enumerate(side.regions)
        for k, (px, py) in enumerate(zip(region.x, region.y, strict=True))
    ]
    if not edges:
        return []
    return [
        {
            "data": values(edges),
            "mark": {"type": "line", "style": "border", "interpolate": "linear-closed"},
            "encoding": {
                "x": x,
                "y": y,
                "detail": {"field": "of", "type": "nominal"},
                "order": {"field": "order"},
            },
        }
    ]


def _links(found: FeatureMap, side: MapSide, x: Any, y: Any) -> list[dict[str, Any]]:
    """Draw lines between the two rows of a pair: solid where they belong together."""
    layers = []
    for belongs, style in ((True, "link"), (False, "dashed")):
        rows = [
            {"x": side.x[k.one], "y": side.y[k.one], "x2": side.x[k.other], "y2": side.y[k.other]}
            for k in found.links
            if k.belongs == belongs
        ]
        if rows:
            ends = {"x": x, "y": y, "x2": {"field": "x2"}, "y2": {"field": "y2"}}
            mark = {"type": "rule", "style": style}
            layers.append({"data": values(rows), "mark": mark, "encoding": ends})
    return layers


def _spreads(side: MapSide, x: Any, y: Any, names: list[str]) -> list[dict[str, Any]]:
    """Draw an ellipse around the mean of each class."""
    edges = [
        {"x": px, "y": py, "class": region.name, "order": k}
        for region in side.spreads
        for k, (px, py) in enumerate(zip(region.x, region.y, strict=True))
    ]
    if not edges:
        return []
    return [
        {
            "data": values(edges),
            "mark": {"type": "line", "interpolate": "linear-closed", "strokeWidth": 1.5},
            "encoding": {
                "x": x,
                "y": y,
                "color": name("class", None, scale=_colours(names)),
                "order": {"field": "order"},
            },
        }
    ]


def _points(
    record: RunRecord, found: FeatureMap, side: MapSide, x: Any, y: Any, names: list[str]
) -> list[dict[str, Any]]:
    size = 56 if len(side.x) < FEW_ROWS else 32 if len(side.x) < MANY_ROWS else 20
    rows: list[dict[str, Any]] = [
        {"x": px, "y": py, "class": group, "wrong": wrong}
        for px, py, group, wrong in zip(side.x, side.y, found.groups, found.wrong, strict=True)
    ]
    if found.values:
        for row, value in zip(rows, found.values, strict=True):
            row["value"] = value
        title = record.classes[0]
        color = number("value", title, scale={"range": "heatmap"}, legend={"orient": "bottom"})
        return [
            {
                "data": values(rows),
                "mark": {"type": "point", "filled": True, "size": size, "opacity": 0.85},
                "encoding": {
                    "x": x,
                    "y": y,
                    "color": color,
                    "tooltip": [number("value", title, format=".4g")],
                },
            }
        ]
    columns = _columns(names)
    legend = {
        "orient": "bottom",
        "columns": columns,
        "labelLimit": 140 if columns > 1 else 300,
        "symbolOpacity": 1,
        "symbolSize": 90,
    }
    coloured = {
        "data": values([row for row in rows if row["class"]]),
        "mark": {"type": "point", "filled": True, "size": size, "opacity": 0.75},
        "encoding": {
            "x": x,
            "y": y,
            "color": name("class", None, scale=_colours(names), legend=legend),
            "shape": name("class", None, scale={"domain": names}, legend=legend),
            "tooltip": [name("class", "of" if record.task in IN_A_SPACE else "true")],
        },
    }
    rest = {
        "data": values([row for row in rows if not row["class"]]),
        # where nothing has a colour these are all that there is to see
        "mark": {"type": "point", "filled": True, "size": size / (2 if names else 1)}
        | {"style": "rest"},
        "encoding": {"x": x, "y": y},
    }
    rings = {
        "data": values([row for row in rows if row["wrong"]]),
        "mark": {"type": "point", "style": "ring", "filled": False, "size": 60 + 2 * size},
        "encoding": {"x": x, "y": y, "tooltip": [name("class", "true, and predicted wrong")]},
    }
    return [rest, *([coloured] if names else []), *([rings] if any(found.wrong) else [])]


def _centres(side: MapSide, x: Any, y: Any, names: list[str]) -> dict[str, Any]:
    rows = [{"x": c.x, "y": c.y, "class": c.name} for c in side.centres]
    return {
        "data": values(rows),
        "mark": {"type": "point", "filled": True, "size": 210, "style": "centre"},
        "encoding": {
            "x": x,
            "y": y,
            "color": name("class", None, scale=_colours(names)),
            "shape": name("class", None, scale={"domain": names}),
            "tooltip": [name("class", "mean of")],
        },
    }


def _colours(names: list[str]) -> dict[str, Any]:
    return {"domain": names, "range": "category"}


def _widened(low: float, high: float) -> list[float]:
    pad = 0.06 * max(high - low, 1e-9)
    return [low - pad, high + pad]
