"""Records and facts of runs of every kind, small, with names that would do harm if they could."""

from __future__ import annotations

import dataclasses

from graft.records import (
    ClassScores,
    DepthRecord,
    EpochRecord,
    FindingRecord,
    GroupRecord,
    Interval,
    ReliabilityBin,
)
from graft.report.facts import (
    Centre,
    ClassCount,
    Confused,
    Facts,
    FeatureMap,
    MapSide,
    Mistake,
    Region,
)
from tests.report.test_card import RECORD

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "javascript:alert(3)",
    "</script><svg onload=alert(4)>",
    "{{7*7}} ${alert(5)} ]]> <!--",
)
PICTURE = "data:image/jpeg;base64,/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAEBAQ=="
GROUPS = (GroupRecord("head", 0.001, 2, 5), GroupRecord("everything", None, 20, 5))


def scores_of(names):
    return tuple(ClassScores(name, 10, 0.8, 0.7, 0.7, 0.9, 0.9) for name in names)


def side(names, n=4):
    x = tuple(float(i) for i in range(n))
    return MapSide(
        x,
        x[::-1],
        0.4,
        tuple(Centre(name, 1.0, float(i)) for i, name in enumerate(names)),
        tuple(Region(name, (0.0, 1.0, 1.0), (0.0, 0.0, 1.0)) for name in names),
        0.75,
    )


def classify(names=HOSTILE):
    """Return the record and the facts of a classifier."""
    two = (EpochRecord(0, 0.4, 0.5, 1.0), EpochRecord(1, 0.3, 0.45, 1.0))
    phases = tuple(
        dataclasses.replace(phase, groups=GROUPS, epochs=two if phase.epochs else ())
        for phase in RECORD.phases
    )
    record = dataclasses.replace(
        RECORD,
        classes=tuple(names),
        model=names[0],
        phases=phases,
        per_class=scores_of(names),
        notes=(f"a note on {names[1]}",),
        findings=(FindingRecord("odd", "warn", names[0], f"{names[1]}.csv", 3, names[2]),),
        environment={"torch": names[-1]},
        depths=(
            DepthRecord("block 0", 8, 0.7, 0.5, 0.1, True),
            DepthRecord("features", 8, 0.6, 0.6, 0.1),
        ),
    )
    n = len(names)
    cells = [Confused(c, c, 8) for c in range(n)] + [Confused(c, (c + 1) % n, 2) for c in range(n)]
    facts = Facts(
        "text",
        tuple(ClassCount(name, 30, 5, 10) for name in names),
        confused=tuple(cells),
        calibration=(
            ReliabilityBin(0.5, 0.75, 4, 0.6, 0.5),
            ReliabilityBin(0.75, 0.9, 0, float("nan"), float("nan")),
            ReliabilityBin(0.9, 1.0, 46, 0.95, 0.9),
        ),
        mistakes=(
            Mistake(f"{names[0]}.csv row 3", names[0], names[1], 0.97, text=f"a text {HOSTILE[3]}"),
            Mistake("a.jpg", names[1], names[2], 0.9, picture=PICTURE),
        ),
        map=FeatureMap(
            4,
            (names[0], names[1], names[0], ""),
            (),
            (False, True, False, False),
            after=side(names[:2]),
            before=side(names[:2]),
        ),
    )
    return record, facts


def multilabel():
    """Return the record and the facts of a classifier for several labels."""
    record, facts = classify()
    moved = {"micro_f1": Interval(0.7, 0.6, 0.8)}
    record = dataclasses.replace(
        record,
        task="multilabel",
        headline="micro_f1",
        before={"test": {"micro_f1": 0.5}},
        after={"test": {"micro_f1": 0.7}},
        intervals={"before": moved, "after": moved, "change": moved},
    )
    mistake = dataclasses.replace(facts.mistakes[0], decision=f"+{HOSTILE[1]}")
    return record, dataclasses.replace(facts, confused=(), mistakes=(mistake,))


def regress():
    """Return the record and the facts of a model that predicts a number."""
    record, _ = classify()
    names = ("mae", "r2", "pearson")
    found = {name: Interval(0.7, 0.6, 0.8) for name in names}
    record = dataclasses.replace(
        record,
        task="regress",
        headline="r2",
        classes=(HOSTILE[0],),
        per_class=(),
        before={"test": dict.fromkeys(names, 0.5)},
        after={"test": dict.fromkeys(names, 0.7)},
        intervals={"before": found, "after": found, "change": found},
    )
    return record, Facts(
        "text",
        (ClassCount("0 to 1", 5, 1, 2), ClassCount("1 to 2", 6, 2, 3)),
        mistakes=(Mistake("a.csv row 1", "1.5", "0.2", 1.3, text=HOSTILE[0]),),
        truths=(0.0, 1.0, 2.0),
        predictions=(0.1, 1.2, 1.4),
        map=FeatureMap(3, ("", "", ""), (0.0, 1.0, 2.0), (False,) * 3, after=side((), 3)),
    )


def long_training():
    """Return a record with several phases by gradient."""
    record, facts = classify(tuple(f"class {i}" for i in range(30)))
    epochs = tuple(EpochRecord(i, 1 / (i + 1), 0.8 + 0.01 * i, 1.0) for i in range(4))
    phases = tuple(
        dataclasses.replace(record.phases[1], name=name, epochs=epochs, best_epoch=1)
        for name in ("block 2", "block 1")
    )
    return dataclasses.replace(record, phases=phases, depths=()), facts


KINDS = {
    "classify": classify,
    "multilabel": multilabel,
    "regress": regress,
    "many classes": long_training,
}
