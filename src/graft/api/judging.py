"""What outputs are worth: metrics of every held-out split, intervals where it counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from graft.data.tuples import Tuples
from graft.metrics import per_class, scorer_of
from graft.metrics.intervals import bootstrap_change
from graft.metrics.sampled_pairs import MOST_ALIKE, MOST_UNLIKE, Sample, sample_pairs
from graft.metrics.verification_scores import NAMES, scorer_of_sample, too_few
from graft.records import ClassScores, Interval, PairsRecord
from graft.tasks.labelled import Labelled, Truth

OF_VECTORS = ("embedding", "matching")
"""Rows of the metrics whose outputs are vectors, compared by cosine."""

N_RESAMPLES = 400
"""For metrics of pairs, of which there may be a hundred thousand: three seconds on one core."""


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
        pairs: of that split, those that a threshold on their cosine tells apart.
    """

    before: dict[str, dict[str, float]] = field(default_factory=dict)
    after: dict[str, dict[str, float]] = field(default_factory=dict)
    judged_on: str = ""
    intervals: dict[str, dict[str, Interval]] = field(default_factory=dict)
    per_class: tuple[ClassScores, ...] = ()
    n_near: int = 0
    pairs: PairsRecord | None = None


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
    intervals = bootstrap_change(old[judged_on], new[judged_on])
    pairs = None
    for name in targets:
        asked = asked_pairs(task, targets[name])
        if asked is None:
            continue
        both = [scorer_of_sample(asked, outputs[name]) for outputs in (before, after)]
        for part, scorer in zip((was, now), both, strict=True):
            part[name] |= scorer.scores()
        if name == judged_on:
            pairs = pairs_record(asked)
            for part, found in bootstrap_change(*both, n_resamples=N_RESAMPLES).items():
                intervals[part] |= found
    return Worth(
        was,
        now,
        judged_on,
        intervals,
        classes_of(task, targets[judged_on], after[judged_on]),
        n_near,
        pairs,
    )


def asked_pairs(task: Labelled, targets: Truth) -> Sample | None:
    """Return the pairs that a threshold shall tell apart; None where nothing is compared so."""
    return sample_pairs(targets) if task.metrics in OF_VECTORS else None


def pairs_record(sample: Sample) -> PairsRecord:
    """Say which pairs were asked about, and what they are too few for."""
    n_alike, n_unlike = sample.n_alike, sample.n_unlike
    left_out = too_few(n_unlike) if n_alike and n_unlike else NAMES
    is_sample = n_alike >= MOST_ALIKE or n_unlike >= MOST_UNLIKE
    return PairsRecord(n_alike, n_unlike, sample.unit, left_out, is_sample)


def classes_of(task: Labelled, targets: Truth, outputs: np.ndarray) -> tuple[ClassScores, ...]:
    """Return a row per class of what a model got right; empty where there are no classes."""
    if isinstance(targets, Tuples):
        return ()
    return per_class(task.metrics, targets, outputs, task.classes)
