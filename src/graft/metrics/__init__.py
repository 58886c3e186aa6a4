"""Metrics: plain functions of arrays, checked against scikit-learn and scipy in the tests.

    labels, outputs ─scorer→ Scorer ─scores→ name → value
                               └─bootstrap→ name → Interval (value, low, high)

Conventions: N examples, C classes or labels, R resamples. A metric is written once, for rows with
weights (R, N): weights of one give the value itself, the counts of a resample give one bootstrap
replicate, so intervals cost no second implementation. A function takes what its parameters name:

- `labels` (N,) class numbers, or (N, C) zeros and ones where an example may have several;
- `predicted` (N,) class numbers, or (N, C) zeros and ones; `probabilities` like its labels' task;
- `targets`, `predictions` (N,) or (N, T) real numbers;
- `n_classes` C.

What is not defined on the data at hand is NaN, without a warning; `undefined.gaps` says why.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from graft.errors import UnknownName

if TYPE_CHECKING:
    import numpy as np

    from graft.metrics.scorer import Scorer
    from graft.records import ClassScores

_PAIRS = "graft.metrics.verification_scores:verification_scorer"
VERIFICATION: dict[str, tuple[str, str, bool]] = {
    "auroc": (_PAIRS, "chance that a pair that belongs together is nearer than another", True),
    "equal_error_rate": (_PAIRS, "share of either kind of pairs told wrong, where equal", False),
    "tar_at_far_1e2": (_PAIRS, "share of belonging pairs accepted as 1 % of others are", True),
    "tar_at_far_1e3": (_PAIRS, "share of belonging pairs accepted as 0.1 % of others are", True),
}
"""What tells pairs that belong together from others, by a threshold on their cosine."""

METRICS: dict[str, dict[str, tuple[str, str, bool]]] = {
    "classification": {
        "accuracy": (
            "graft.metrics.classification:accuracy",
            "share of examples that are right",
            True,
        ),
        "balanced_accuracy": (
            "graft.metrics.classification:balanced_accuracy",
            "mean recall over the classes that occur",
            True,
        ),
        "macro_f1": (
            "graft.metrics.classification:macro_f1",
            "mean F1 over the classes",
            True,
        ),
        "micro_f1": (
            "graft.metrics.classification:micro_f1",
            "F1 of all decisions pooled; equals accuracy where each example has one label",
            True,
        ),
        "auroc": (
            "graft.metrics.ranking:auroc",
            "chance that a member of the class outranks a non-member; mean over classes",
            True,
        ),
        "average_precision": (
            "graft.metrics.ranking:average_precision",
            "area under precision by recall, as a step function; mean over classes",
            True,
        ),
        "log_loss": (
            "graft.metrics.classification:log_loss",
            "mean negative log-probability of the true class",
            False,
        ),
        "brier_score": (
            "graft.metrics.calibration:brier_score",
            "mean squared error of the probabilities",
            False,
        ),
        "expected_calibration_error": (
            "graft.metrics.calibration:expected_calibration_error",
            "mean distance of confidence from accuracy, over bins of confidence",
            False,
        ),
    },
    "multilabel": {
        "micro_f1": (
            "graft.metrics.multilabel:micro_f1",
            "F1 of all decisions pooled",
            True,
        ),
        "macro_f1": (
            "graft.metrics.multilabel:macro_f1",
            "mean F1 over the labels",
            True,
        ),
        "subset_accuracy": (
            "graft.metrics.multilabel:subset_accuracy",
            "share of examples whose labels are all right",
            True,
        ),
        "hamming_loss": (
            "graft.metrics.multilabel:hamming_loss",
            "share of single decisions that are wrong",
            False,
        ),
        "auroc": (
            "graft.metrics.multilabel:auroc",
            "chance that a bearer of the label outranks a non-bearer; mean over labels",
            True,
        ),
        "mean_average_precision": (
            "graft.metrics.multilabel:mean_average_precision",
            "average precision, mean over labels",
            True,
        ),
        "label_ranking_average_precision": (
            "graft.metrics.multilabel:label_ranking_average_precision",
            "share of true labels among those ranked as high, mean over true labels and examples",
            True,
        ),
    },
    "regression": {
        "mae": ("graft.metrics.regression:mae", "mean absolute error", False),
        "rmse": ("graft.metrics.regression:rmse", "root of the mean squared error", False),
        "r2": ("graft.metrics.regression:r2", "share of the variance that is explained", True),
        "pearson": ("graft.metrics.regression:pearson", "linear correlation", True),
        "spearman": ("graft.metrics.regression:spearman", "correlation of the ranks", True),
    },
    "embedding": {
        "triplet_accuracy": (
            "graft.metrics.embedding:triplet_accuracy",
            "share of triplets whose positive is nearer than the negative",
            True,
        ),
        "recall_at_1": (
            "graft.metrics.embedding:recall_at_1",
            "share of queries whose nearest item is one of theirs",
            True,
        ),
        "recall_at_10": (
            "graft.metrics.embedding:recall_at_10",
            "share of queries that have one of theirs among the ten nearest",
            True,
        ),
        "map_at_r": (
            "graft.metrics.embedding:map_at_r",
            "precision at each of theirs among the R nearest, mean; R is how many they have",
            True,
        ),
        "mrr": (
            "graft.metrics.embedding:mrr",
            "one over the rank of the first of theirs, mean",
            True,
        ),
        "ndcg_at_10": (
            "graft.metrics.embedding:ndcg_at_10",
            "discounted gain of the ten nearest, over the best possible",
            True,
        ),
        "spearman": (
            "graft.metrics.embedding:spearman",
            "rank correlation of cosine and score",
            True,
        ),
        "pearson": (
            "graft.metrics.embedding:pearson",
            "correlation of cosine and score",
            True,
        ),
        "average_precision": (
            "graft.metrics.embedding:average_precision",
            "area under precision by recall of pairs, by their cosine",
            True,
        ),
        **VERIFICATION,
    },
    "matching": {
        "image_to_text_recall_at_1": (
            "graft.metrics.matching:matching_scorer",
            "share of pictures whose nearest is a caption of theirs",
            True,
        ),
        "image_to_text_recall_at_5": (
            "graft.metrics.matching:matching_scorer",
            "share of pictures whose five nearest hold a caption of theirs",
            True,
        ),
        "image_to_text_recall_at_10": (
            "graft.metrics.matching:matching_scorer",
            "share of pictures whose ten nearest hold a caption of theirs",
            True,
        ),
        "image_to_text_mrr": (
            "graft.metrics.matching:matching_scorer",
            "one over the rank of the first caption of a picture, mean",
            True,
        ),
        "text_to_image_recall_at_1": (
            "graft.metrics.matching:matching_scorer",
            "share of captions whose nearest is their picture",
            True,
        ),
        "text_to_image_recall_at_5": (
            "graft.metrics.matching:matching_scorer",
            "share of captions whose five nearest hold their picture",
            True,
        ),
        "text_to_image_recall_at_10": (
            "graft.metrics.matching:matching_scorer",
            "share of captions whose ten nearest hold their picture",
            True,
        ),
        "text_to_image_mrr": (
            "graft.metrics.matching:matching_scorer",
            "one over the rank of a caption's picture, mean",
            True,
        ),
        **VERIFICATION,
    },
}
"""task → name → (where the function is, one-line summary, whether higher is better).

