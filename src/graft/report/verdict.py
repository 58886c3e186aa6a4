"""The verdict at the top of the page: how good, how much better, and what limits it most.

It says no more than the intervals do: a change whose interval holds zero is called unclear.
"""

from __future__ import annotations

from dataclasses import dataclass

from graft.records import Interval, RunRecord
from graft.report.facts import Confused, Facts
from graft.report.figures_errors import hardest_first
from graft.report.figures_numbers import how_far
from graft.report.teacher import beside_teacher
from graft.report.words import UNTOUCHED, percent, plural, readable, signed, spelled

BOTH_WAYS = ("image_to_text_recall_at_10", "text_to_image_recall_at_10")
SHARES = frozenset({"accuracy", "r2", "triplet_accuracy", BOTH_WAYS[0]})
"""Headlines that are said in per cent."""

LARGE_SHARE = 0.2
"""A pair of classes with this share of all mistakes is worth the last sentence."""


@dataclass(frozen=True)
class Verdict:
    """Hold the sentences at the top: the first is the headline."""

    headline: str
    sentences: tuple[str, ...] = ()


def verdict(record: RunRecord, facts: Facts | None) -> Verdict:
    """Return what the run is worth in a few sentences."""
    part = record.judged_on
    after = record.intervals.get("after", {}).get(record.headline)
    if after is None:
        text = "No row was held out, so how good the model is on new rows is not known."
        return Verdict(text, ("Leave some rows for testing: pass --test 0.15.",))
    n = record.n_test if part == "test" else record.n_validation
    sentences = [
        _change(record),
        beside_teacher(record),
        _nearest(record),
        _other_way(record),
        _limit(record, facts),
    ]
    if part == "validation":
        sentences.append(
            "There are no test rows, so these are validation rows, and what was chosen on them "
            "looks a little better than it is."
        )
    return Verdict(_how_good(record, after, n), tuple(s for s in sentences if s))


def _how_good(record: RunRecord, after: Interval, n: int) -> str:
    where = f"{n:,} {record.judged_on} {'row' if n == 1 else 'rows'}"
    span = f"({_span(record, after)})"
    if record.task == "classify":
        return f"The trained model is right on {percent(after.value)} of {where} {span}."
    if record.task == "regress":
        return (
            f"The trained model explains {percent(after.value)} of the variance of {where} {span}."
        )
    if record.task == "embed":
        return _how_near(record, after, where, span)
    if record.headline == BOTH_WAYS[0]:
        return (
            f"The trained model has a caption of the picture among the ten nearest for "
            f"{percent(after.value)} of the pictures of {where} {span}."
        )
    name = readable(record.headline)
    return f"The trained model has a {name} of {after.value:.3f} on {where} {span}."


def _how_near(record: RunRecord, after: Interval, where: str, span: str) -> str:
    """Say what an embedding is worth: by what is found, or by how cosines follow scores."""
    if record.headline == "spearman":
        return (
            f"The cosines of the trained model follow the scores of {where} with a rank "
            f"correlation of {after.value:.3f} {span}."
        )
    if record.headline == "triplet_accuracy":
        return (
            f"The trained model lays the positive nearer than the negative in "
            f"{percent(after.value)} of {where} {span}."
        )
    name = spelled(record.headline)
    article = "an" if name[0] in "aeiou" or name.startswith("NDCG") else "a"
    return f"The trained model has {article} {name} of {after.value:.3f} on {where} {span}."


def _both(record: RunRecord, metric: str) -> tuple[float, float] | None:
    """Return a metric before and after; None where it is not there or not defined."""
    before, after = (p.get(record.judged_on, {}).get(metric) for p in (record.before, record.after))
    if before is None or after is None or before != before or after != after:
        return None
    return before, after


def _other_way(record: RunRecord) -> str:
    """Say how often captions find their picture; empty where there are none."""
    found = _both(record, BOTH_WAYS[1])
    if found is None:
        return ""
    return (
        f"The other way, the picture is among the ten nearest for {percent(found[1])} of the "
        f"captions; before training it was for {percent(found[0])}."
    )


def _nearest(record: RunRecord) -> str:
    """Say how often the nearest item belongs; empty where the metrics do not have it."""
    found = _both(record, "recall_at_1")
    if found is None:
        return ""
    before, after = found
    return (
        f"The nearest item belongs to the query in {percent(after)} of the searches; before "
        f"training it did in {percent(before)}."
    )


