"""Why a metric is NaN, or a mean over classes leaves some out, in words for the report."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graft.metrics.classification import check_classes
from graft.metrics.multilabel import check_labels
from graft.metrics.regression import check_values


@dataclass(frozen=True)
class Gap:
    """Hold one thing that the data at hand does not define.

    Args:
        metrics: names of the metrics concerned.
        reason: what is missing.
        classes: numbers of the classes, labels or targets concerned, which means leave out; empty
            if the whole metric is NaN.
    """

    metrics: tuple[str, ...]
    reason: str
    classes: tuple[int, ...] = ()


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
        return (Gap(("all",), "no examples"),)
    counts = np.bincount(labels, minlength=n_classes)
    found = _not_a_number(probabilities, ("all but counts of decisions",))
    absent, present = _where(counts == 0), _where(counts > 0)
    if len(present) == 1:
        only = f"all examples are of class {present[0]}"
        found.append(Gap(("auroc",), only))
        if n_classes == 2 and present == (0,):
            found.append(Gap(("average_precision",), only))
    elif absent:
        names = ("auroc", "average_precision", "balanced_accuracy")
        found.append(Gap(names, "no examples of the class", absent))
    return tuple(found)


def _of_labels(labels: np.ndarray, probabilities: np.ndarray) -> tuple[Gap, ...]:
    truth, scores = check_labels(labels, probabilities)
    if not truth.size:
        return (Gap(("all",), "no examples"),)
    found = _not_a_number(scores, ("auroc", "mean_average_precision"))
    none, every = _where(~truth.any(axis=0)), _where(truth.all(axis=0))
    if none:
        names = ("auroc", "mean_average_precision")
        found.append(Gap(names, "no example bears the label", none))
    if every:
        found.append(Gap(("auroc",), "every example bears the label", every))
    return tuple(found)


def _of_values(targets: np.ndarray, predictions: np.ndarray) -> tuple[Gap, ...]:
    targets, predictions = check_values(targets, predictions)
    if not len(targets):
        return (Gap(("all",), "no examples"),)
    if len(targets) == 1:
        return (Gap(("r2", "pearson", "spearman"), "only one example"),)
    found = _not_a_number(np.concatenate([targets, predictions]), ("all",))
    flat = _where((targets == targets[0]).all(axis=0))
    if flat:
        found.append(Gap(("r2", "pearson", "spearman"), "the targets are constant", flat))
    flat = _where((predictions == predictions[0]).all(axis=0))
    if flat:
        found.append(Gap(("pearson", "spearman"), "the predictions are constant", flat))
    return tuple(found)


def _not_a_number(values: np.ndarray, metrics: tuple[str, ...]) -> list[Gap]:
    columns = _where(np.isnan(values).any(axis=0))
    return [Gap(metrics, "a value is NaN", columns)] if columns else []


def _where(condition: np.ndarray) -> tuple[int, ...]:
    return tuple(int(c) for c in np.flatnonzero(condition))
