"""Figures of the data and of the training: class counts, learning curves, depths."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from graft.records import RunRecord
from graft.report.facts import Facts
from graft.report.figure import Figure, base, name, number, values
from graft.report.words import IN_A_SPACE, percent, plural, shown

MOST_NAMED = 24
"""More classes than this are drawn without their names; the table has them."""

BY_RANK = {"field": "rank", "op": "min"}
PARTS = ("train", "validation", "test")


def class_counts(record: RunRecord, facts: Facts) -> Figure | None:
    """Draw how many rows each class has in each part; of numbers a histogram."""
    if not facts.counts:
        return None
    is_tuples = record.task in IN_A_SPACE and not record.classes
    if is_tuples and len(facts.counts) == 1:  # pairs or triplets without a score, captions
        return None
    is_number = record.task == "regress" or is_tuples
    what = record.classes[0] if record.task == "regress" else "the score"
    kind, many = ("label", "labels") if record.task == "multilabel" else ("class", "classes")
    rows = [
        {"class": c.name, "part": part, "n": getattr(c, part), "place": i, "rank": rank}
        for i, part in enumerate(PARTS)
        for rank, c in enumerate(_sorted(facts, is_number))
    ]
    totals = [c.train + c.validation + c.test for c in facts.counts]
    says = (
        f"{plural(len(totals), 'bin')} of {what}"
        if is_number
        else f"{plural(len(totals), kind, many)} with {_range(totals)} rows each"
    )
    tooltip = [name("class", kind), name("part", "part"), number("n", "rows")]
    color = name("part", None, sort=list(PARTS), scale={"domain": PARTS, "range": "ordinal"})
    n = number("n", "rows", axis={"tickMinStep": 1, "tickCount": 8})
    encoding: dict[str, Any] = {
        "color": {**color, "legend": {"orient": "top"}},
        "order": {"field": "place"},
        "tooltip": tooltip,
    }
    if not is_number and len(totals) <= MOST_NAMED:
        height = 22 * len(totals) + 60
        encoding |= {"x": n, "y": name("class", None, sort=BY_RANK)}
    else:
        height, axis = 240, {"labels": False, "ticks": False}
        title = what if is_number else "classes, the most frequent first"
        if is_number:
            axis = {"labelOverlap": True, "labelAngle": 0}
        encoding |= {"y": n, "x": name("class", title, sort=BY_RANK, axis=axis)}
    return Figure(
        "counts",
        "How the numbers are spread" if is_number else f"Rows of each {kind}",
        "The length of a bar is the number of rows, its parts are the training, validation and "
        "test rows.",
        says,
        base(
            says,
            height,
            data=values(rows),
            mark={"type": "bar", "cornerRadiusEnd": 2},
            encoding=encoding,
        ),
        ("bin" if is_number else kind, *PARTS),
        tuple((c.name, f"{c.train:,}", f"{c.validation:,}", f"{c.test:,}") for c in facts.counts),
    )


def _range(totals: list[int]) -> str:
    low, high = min(totals), max(totals)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _sorted(facts: Facts, is_number: bool) -> list[Any]:
    """Return the classes with the most rows first, bins of numbers in their order."""
    if is_number:
        return list(facts.counts)
    return sorted(facts.counts, key=lambda c: (-(c.train + c.validation + c.test), c.name))


def learning(record: RunRecord) -> Figure | None:
    """Draw the losses over the epochs of all phases, one after the other."""
    rows: list[dict[str, Any]] = []
    table, starts, at = [], [], 0
    for phase in record.phases:
        if phase.epochs:
            starts.append({"at": at + 0.5, "phase": phase.name})
        for index, epoch in enumerate(phase.epochs):
            at += 1
            is_best = phase.best_epoch is not None and epoch.epoch == phase.best_epoch
            for kind in ("train", "validation"):
                loss = getattr(epoch, f"{kind}_loss")
                if loss is not None and loss == loss and abs(loss) != float("inf"):
                    rows.append({"epoch": at, "loss": loss, "part": kind, "phase": phase.name})
            kept = "kept" if is_best else ""
            validation = "" if epoch.validation_loss is None else shown(epoch.validation_loss, 4)
            table.append((phase.name, str(index + 1), shown(epoch.train_loss, 4), validation, kept))
    if at < 2:  # one point is no curve; the plan's table has its losses
        return None
    first, last = rows[0], rows[-1]
    says = f"{first['part']} loss from {first['loss']:.3f}; {last['part']} loss ends at "
    says += f"{last['loss']:.3f} after {plural(at, 'epoch')}"
    x = number(
        "epoch", "epoch", axis={"tickMinStep": 1}, scale={"domain": [0.5, at + 0.5], "nice": False}
    )
    legend = {"orient": "top"}
    color = name("part", None, scale={"domain": PARTS[:2], "range": "ordinal"}, legend=legend)
    layers: list[dict[str, Any]] = [
        {
            "data": values(starts if len(starts) > 1 else []),
            "mark": {"type": "text", "style": "note", "align": "left", "dx": 5, "y": -6},
            "encoding": {"x": number("at", "epoch"), "text": {"field": "phase"}},
        },
        {
            "mark": {"type": "line", "point": {"size": 44, "filled": True}, "strokeWidth": 2},
            "encoding": {
                "x": x,
                "y": number("loss", "loss", scale={"domainMin": 0}),
                "color": color,
                "strokeDash": name("part", None, scale={"domain": PARTS[:2]}, legend=legend),
                "tooltip": [
                    name("phase", "phase"),
                    number("epoch", "epoch"),
                    name("part", "rows"),
                    number("loss", "loss", format=".4f"),
                ],
            },
        },
    ]
    if len(starts) > 1:
        layers.insert(
            0,
            {
                "data": values([start for _, start in pairwise(starts)]),
                "mark": {"type": "rule", "style": "rule"},
                "encoding": {"x": number("at", "epoch")},
            },
        )
    return Figure(
        "learning",
        "Loss over the epochs",
        "Both lines should fall; where the validation line rises while the training line still "
        "falls, the model begins to learn the training rows by heart.",
        says,
        base(says, 260, data=values(rows), layer=layers),
        ("phase", "epoch", "training loss", "validation loss", ""),
        tuple(table),
    )


def depths(record: RunRecord) -> Figure | None:
    """Draw what a linear head on each block would reach."""
    if not record.depths:
        return None
    has_accuracy = all(d.accuracy is not None for d in record.depths)
    kind = "accuracy" if has_accuracy else "loss"
    rows = [
        {"block": d.block, "value": getattr(d, kind), "place": i, "loss": d.loss}
        for i, d in enumerate(record.depths)
    ]
    chosen = next((d for d in record.depths if d.chosen), record.depths[-1])
    how = record.chosen_on.get("block", "cross-validation")
    says = f"a linear head on each of {len(rows)} depths, by {how}; the model reads {chosen.block}"
    shared = {
        "y": name("block", None, sort={"field": "place", "op": "min"}),
        "tooltip": [
            name("block", "read"),
            number("value", kind, format=".3f"),
            number("loss", "loss", format=".3f"),
        ],
    }
    x = number("value", kind, scale={"domainMin": 0})
    bars = [
        {
            "data": values([r for r, d in zip(rows, record.depths, strict=True) if d.chosen == c]),
            "mark": {"type": "bar", "style": "accent" if c else "soft", "cornerRadiusEnd": 2},
            "encoding": {"x": x, **shared},
        }
        for c in (False, True)
    ]
    label = {
        "data": values(rows),
        "mark": {"type": "text", "align": "left", "dx": 5, "style": "note"},
        "encoding": {"x": x, "text": {"field": "value", "format": ".3f"}, **shared},
    }
    return Figure(
        "depths",
        "Which block knows most",
        f"Each bar is the {kind} of a linear head that reads this block, by {how}; the strong bar "
        "is the block that the model reads.",
        says,
        base(says, 26 * len(rows) + 40, layer=[*bars, label]),
        ("read", "width", "accuracy", "loss", ""),
        tuple(
            (
                d.block,
                str(d.width),
                "–" if d.accuracy is None else percent(d.accuracy),
                shown(d.loss),
                "chosen" if d.chosen else "",
            )
            for d in record.depths
        ),
    )
