"""The tables of the page, as rows of text: metrics, plan, classes, findings, cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from graft.phase_records import PhaseRecord
from graft.records import FindingRecord, Interval, RunRecord
from graft.report.cost import saved_by_cache
from graft.report.figures_errors import hardest_first
from graft.report.words import (
    human_seconds,
    plural,
    readable,
    readable_cut,
    readable_place,
    share_of,
    shown,
    signed,
)
from graft.wording import human_bytes

N_FINDINGS = 40
SEVERITIES = {"error": "error", "skip": "left out", "warn": "look at", "repair": "repaired"}


@dataclass(frozen=True)
class MetricRow:
    """Hold one line of the table before and after.

    Args:
        meaning: of the metric, one line.
        is_headline: the run is judged by it.
        kind: `better`, `worse` or `unclear`, as the interval of the change says.
        strip: where the two intervals lie, between 0 and 100.
    """

    name: str
    meaning: str
    before: str
    after: str
    span: str
    change: str
    change_span: str
    kind: str
    is_headline: bool
    strip: Strip


@dataclass(frozen=True)
class Strip:
    """Place two intervals on one axis from 0 to 100: low, value, high of each."""

    before: tuple[float, float, float]
    after: tuple[float, float, float]


def metric_rows(
    record: RunRecord, meanings: Mapping[str, tuple[str, str, bool]]
) -> tuple[MetricRow, ...]:
    """Return the lines of the table before and after, the headline first.

    Args:
        meanings: metric → (…, what it means, whether higher is better).
    """
    found = []
    before, after, change = (record.intervals.get(k, {}) for k in ("before", "after", "change"))
    for name, now in after.items():
        if (name == "micro_f1" and record.task == "classify") or name not in before:
            continue
        _, meaning, higher = meanings.get(name, ("", "", True))
        moved = change[name]
        found.append(
            MetricRow(
                readable(name),
                "; ".join(filter(None, (meaning, f"{'higher' if higher else 'lower'} is better"))),
                shown(before[name].value),
                shown(now.value),
                _span(now),
                signed(moved.value),
                _span(moved, signed),
                _kind(moved, higher),
                name == record.headline,
                _strip(before[name], now),
            )
        )
    return tuple(sorted(found, key=lambda row: not row.is_headline))


def _kind(moved: Interval, higher: bool) -> str:
    if not (moved.low > 0 or moved.high < 0):
        return "unclear"
    return "better" if (moved.value > 0) == higher else "worse"


def _span(interval: Interval, written: Callable[[float], str] = shown) -> str:
    if interval.low != interval.low:
        return ""
    return f"{written(interval.low)} to {written(interval.high)}"


def _strip(before: Interval, after: Interval) -> Strip:
    ends = [e for i in (before, after) for e in (i.low, i.value, i.high) if e == e]
    low = min([0.0, *ends])
    high = max([*ends, low + 1e-9]) if max(ends, default=1.0) > 1 else 1.0

    def placed(interval: Interval) -> tuple[float, float, float]:
        shares = [(e - low) / (high - low) for e in (interval.low, interval.value, interval.high)]
        one, middle, other = (round(100 * s, 1) if s == s else 0.0 for s in shares)
        return one, middle, other

    return Strip(placed(before), placed(after))


@dataclass(frozen=True)
class PlanRow:
    """Hold one line of the plan: of a phase, one group of parameters."""

    phase: str
    what: str
    rate: str
    parameters: str
    how: str
    cache: str


def plan_rows(record: RunRecord) -> tuple[PlanRow, ...]:
    """Return the lines of the plan; only a phase's first one says how it went."""
    rows = []
    for phase in record.phases:
        for i, group in enumerate(phase.groups or ()):
            rate = "frozen" if group.lr is None else f"{group.lr:.2g}"
            if group.lr is not None and phase.convex is not None:
                rate = "solved"
            is_first = i == 0
            rows.append(
                PlanRow(
                    phase.name if is_first else "",
                    group.rule,
                    rate,
                    f"{group.n_parameters:,}",
                    what_happened(phase) if is_first else "",
                    _cached(phase) if is_first else "",
                )
            )
    return tuple(rows)


