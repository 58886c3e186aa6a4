"""Records and facts of runs of every kind, small, with names that would do harm if they could."""

from __future__ import annotations

import dataclasses

from graft.phase_records import DepthRecord, EpochRecord, GroupRecord
from graft.records import (
    ClassScores,
    FindingRecord,
    Interval,
    PairsRecord,
    ReliabilityBin,
    RememberedRecord,
    TeacherRecord,
)
from graft.report.facts import (
    Centre,
    ClassCount,
    Confused,
    Facts,
    FeatureMap,
    Link,
    MapSide,
    Mistake,
    Region,
)
from graft.report.facts_embedding import (
    ClassFound,
    CosineCounts,
    EmbeddingFacts,
    Item,
    Neighbour,
    Operating,
    Query,
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


def taught(names=HOSTILE):
    """Return a student of a teacher, asked after each epoch what it remembers."""
    record, facts = classify(names)
    record = dataclasses.replace(
        record,
        phases=tuple(
            dataclasses.replace(
                phase,
                epochs=tuple(
                    dataclasses.replace(epoch, remembered=0.8 - 0.1 * epoch.epoch)
                    for epoch in phase.epochs
                ),
            )
            for phase in record.phases
        ),
        teacher=TeacherRecord(
            names[0], "logits", 0.5, 4.0, True, {"test": {"accuracy": 0.95}}, n_unlabelled=20
        ),
        remembered=RememberedRecord(names[1], "accuracy", 90, "a probe", 0.9, 0.7, 0.85),
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


def embed():
    """Return the record and the facts of an embedding of labelled items."""
    record, facts = classify()
    names = ("mrr", "recall_at_1")
    found = {name: Interval(0.7, 0.6, 0.8) for name in names}
    epochs = tuple(EpochRecord(i, 1.0, 0.9, 1.0, {"mrr": 0.6 + 0.05 * i}) for i in range(2))
    record = dataclasses.replace(
        record,
        task="embed",
        headline="mrr",
        per_class=(),
        depths=(),
        phases=(dataclasses.replace(record.phases[1], epochs=epochs),),
        before={"test": dict.fromkeys(names, 0.5), "validation": {"mrr": 0.55}},
        after={"test": dict.fromkeys(names, 0.7), "validation": {"mrr": 0.65}},
        intervals={"before": found, "after": found, "change": found},
        pairs=PairsRecord(80, 100, "items", ("tar_at_far_1e2", "tar_at_far_1e3")),
    )
    spread = Region(HOSTILE[0], (0.0, 1.0, 0.5), (0.0, 0.0, 1.0))
    lying = FeatureMap(
        4,
        (HOSTILE[0], HOSTILE[1], HOSTILE[0], ""),
        (),
        (False,) * 4,
        after=dataclasses.replace(side(HOSTILE[:2]), regions=(), spreads=(spread,)),
        before=dataclasses.replace(side(HOSTILE[:2]), regions=(), spreads=(spread,)),
    )
    sides = [MapSide(s.x, s.y, 0.0) for s in (lying.before, lying.after)]
    curve = (
        Operating(0.01, 0.0, float("inf")),
        Operating(0.1, 0.5, 0.7),
        Operating(1.0, 1.0, 0.05),
    )
    counts = CosineCounts(0.0, 1.0, (0, 30, 50), (40, 60, 0), 0.6, 0.85, curve)
    items = (
        Item("a.csv row 1", HOSTILE[0], f"a text {HOSTILE[3]}"),
        Item("b.jpg", HOSTILE[1], picture=PICTURE),
        Item("a.csv row 3", HOSTILE[0], "a text that is near"),
    )
    near = (Neighbour(2, 0.91, True), Neighbour(1, 0.4, False))
    return record, Facts(
        "text",
        facts.counts,
        map=lying,
        near_map=dataclasses.replace(lying, before=sides[0], after=sides[1]),
        embedding=EmbeddingFacts(
            "labels",
            10,
            items,
            (Query(0, "better", near[::-1], near), Query(1, "worse", (), (Neighbour(0, 0.2),))),
            counts,
            counts,
            "the highest balanced accuracy on these same pairs",
            classes=(
                ClassFound(HOSTILE[0], 6, (0.5, 0.9), (0.7, 0.9), (0.6, 0.2)),
                ClassFound(HOSTILE[1], 4, (0.5, 0.25), (0.7, 0.8), (0.6, 0.3), HOSTILE[0]),
                ClassFound(HOSTILE[2], 1, (float("nan"),) * 2, (1.0, 1.0), (0.6, 0.3)),
            ),
        ),
    )


def matched():
    """Return the record and the facts of two towers: pictures, and their captions."""
    record, facts = embed()
    names = ("image_to_text_recall_at_10", "text_to_image_recall_at_10")
    found = {name: Interval(0.7, 0.6, 0.8) for name in names}
    epochs = tuple(
        EpochRecord(i, 1.0, 0.9, 1.0, dict.fromkeys(names, 0.6 + 0.05 * i)) for i in range(2)
    )
    record = dataclasses.replace(
        record,
        task="match",
        headline=names[0],
        classes=(),
        phases=(dataclasses.replace(record.phases[0], epochs=epochs, convex=None),),
        before={"test": dict.fromkeys(names, 0.1), "validation": dict.fromkeys(names, 0.1)},
        after={"test": dict.fromkeys(names, 0.7), "validation": dict.fromkeys(names, 0.65)},
        intervals={"before": found, "after": found, "change": found},
        pairs=PairsRecord(80, 100, "groups"),
    )
    assert facts.embedding is not None and facts.map is not None
    items = (Item("b.jpg", picture=PICTURE), Item("c.jsonl row 1", text=f"a text {HOSTILE[3]}"))
    there, back = (Neighbour(1, 0.91, True),), (Neighbour(0, 0.91, True),)
    queries = (Query(0, "better", there, there), Query(1, "drawn", back, back))
    towers = dataclasses.replace(
        facts.embedding, kind="match", items=items, queries=queries, classes=()
    )
    sides = dataclasses.replace(
        facts.map,
        groups=("pictures", "captions") * 2,
        after=dataclasses.replace(side(("captions", "pictures")), regions=()),
        before=dataclasses.replace(side(("captions", "pictures")), regions=()),
        links=(Link(0, 1, True),),
    )
    return record, dataclasses.replace(
        facts,
        modality="image-text",
        counts=(ClassCount("examples", 20, 5, 10),),
        embedding=towers,
        map=sides,
        near_map=None,
    )


def scored():
    """Return the record and the facts of an embedding of scored pairs, without a second map."""
    record, facts = embed()
    found = {name: Interval(0.7, 0.6, 0.8) for name in ("spearman", "pearson")}
    record = dataclasses.replace(
        record,
        headline="spearman",
        pairs=None,
        classes=(),
        before={"test": {"spearman": 0.5, "pearson": 0.5}},
        after={"test": {"spearman": 0.7, "pearson": 0.7}},
        intervals={"before": found, "after": found, "change": found},
    )
    assert facts.embedding is not None and facts.map is not None
    bare = dataclasses.replace(facts.map, groups=("",) * 4)
    pairs = dataclasses.replace(
        facts.embedding,
        kind="scores",
        before=None,
        after=None,
        threshold_from="",
        classes=(),
        scores=(0.0, 2.5, 5.0),
        cosines_before=(0.5, 0.4, 0.6),
        cosines_after=(0.1, 0.5, float("nan")),
        items=tuple(dataclasses.replace(item, label="") for item in facts.embedding.items),
        queries=(Query(0, "drawn", (Neighbour(2, 0.9, None, 4.5),), (Neighbour(2, 0.9),)),),
    )
    return record, dataclasses.replace(
        facts,
        counts=(ClassCount("0 to 2.5", 5, 1, 2), ClassCount("2.5 to 5", 6, 2, 3)),
        map=dataclasses.replace(
            bare,
            after=side(()),
            before=side(()),
            links=(Link(0, 1, True), Link(2, 3, False)),
        ),
        near_map=None,
        near_map_note="a second map needs graft[report]",
        embedding=pairs,
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
    "taught": taught,
    "multilabel": multilabel,
    "regress": regress,
    "many classes": long_training,
    "embed": embed,
    "scored": scored,
    "matched": matched,
}
