"""A student beside its teacher: what was learned, and how much of the way to it was gone."""

from __future__ import annotations

from dataclasses import dataclass

from graft.records import RunRecord, TeacherRecord
from graft.report.words import percent, readable, shown, spelled

LEARNED = {
    "logits": "its answers",
    "features": "its features",
    "embedding": "the directions of its vectors",
}


@dataclass(frozen=True)
class TeacherRow:
    """Hold one metric before training, of the student and of the teacher, on the same rows."""

    name: str
    before: str
    after: str
    teacher: str
    is_headline: bool


def teacher_rows(record: RunRecord) -> tuple[TeacherRow, ...]:
    """Return each metric of the split that counts, the headline first; empty without a teacher."""
    if record.teacher is None:
        return ()
    part = record.judged_on
    before, after = record.before.get(part, {}), record.after.get(part, {})
    rows = [
        TeacherRow(
            readable(name),
            shown(before.get(name, float("nan"))),
            shown(after[name]),
            shown(value),
            name == record.headline,
        )
        for name, value in record.teacher.scores.get(part, {}).items()
        if name in after and not (name == "micro_f1" and record.task == "classify")
    ]
    return tuple(sorted(rows, key=lambda row: not row.is_headline))


def share_closed(record: RunRecord) -> float | None:
    """Return how much of the way from before training to the teacher the student has gone.

    Of the headline metric; above 1 the student is better. None where the teacher was not ahead.
    """
    if record.teacher is None:
        return None
    scores = (record.before, record.after, record.teacher.scores)
    before, after, ahead = (s.get(record.judged_on, {}).get(record.headline) for s in scores)
    if before is None or after is None or ahead is None or not ahead > before:
        return None
    return (after - before) / (ahead - before)


def how_taught(teacher: TeacherRecord) -> str:
    """Say what was learned of a teacher, and with which weight."""
    words = f"{LEARNED[teacher.learned]} count {percent(teacher.weight, 0)} beside the labels"
    if teacher.learned == "logits" and teacher.temperature != 1:
        words += f", softened at temperature {teacher.temperature:g}"
    if teacher.n_unlabelled:
        words += f", and alone on {teacher.n_unlabelled:,} rows without labels"
    return words


def beside_teacher(record: RunRecord) -> str:
    """Return a sentence on how far the student is from its teacher; empty without one."""
    if record.teacher is None:
        return ""
    value = record.teacher.scores.get(record.judged_on, {}).get(record.headline)
    after = record.after.get(record.judged_on, {}).get(record.headline)
    if value is None or after is None or value != value:
        return ""
    whose = "Its teacher" if record.teacher.has_head else "What its teacher's features answer"
    text = f"{whose} has {_article(record)} {spelled(record.headline)} of {value:.3f} on these rows"
    closed = share_closed(record)
    if after >= value:
        return f"{text}, which the student has reached."
    if closed is None or closed <= 0:
        return f"{text}; the student has come no nearer to it."
    return f"{text}; the student has gone {percent(closed, 0)} of the way there from before."


def _article(record: RunRecord) -> str:
    return "an" if spelled(record.headline)[0] in "aeiou" else "a"
