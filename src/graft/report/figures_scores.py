"""Figures of metrics over the epochs: of the validation rows, and of what the network could do."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from graft.phase_records import EpochRecord
from graft.records import RunRecord
from graft.report.figure import Figure, Spec, base, name, number, values
from graft.report.words import UNTOUCHED, plural, shown, spelled

ALSO = {"match": ("text_to_image_recall_at_10",)}
"""task → metrics beside the headline that are worth a curve."""


def scores(record: RunRecord) -> list[Figure]:
    """Draw metrics of the validation rows over the epochs, from the untouched on: the headline."""
    found = [
        _scores("scores", record, record.headline),
        *(_scores(f"scores-{name}", record, name) for name in ALSO.get(record.task, ())),
    ]
    return [figure for figure in found if figure is not None]


def _scores(key: str, record: RunRecord, metric: str) -> Figure | None:
    untouched = record.before.get("validation", {}).get(metric)
    points = _points(record, lambda epoch: epoch.scores.get(metric))
    return _curve(
        key,
        f"{_begun(spelled(metric))} over the epochs",
        f"{'What the run is judged by' if metric == record.headline else 'The other way'}, on the "
        f"validation rows; epoch 0 is the {UNTOUCHED[record.task]}."
        " Where it falls while the loss still does, training has gone too far.",
        (spelled(metric), "the validation rows"),
        _from(untouched, UNTOUCHED[record.task], points),
    )


def remembered(record: RunRecord) -> Figure | None:
    """Draw over the epochs how well the network still does what it could do before."""
    kept = record.remembered
    if kept is None:
        return None
    metric, rows = spelled(kept.metric), plural(kept.n_rows, "row")
    points = _points(record, lambda epoch: epoch.remembered)
    head = {"its own head": "the network's own head", "a probe": "a linear probe of it"}[kept.head]
    rule = {
        "data": values([{"value": kept.anew}] if math.isfinite(kept.anew) else []),
        "mark": {"type": "rule", "style": "dashed"},
        "encoding": {"y": number("value", metric)},
    }
    return _curve(
        "remembered",
        "What is remembered",
        f"The {metric} on {rows} of {kept.name}, which were not trained on, by {head}, which stays "
        "as it was while the network under it trains; epoch 0 is the untouched network. The dashed "
        "line is a new head, solved on the trained features: what is missing up to it has only "
        "moved, what it misses itself up to epoch 0 is lost.",
        (metric, rows),
        _from(kept.before, "untouched network", points),
        more=[rule],
        ends=[kept.anew],
    )


def _points(record: RunRecord, read: Callable[[EpochRecord], float | None]) -> list[dict[str, Any]]:
    """Return a value of each epoch that has it, epochs counted over all phases."""
    points: list[dict[str, Any]] = []
    for phase in record.phases:
        for epoch in phase.epochs:
            value = read(epoch)
            if value is not None and math.isfinite(value):
                points.append({"epoch": len(points) + 1, "value": value, "phase": phase.name})
    return points


def _from(before: float | None, what: str, points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the points from epoch 0 on, where its value is known and others follow."""
    if not points or before is None or not math.isfinite(before):
        return points
    return [{"epoch": 0, "value": before, "phase": what}, *points]


def _curve(
    key: str,
    title: str,
    reading: str,
    what: tuple[str, str],
    points: list[dict[str, Any]],
    *,
    more: list[Spec] | None = None,
    ends: list[float] | None = None,
) -> Figure | None:
    """Draw points over the epochs; None where they make no line.

    Args:
        what: the metric, and the rows that it is taken of.
        more: layers below the line.
        ends: further values that the axis holds.
    """
    if len(points) < 2:
        return None
    metric, rows = what
    found = [*(p["value"] for p in points), *(e for e in ends or () if math.isfinite(e))]
    place = {
        "x": number(
            "epoch",
            "epoch",
            axis={"tickMinStep": 1},
            scale={"domain": [points[0]["epoch"] - 0.5, points[-1]["epoch"] + 0.5], "nice": False},
        ),
        "y": number("value", metric, scale={"domain": _at_least(0.1, found), "zero": False}),
    }
    says = f"{metric} on {rows} from {shown(points[0]['value'])} to "
    says += f"{shown(points[-1]['value'])} in {plural(points[-1]['epoch'], 'epoch')}"
    line = {"mark": {"type": "line", "style": "accent-line"}, "encoding": place}
    dots = {
        "mark": {"type": "point", "style": "accent-point", "filled": True, "size": 44},
        "encoding": {
            **place,
            "tooltip": [
                name("phase", "phase"),
                number("epoch", "epoch"),
                number("value", metric, format=".4f"),
            ],
        },
    }
    return Figure(
        key,
        title,
        reading,
        says,
        base(says, 240, data=values(points), layer=[*(more or ()), line, dots]),
        ("phase", "epoch", metric),
        tuple((p["phase"], str(p["epoch"]), shown(p["value"], 4)) for p in points),
    )


def _begun(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"


def _at_least(span: float, found: list[float]) -> list[float]:
    """Return ends of an axis, at most one, that shows no small change as a large one."""
    pad = max(0.1 * (max(found) - min(found)), (span - max(found) + min(found)) / 2)
    high = min(max(found) + pad, 1.0)
    return [min(min(found) - pad, high - span), high]
