"""Why a metric is NaN, or a mean over classes leaves some out, in words for the report."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from graft.metrics.classification import check_classes
from graft.metrics.multilabel import check_labels, decide
from graft.metrics.regression import check_values


@dataclass(frozen=True)
class Gap:
    """Hold one thing that the data at hand does not define.

    Args:
        metrics: names of the metrics concerned, or `all`.
        reason: what is missing.
        classes: numbers of the classes, labels or targets concerned, which the mean leaves out (it
            is NaN if none remains); empty if the whole metric is NaN.
    """

    metrics: tuple[str, ...]
    reason: str
    classes: tuple[int, ...] = ()


NO_EXAMPLES = Gap(("all",), "no examples")
NOT_A_NUMBER = Gap(("all",), "a value is NaN")


def gaps(task: str, targets: np.ndarray, outputs: np.ndarray) -> tuple[Gap, ...]:
    """Return what is undefined, empty if everything is defined.

    Args:
        task: a key of `METRICS`.
        targets: labels or targets, as the task's scorer takes them.
        outputs: probabilities or predictions.

    Raises:
        InputError: the shapes do not fit.
        KeyError: the task is not known.
    """
    return {"classification": _of_classes, "multilabel": _of_labels, "regression": _of_values}[
        task
    ](targets, outputs)


def _of_classes(labels: np.ndarray, probabilities: np.ndarray) -> tuple[Gap, ...]:
    labels, probabilities = check_classes(labels, probabilities)
    n_classes = probabilities.shape[1]
    if not len(labels):
        return (NO_EXAMPLES,)
    if np.isnan(probabilities).any():
        return (NOT_A_NUMBER,)
    found = []
    counts = np.bincount(labels, minlength=n_classes)
    chosen = np.bincount(probabilities.argmax(1), minlength=n_classes)
    absent, present = _where(counts == 0), _where(counts > 0)
    if len(present) == 1:
        only = f"all examples are of class {present[0]}"
        found.append(Gap(("auroc",), only))
        if n_classes == 2 and present == (0,):
            found.append(Gap(("average_precision",), only))
    if absent:
        names = ("auroc", "average_precision", "balanced_accuracy")
        found.append(Gap(names, "no examples of the class", absent))
    unseen = _where((counts == 0) & (chosen == 0))
    if unseen:
        found.append(Gap(("macro_f1",), "neither examples nor predictions of the class", unseen))
    return tuple(found)


def _of_labels(labels: np.ndarray, probabilities: np.ndarray) -> tuple[Gap, ...]:
    truth, scores = check_labels(labels, probabilities)
    if not truth.size:
        return (NO_EXAMPLES,)
    if np.isnan(scores).any():
        return (NOT_A_NUMBER,)
    found = []
    none, every = _where(~truth.any(axis=0)), _where(truth.all(axis=0))
    if none:
        names = ("auroc", "mean_average_precision")
        found.append(Gap(names, "no example bears the label", none))
    if every:
        found.append(Gap(("auroc",), "every example bears the label", every))
    unseen = _where(~(truth | decide(scores)).any(axis=0))
    if unseen:
        names = ("micro_f1", "macro_f1") if len(unseen) == truth.shape[1] else ("macro_f1",)
        found.append(Gap(names, "no example bears the label, nor is given it", unseen))
    return tuple(found)


def _of_values(targets: np.ndarray, predictions: np.ndarray) -> tuple[Gap, ...]:
    targets, predictions = check_values(targets, predictions)
    if not len(targets):
        return (NO_EXAMPLES,)
    if np.isnan(targets).any() or np.isnan(predictions).any():
        return (NOT_A_NUMBER,)
    if len(targets) == 1:
        return (Gap(("r2", "pearson", "spearman"), "only one example"),)
    found = []
    flat = _where((targets == targets[0]).all(axis=0))
    if flat:
        found.append(Gap(("r2", "pearson", "spearman"), "the targets are constant", flat))
    flat = _where((predictions == predictions[0]).all(axis=0))
    if flat:
        found.append(Gap(("pearson", "spearman"), "the predictions are constant", flat))
    return tuple(found)


def _where(condition: ArrayLike) -> tuple[int, ...]:
    return tuple(int(c) for c in np.flatnonzero(condition))
