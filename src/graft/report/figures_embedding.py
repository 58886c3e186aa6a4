"""Figures of an embedding: cosines of pairs, scores beside cosines; its classes as a table."""

from __future__ import annotations

import math
from typing import Any

from graft.records import RunRecord
from graft.report.facts_embedding import ClassFound, CosineCounts, EmbeddingFacts
from graft.report.figure import Figure, base, name, number, values
from graft.report.words import percent, plural, shown

ALIKE, UNLIKE = "belong together", "do not"
WHEN = {"before": "Cosines before training", "after": "Cosines after training"}
N_TABLED = 25


def cosines(facts: EmbeddingFacts | None) -> list[Figure]:
    """Draw the cosines of pairs that belong together and of others, before and after."""
    if facts is None or facts.before is None or facts.after is None:
        return []
    sides = {"before": facts.before, "after": facts.after}
    most = max(row["share"] for side in sides.values() for row in _bins(side))
    return [_histogram(facts, when, side, most) for when, side in sides.items()]


def _bins(side: CosineCounts) -> list[dict[str, Any]]:
    """Return the bins that are not empty; heights are shares of the pairs of one kind."""
    width = (side.high - side.low) / len(side.alike)
    found = []
    for kind, counts in ((ALIKE, side.alike), (UNLIKE, side.unlike)):
        total = max(sum(counts), 1)
        found += [
            {
                "low": round(side.low + b * width, 4),
                "high": round(side.low + (b + 1) * width, 4),
                "share": n / total,
                "n": n,
                "pairs": kind,
            }
            for b, n in enumerate(counts)
            if n
        ]
    return found


def _histogram(facts: EmbeddingFacts, when: str, side: CosineCounts, most: float) -> Figure:
    rows = _bins(side)
    says = (
        f"at a cosine of {shown(side.threshold)}, {percent(side.accuracy, 0)} of both kinds of "
        f"pairs are told right on average; {plural(sum(side.alike), 'pair')} that belong together, "
        f"{sum(side.unlike):,} that do not"
    )
    known = facts.after_from if when == "after" and facts.after_from else facts.threshold_from
    x = number(
        "low",
        "cosine",
        scale={"domain": [side.low, side.high], "nice": False},
        axis={"labelOverlap": True, "tickCount": 6},
    )
    color = name(
        "pairs",
        None,
        scale={"domain": [ALIKE, UNLIKE], "range": "ordinal"},
        legend={"orient": "top"},
    )
    bars = {
        "data": values(rows),
        "mark": {"type": "bar", "opacity": 0.65, "binSpacing": 0},
        "encoding": {
            "x": x,
            "x2": {"field": "high"},
            "y": number("share", "share of the pairs", stack=None, scale={"domain": [0, most]}),
            "y2": {"datum": 0},
            "color": color,
            "tooltip": [
                name("pairs", "pairs"),
                number("low", "from", format=".3f"),
                number("high", "to", format=".3f"),
                number("n", "pairs in the bin"),
            ],
        },
    }
    line = [{"low": side.threshold}]
    threshold = {
        "data": values(line),
        "mark": {"type": "rule", "style": "dashed"},
        "encoding": {"x": x, "tooltip": [number("low", "threshold", format=".3f")]},
    }
    return Figure(
        f"cosines-{when}",
        WHEN[when],
        "The less the two kinds overlap, the better a threshold tells them apart; the dashed line "
        f"is the threshold of {known}.",
        says,
        base(says, 280, layer=[bars, threshold]),
        ("pairs", "cosine from", "to", "how many"),
        tuple((r["pairs"], f"{r['low']:.3f}", f"{r['high']:.3f}", f"{r['n']:,}") for r in rows),
        size="half",
    )


def scatters(record: RunRecord, facts: EmbeddingFacts | None) -> list[Figure]:
    """Draw the cosines of scored pairs over their scores, before and after."""
    if facts is None or not facts.scores:
        return []
    sides = {"before": facts.cosines_before, "after": facts.cosines_after}
    found = [c for side in sides.values() for c in side if math.isfinite(c)]
    ends = (min(found), max(found))
    return [_scatter(record, facts, when, side, ends) for when, side in sides.items()]


def _scatter(
    record: RunRecord,
    facts: EmbeddingFacts,
    when: str,
    side: tuple[float, ...],
    ends: tuple[float, float],
) -> Figure:
    rows = [{"score": s, "cosine": c} for s, c in zip(facts.scores, side, strict=True) if c == c]
    scores = {"before": record.before, "after": record.after}[when].get(record.judged_on, {})
    says = f"{plural(len(rows), 'pair')}; rank correlation "
    says += shown(scores.get("spearman", float("nan")))
    return Figure(
        f"scores-{when}",
        WHEN[when],
        "Each point is a held-out pair: the better the cosines follow the scores, the more the "
        "points rise from left to right.",
        says,
        base(
            says,
            320,
            data=values(rows),
            mark={"type": "point", "style": "accent-point", "filled": True, "size": 26},
            encoding={
                "x": number(
                    "score",
                    "score",
                    scale={"zero": False},
                    axis={"labelOverlap": True, "tickCount": 6},
                ),
                "y": number("cosine", "cosine", scale={"domain": list(ends), "zero": False}),
                "opacity": {"value": 0.5},
                "tooltip": [
                    number("score", "score", format=".4g"),
                    number("cosine", "cosine", format=".3f"),
                ],
            },
        ),
        ("score", "cosine"),
        tuple((f"{r['score']:.5g}", shown(r["cosine"])) for r in rows[:N_TABLED]),
        size="half",
    )


def class_rows(facts: EmbeddingFacts | None) -> tuple[tuple[str, ...], ...]:
    """Return for each class, the hardest first, its name, items and how they lie.

    The cells: nearest before, nearest after, within before, within after, between before, between
    after, and what is nearest instead.
    """
    if facts is None:
        return ()
    return tuple(
        (
            c.name,
            f"{c.n_items:,}",
            *(percent(share, 0) for share in (c.nearest[0], c.nearest[-1])),
            *(shown(v, 2) for v in (c.within[0], c.within[-1], c.between[0], c.between[-1])),
            c.other,
        )
        for c in hardest_classes(facts)
    )


def hardest_classes(facts: EmbeddingFacts) -> list[ClassFound]:
    """Return the classes, first those whose items find their own least; single items come last."""
    return sorted(
        facts.classes,
        key=lambda c: (c.nearest[-1] != c.nearest[-1], c.nearest[-1], -c.n_items, c.name),
    )
