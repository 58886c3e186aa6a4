"""What the report shows of a finished training, collected while data and model are at hand.

    held-out rows, answers, features ─collect→ Facts ─→ report.json ─graft.report→ report.html

Shapes: M held-out rows, K of them in the map, C classes, D feature width.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from graft.api.mapping import MOST_COLOURS
from graft.api.picturing_embedding import picture_embeddings
from graft.api.showing import Judged, feature_map, place_of, small_picture, text_of
from graft.data.split import Splits
from graft.data.table import Table
from graft.metrics.calibration import reliability_table
from graft.metrics.classification import confusion
from graft.metrics.multilabel import decide
from graft.report.facts import ClassCount, Confused, Facts, Mistake
from graft.tasks.labelled import Labelled, labels_of

MOST_MISTAKES = 12
MOST_POINTS = 2_000
N_BINS = 24


def collect(task: Labelled, table: Table, splits: Splits, judged: Judged | None) -> Facts:
    """Return what the page shows beside the record.

    Args:
        judged: None where no row is held out.
    """
    counts = _counts(table, splits)
    if judged is None:
        return Facts(table.roles.modality, counts)
    return SHOWN[task.metrics](task, table, judged, counts)


def _classes(task: Labelled, table: Table, judged: Judged, counts: tuple[ClassCount, ...]) -> Facts:
    truth, scores = judged.targets, judged.outputs
    predicted = scores.argmax(1)
    matrix = confusion(truth, predicted, len(task.classes))
    wrong = np.flatnonzero(predicted != truth)
    surest = wrong[np.argsort(-scores[wrong].max(1), kind="stable")][:MOST_MISTAKES]
    mistakes = tuple(
        _mistake(
            table,
            int(judged.rows[i]),
            task.classes[truth[i]],
            task.classes[predicted[i]],
            float(scores[i].max()),
        )
        for i in surest.tolist()
    )
    n_wrong = matrix.sum(1) - matrix.diagonal() + matrix.sum(0) - matrix.diagonal()
    groups = [task.classes[c] for c in truth[judged.drawn]]
    coloured = {task.classes[c] for c in np.argsort(-n_wrong, kind="stable")[:MOST_COLOURS]}
    return Facts(
        table.roles.modality,
        counts,
        confused=tuple(
            Confused(int(t), int(p), int(matrix[t, p])) for t, p in np.argwhere(matrix).tolist()
        ),
        calibration=reliability_table(truth, scores),
        mistakes=mistakes,
        map=feature_map(
            judged,
            [name if name in coloured else "" for name in groups],
            wrong=(predicted != truth)[judged.drawn],
            is_divided=True,
        ),
    )


def _labels(task: Labelled, table: Table, judged: Judged, counts: tuple[ClassCount, ...]) -> Facts:
    truth, scores = judged.targets.astype(bool), judged.outputs
    holds = decide(scores).astype(bool)
    wrong = holds != truth
    sureness = np.where(wrong, np.maximum(scores, 1 - scores), -1.0)
    order = np.argsort(-sureness.max(1), kind="stable")
    surest = [i for i in order.tolist() if wrong[i].any()][:MOST_MISTAKES]
    mistakes = []
    for i in surest:
        label = int(sureness[i].argmax())
        mistakes.append(
            _mistake(
                table,
                int(judged.rows[i]),
                _joined(labels_of(truth[i], task.classes)),
                _joined(labels_of(holds[i], task.classes)),
                float(sureness[i, label]),
                decision=("+" if holds[i, label] else "-") + task.classes[label],
            )
        )
    by_count = np.argsort(-truth.sum(0), kind="stable")[:MOST_COLOURS]
    groups = [_rarest(row, by_count, task.classes) for row in truth[judged.drawn]]
    flat = scores.reshape(-1)
    return Facts(
        table.roles.modality,
        counts,
        calibration=reliability_table(
            truth.reshape(-1).astype(np.int64), np.stack([1 - flat, flat], axis=1)
        ),
        mistakes=tuple(mistakes),
        map=feature_map(judged, groups, wrong=wrong.any(1)[judged.drawn]),
    )


def _numbers(task: Labelled, table: Table, judged: Judged, counts: tuple[ClassCount, ...]) -> Facts:
    del task
    truth, found = judged.targets.astype(np.float64), judged.outputs.astype(np.float64)
    error = np.abs(found - truth)
    furthest = np.argsort(-error, kind="stable")[:MOST_MISTAKES]
    drawn = np.unique(np.linspace(0, len(truth) - 1, min(len(truth), MOST_POINTS)).astype(int))
    return Facts(
        table.roles.modality,
        counts,
        mistakes=tuple(
            _mistake(
                table,
                int(judged.rows[i]),
                f"{truth[i]:.6g}",
                f"{found[i]:.6g}",
                float(error[i]),
            )
            for i in furthest.tolist()
        ),
        truths=tuple(truth[drawn].tolist()),
        predictions=tuple(found[drawn].tolist()),
        map=feature_map(
            judged,
            [""] * len(judged.drawn),
            wrong=np.zeros(len(judged.drawn), bool),
            values=truth[judged.drawn],
        ),
    )


SHOWN: dict[str, Callable[[Labelled, Table, Judged, tuple[ClassCount, ...]], Facts]] = {
    "classification": _classes,
    "multilabel": _labels,
    "regression": _numbers,
    "embedding": picture_embeddings,
    "matching": picture_embeddings,
}
"""A task's row of the metrics → what is shown of it."""


def _counts(table: Table, splits: Splits) -> tuple[ClassCount, ...]:
    parts = (splits.train, splits.validation, splits.test)
    if table.roles.label is None:
        return (ClassCount("examples", *map(len, parts)),)
    if table.target_kind == "number":
        numbers = table.numbers()
        assert numbers is not None
        edges = np.histogram_bin_edges(numbers, bins=min(N_BINS, len(np.unique(numbers))))
        tallies = [np.histogram(numbers[rows], edges)[0].tolist() for rows in parts]
        names = [f"{a:.4g} to {b:.4g}" for a, b in pairwise(edges)]
        return tuple(ClassCount(n, *c) for n, *c in zip(names, *tallies, strict=True))
    lists = table.label_lists() or []
    found = [Counter(label for i in rows.tolist() for label in lists[i] or ()) for rows in parts]
    names = sorted(set().union(*found))
    return tuple(ClassCount(name, *(counter[name] for counter in found)) for name in names)


def _mistake(
    table: Table,
    row: int,
    truth: str,
    predicted: str,
    confidence: float,
    decision: str = "",
) -> Mistake:
    value = table.inputs()[row]
    is_picture = table.roles.modality == "image"
    return Mistake(
        place=place_of(table, row),
        truth=truth,
        predicted=predicted,
        confidence=confidence,
        text="" if is_picture else text_of(value),
        picture=small_picture(value) if is_picture else "",
        decision=decision,
    )


def _joined(labels: Sequence[str]) -> str:
    return "; ".join(labels) or "no label"


def _rarest(row: np.ndarray, by_count: np.ndarray, classes: Sequence[str]) -> str:
    """Return of the labels that have a colour the rarest that holds, the one that says most."""
    return next((classes[c] for c in by_count[::-1] if row[c]), "")
