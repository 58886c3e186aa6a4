"""What outputs are worth: metrics of every held-out split, intervals where it counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from graft.data.tuples import Tuples
from graft.metrics import per_class, scorer_of
from graft.metrics.intervals import bootstrap_change
from graft.records import ClassScores, Interval
from graft.tasks.labelled import Labelled, Truth


@dataclass(frozen=True)
class Worth:
    """Hold what a trained model is worth beside the untouched backbone.

    Args:
        before: metrics of the untouched backbone by split.
        after: metrics of the trained model by split, and `test clean` as `RunRecord` has it.
        judged_on: the split that counts, test or else validation; empty where none is held out.
        intervals: of that split, `before`, `after` and `change` by metric.
        per_class: of that split, of the trained model.
        n_near: rows of that split that repeat a row of an earlier part.
    """

    before: dict[str, dict[str, float]] = field(default_factory=dict)
    after: dict[str, dict[str, float]] = field(default_factory=dict)
    judged_on: str = ""
    intervals: dict[str, dict[str, Interval]] = field(default_factory=dict)
    per_class: tuple[ClassScores, ...] = ()
    n_near: int = 0


def judge(
    task: Labelled,
    targets: Mapping[str, Truth],
    before: Mapping[str, np.ndarray],
    after: Mapping[str, np.ndarray],
    near: Mapping[str, np.ndarray] | None = None,
) -> Worth:
    """Score two sets of outputs by held-out split.

    Args:
        task: names the metrics.
        targets: by split, what the outputs are compared with.
        before: by split, outputs of the untouched backbone.
        after: by split, outputs of the trained model.
        near: by split, (N,) whether a row repeats one of an earlier part, exactly or nearly.
    """
    score = scorer_of(task.metrics)
    old = {name: score(targets[name], before[name]) for name in targets}
    new = {name: score(targets[name], after[name]) for name in targets}
    judged_on = next((name for name in ("test", "validation") if name in targets), "")
    if not judged_on:
        return Worth()
    was, now = ({name: s.scores() for name, s in scorers.items()} for scorers in (old, new))
    is_near = None if near is None else near[judged_on]
    n_near = 0 if is_near is None else int(is_near.sum())
    if is_near is not None and 0 < n_near < len(is_near):
        for scores, outputs in zip((was, now), (before, after), strict=True):
            kept = targets[judged_on][~is_near], outputs[judged_on][~is_near]  # type: ignore[index]
            scores[f"{judged_on} clean"] = score(*kept).scores()
    return Worth(
        was,
        now,
        judged_on,
        bootstrap_change(old[judged_on], new[judged_on]),
        classes_of(task, targets[judged_on], after[judged_on]),
        n_near,
    )


def classes_of(task: Labelled, targets: Truth, outputs: np.ndarray) -> tuple[ClassScores, ...]:
    """Return a row per class of what a model got right; empty where there are no classes."""
    if isinstance(targets, Tuples):
        return ()
    return per_class(task.metrics, targets, outputs, task.classes)