def _limit_of_embedding(facts: Facts | None) -> str:
    classes = facts.embedding.classes if facts and facts.embedding else ()
    lost = [(round((1 - c.nearest[-1]) * c.n_items), c) for c in classes if c.n_items > 1]
    if not lost:
        return ""
    n_lost, worst = max(lost, key=lambda found: (found[0], -found[1].nearest[-1]))
    if not n_lost:
        return "Every item finds one of its class first; a harder test would say more."
    instead = f", most often one of “{worst.other}”" if worst.other else ""
    return (
        f"What limits it most is the class “{worst.name}”: {n_lost:,} of its "
        f"{plural(worst.n_items, 'item')} have another class nearest{instead}."
    )


def _span(record: RunRecord, interval: Interval) -> str:
    if record.headline in SHARES:
        return f"{100 * interval.low:.1f} to {100 * interval.high:.1f}"
    return f"{interval.low:.3f} to {interval.high:.3f}"


def _change(record: RunRecord) -> str:
    """Say how the model compares with the untouched backbone, and whether that is sure."""
    moved = record.intervals.get("change", {}).get(record.headline)
    if moved is None or moved.value != moved.value:
        return ""
    before = f"the {UNTOUCHED[record.task]}"
    share = record.headline in SHARES
    size = f"{100 * abs(moved.value):.1f} points" if share else f"{abs(moved.value):.3f}"
    ends = sorted((abs(moved.low), abs(moved.high)))
    span = (
        f"{100 * ends[0]:.1f} to {100 * ends[1]:.1f}" if share else "{:.3f} to {:.3f}".format(*ends)
    )
    if moved.low > 0:
        return f"That is {size} better ({span}) than {before}."
    if moved.high < 0:
        return f"That is {size} worse ({span}) than {before}: use the untouched one, or train anew."
    low, high = (signed(100 * e, 1) if share else signed(e) for e in (moved.low, moved.high))
    unit = " points" if share else ""
    return (
        f"That is not clearly better than {before}: the change lies between {low} and {high}{unit}."
    )


def _limit(record: RunRecord, facts: Facts | None) -> str:
    if record.task == "classify":
        return _limit_of_classes(record, facts)
    if record.task == "embed":
        return _limit_of_embedding(facts)
    if record.task == "multilabel":
        hardest = next((c for c in hardest_first(record) if c.f1 == c.f1), None)
        if hardest is None or hardest.f1 > 0.995:
            return ""
        rows = plural(hardest.support, "row")
        return f"What limits it most is the label “{hardest.name}”: F1 {hardest.f1:.3f} on {rows}."
    far = how_far(facts) if facts else ""
    return f"Half of its predictions of {record.classes[0]} {far}." if far else ""


def _limit_of_classes(record: RunRecord, facts: Facts | None) -> str:
    wrong = [c for c in facts.confused if c.truth != c.predicted] if facts else []
    n_wrong = sum(c.n_rows for c in wrong)
    if facts and facts.confused and not n_wrong:
        return "It makes no mistake on these rows; a harder test would say more."
    pair = _worst_pair(wrong)
    if pair is not None and len(record.classes) > 2 and pair[2] >= max(3, LARGE_SHARE * n_wrong):
        one, other = record.classes[pair[0]], record.classes[pair[1]]
        return (
            f"What limits it most is telling “{one}” from “{other}”: {pair[2]:,} of its "
            f"{plural(n_wrong, 'mistake')}."
        )
    lost = [(round((1 - c.recall) * c.support), c) for c in record.per_class if c.support]
    if not lost:
        return ""
    n_lost, worst = max(lost, key=lambda found: (found[0], -found[1].recall))
    return (
        f"What limits it most is the class “{worst.name}”, of which it misses {n_lost:,} of "
        f"{plural(worst.support, 'row')}."
        if n_lost
        else ""
    )


def _worst_pair(wrong: list[Confused]) -> tuple[int, int, int] | None:
    """Return the two classes that are taken for each other most often, and how often."""
    both: dict[tuple[int, int], int] = {}
    for cell in wrong:
        pair = (min(cell.truth, cell.predicted), max(cell.truth, cell.predicted))
        both[pair] = both.get(pair, 0) + cell.n_rows
    if not both:
        return None
    (one, other), n = max(both.items(), key=lambda item: (item[1], item[0]))
    return one, other, n