Which metrics an embedding has depends on what is known: who belongs to whom, or a score.
"""

SCORERS: dict[str, str] = {
    "classification": "graft.metrics.classification:classification_scorer",
    "multilabel": "graft.metrics.multilabel:multilabel_scorer",
    "regression": "graft.metrics.regression:regression_scorer",
    "embedding": "graft.metrics.embedding:embedding_scorer",
    "matching": "graft.metrics.matching:matching_scorer",
}
"""task → where the function is that prepares all its metrics at once."""

PER_CLASS: dict[str, str] = {
    "classification": "graft.metrics.class_scores:class_scores",
    "multilabel": "graft.metrics.class_scores:label_scores",
}
"""task → where the function is that looks at each class alone."""


def find_metric(task: str, name: str) -> Callable[..., float]:
    """Return the function of a metric.

    Raises:
        UnknownName: no task, or no metric of the task, has that name.
    """
    if task not in METRICS:
        raise UnknownName("task", task, METRICS)
    if name not in METRICS[task]:
        raise UnknownName(f"{task} metric", name, METRICS[task])
    return _named(METRICS[task][name][0])


def scorer_of(task: str) -> Callable[..., Scorer]:
    """Return the function that prepares all metrics of a task: of targets and outputs a Scorer.

    Raises:
        UnknownName: no task has that name.
    """
    if task not in SCORERS:
        raise UnknownName("task", task, SCORERS)
    return _named(SCORERS[task])


def per_class(
    task: str, targets: np.ndarray, outputs: np.ndarray, names: Sequence[str]
) -> tuple[ClassScores, ...]:
    """Return a row per class of what a model got right; empty where there are no classes.

    Args:
        task: a name in `METRICS`.
        targets: (N,) class numbers or (N, C) zeros and ones.
        outputs: (N, C) probabilities.
        names: C names.
    """
    if task not in PER_CLASS:
        return ()
    return _named(PER_CLASS[task])(targets, outputs, names=names)


def is_better(task: str, metric: str, value: float, other: float) -> bool:
    """Tell whether one value of a metric is better than another; NaN is no better and no worse."""
    return value > other if METRICS[task][metric][2] else value < other


def _named(place: str) -> Callable[..., Any]:
    module, function = place.split(":")
    return getattr(importlib.import_module(module), function)