def what_happened(phase: PhaseRecord) -> str:
    """Return how a phase went, in a few words."""
    took = human_seconds(phase.seconds)
    if phase.convex is not None:
        how = phase.convex
        return f"head {how.outcome}: l2 {how.l2:.3g} by {how.chosen_by}, {took}"
    text = f"{plural(len(phase.epochs), 'epoch')}, {plural(phase.n_steps, 'step')}, {took}"
    if phase.epochs:
        last = phase.epochs[-1]
        text += f", training loss {shown(last.train_loss)}"
        if last.validation_loss is not None:
            text += f", validation loss {shown(last.validation_loss)}"
    if phase.stopped_early:
        text += ", stopped early"
    return text


def _cached(phase: PhaseRecord) -> str:
    cut = readable_cut(phase.cache.cut)
    if not phase.cache.used:
        return f"{cut}; not stored" + (f": {phase.cache.reason}" if phase.cache.reason else "")
    return f"{cut}; {human_bytes(phase.cache.size_bytes)} stored"


def cost_rows(record: RunRecord) -> tuple[tuple[str, str, str], ...]:
    """Return what the training cost: name, value, how it is known."""
    trained = share_of(record.n_trained, record.n_parameters)
    whole = human_bytes(4 * record.n_parameters)
    rows = [
        ("time", human_seconds(record.seconds), "from the command to the record, all included"),
        *((f"phase {p.name}", human_seconds(p.seconds), "") for p in record.phases),
        (
            "peak memory",
            human_bytes(record.peak_memory_bytes) if record.peak_memory_bytes else "not known",
            "resident, of the whole process with its libraries",
        ),
        (
            "trained parameters",
            f"{record.n_trained:,}",
            f"{trained} of {record.n_parameters:,}, in the phase that trains most",
        ),
    ]
    if record.adapter_bytes:
        alone = f"what was trained, alone in adapter/; the network itself takes {whole}"
        rows.append(("kept", human_bytes(record.adapter_bytes), alone))
    if record.teacher is not None and record.teacher.cache is not None:
        cache = record.teacher.cache
        asked = (
            f"{cache.n_computed:,} of {record.n_train:,} training rows computed, the others read"
        )
        rows.append(("asking the teacher", human_seconds(cache.seconds), asked))
    if record.predict_seconds:
        rows.append(
            (
                "predicting",
                f"{1000 * record.predict_seconds:.1f} ms a row",
                f"measured on the {record.judged_on} rows, in batches",
            )
        )
    for saved in saved_by_cache(record):
        if saved.seconds is None:
            known = f"{saved.n_rows:,} rows not recomputed; no pass at this cut was timed here"
            rows.append((f"saved by the cache in {saved.phase}", "–", known))
            continue
        each = f"{1000 * (saved.seconds_per_row or 0):.2f} ms measured for a row"
        how = f"{saved.n_rows:,} rows not recomputed × {each}"
        rows.append((f"saved by the cache in {saved.phase}", human_seconds(saved.seconds), how))
    return tuple(rows)


def finding_rows(findings: tuple[FindingRecord, ...]) -> tuple[tuple[str, str, str, str], ...]:
    """Return the findings: severity, what to show for it, place, message."""
    rows = []
    for finding in findings[:N_FINDINGS]:
        place = readable_place(finding.path, finding.row, finding.column)
        shown_as = SEVERITIES.get(finding.severity, finding.severity)
        rows.append((finding.severity, shown_as, place, finding.message))
    return tuple(rows)


def class_rows(record: RunRecord) -> tuple[tuple[str, str, str, str, str, float], ...]:
    """Return for each class its name, rows, precision, recall, F1, and F1 as a length to 100."""
    return tuple(
        (
            c.name,
            f"{c.support:,}",
            shown(c.precision),
            shown(c.recall),
            shown(c.f1),
            round(100 * c.f1, 1) if c.f1 == c.f1 else 0.0,
        )
        for c in hardest_first(record)
    )
