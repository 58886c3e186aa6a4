"""Metrics where an example may have several labels, or none.

Shapes: N examples, C labels; labels and decisions (N, C) are zeros and ones, probabilities (N, C).
A label is decided for where its probability is at least 0.5.
"""

from __future__ import annotations

import numpy as np

from graft.errors import InputError
from graft.metrics import METRICS
from graft.metrics.ranking import rank_columns, weigh_macro
from graft.metrics.scorer import Scorer, ratio, undefined_scorer
from graft.metrics.tallies import Tallies, tally_labels

THRESHOLD = 0.5


def decide(probabilities: np.ndarray) -> np.ndarray:
    """Return decisions (N, C), boolean."""
    return np.asarray(probabilities) >= THRESHOLD


def micro_f1(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Return the F1 of all decisions pooled; NaN if nothing is labelled or decided for."""
    return float(_tally(labels, predicted).micro_f1()[0])


def macro_f1(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Return the mean F1 over the labels that occur or are decided for.

    scikit-learn counts the other labels as 0, or leaves them out under `zero_division=nan` as here.
    """
    return float(_tally(labels, predicted).macro_f1()[0])


def subset_accuracy(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Return the share of examples whose labels are all right; NaN without examples."""
    right = (_boolean(labels) == _boolean(predicted)).all(axis=1)
    return float(ratio(right.sum(), np.asarray(len(right))))


def hamming_loss(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Return the share of single decisions that are wrong; NaN without examples."""
    wrong = _boolean(labels) != _boolean(predicted)
    return float(ratio(wrong.sum(), np.asarray(wrong.size)))


def auroc(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the area under the ROC curve, the mean over labels.

    Labels that all examples bear, or none, are left out; NaN if none remains.
    """
    rankings = rank_columns(_boolean(labels), np.asarray(probabilities))
    return float(weigh_macro(rankings, np.ones((1, len(labels)))).auroc[0])


def mean_average_precision(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the average precision, the mean over labels.

    Labels that no example bears are left out; NaN if none remains.
    """
    rankings = rank_columns(_boolean(labels), np.asarray(probabilities))
    return float(weigh_macro(rankings, np.ones((1, len(labels)))).average_precision[0])


def label_ranking_average_precision(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the mean over examples, and their true labels, of precision down to that label.

    For label y of example i it is the share of true labels among all labels whose probability is
    at least that of y. Examples that bear no label, or all, count 1, as nothing can be misranked.

    Returns:
        0 to 1; NaN without examples, or if a probability is NaN.

    Source: G. Tsoumakas, I. Katakis, I. Vlahavas, Mining Multi-label Data (2010).
    """
    terms = row_precisions(_boolean(labels), np.asarray(probabilities))
    return float(ratio(terms.sum(), np.asarray(len(terms))))


def row_precisions(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return the terms (N,) whose mean is the label-ranking average precision."""
    n_labels = labels.shape[1]
    order = np.argsort(-probabilities, axis=1, kind="stable")
    scores = np.take_along_axis(probabilities, order, axis=1)
    truth = np.take_along_axis(labels, order, axis=1)
    # Of labels that tie, each counts as ranked where the last of them stands.
    last = np.ones(labels.shape, dtype=bool)
    last[:, :-1] = scores[:, :-1] != scores[:, 1:]
    place = np.where(last, np.arange(n_labels), n_labels)
    place = np.minimum.accumulate(place[:, ::-1], axis=1)[:, ::-1]
    precision = np.take_along_axis(truth.cumsum(axis=1), place, axis=1) / (place + 1)
    n_true = labels.sum(axis=1)
    mean = (precision * truth).sum(axis=1) / np.maximum(n_true, 1)
    mean = np.where((n_true == 0) | (n_true == n_labels), 1.0, mean)
    return np.where(np.isnan(probabilities).any(axis=1), np.nan, mean)


def multilabel_scorer(labels: np.ndarray, probabilities: np.ndarray) -> Scorer:
    """Prepare all metrics of multi-label classification.

    Args:
        labels: (N, C) zeros and ones.
        probabilities: (N, C). A NaN among them makes every metric NaN.

    Raises:
        InputError: the shapes do not fit, or a label is neither 0 nor 1.
    """
    truth, scores = check_labels(labels, probabilities)
    if np.isnan(scores).any():
        return undefined_scorer(len(truth), METRICS["multilabel"])
    predicted = decide(scores)
    rankings = rank_columns(truth, scores)
    wrong = truth != predicted
    terms = np.stack(
        [~wrong.any(axis=1), wrong.mean(axis=1), row_precisions(truth, scores)],
        axis=1,
    )

    def score(weights: np.ndarray) -> dict[str, np.ndarray]:
        tallies = tally_labels(truth, predicted, weights)
        ranked = weigh_macro(rankings, weights)
        exact, lost, ranking = ratio(weights @ terms, weights.sum(axis=1)[:, None]).T
        return {
            "micro_f1": tallies.micro_f1(),
            "macro_f1": tallies.macro_f1(),
            "subset_accuracy": exact,
            "hamming_loss": lost,
            "auroc": ranked.auroc,
            "mean_average_precision": ranked.average_precision,
            "label_ranking_average_precision": ranking,
        }

    return Scorer(n_rows=len(truth), weigh=score)


def multilabel_metrics(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Return all of them by name.

    Args:
        labels: (N, C) zeros and ones.
        probabilities: (N, C).
    """
    return multilabel_scorer(labels, probabilities).scores()


def check_labels(labels: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return labels (N, C) boolean and probabilities (N, C) float64.

    Raises:
        InputError: the shapes do not fit, or a label is neither 0 nor 1.
    """
    truth, scores = _boolean(labels), np.asarray(probabilities, dtype=np.float64)
    if truth.ndim != 2 or truth.shape != scores.shape or not truth.shape[1]:
        raise InputError(
            f"labels {truth.shape} and probabilities {scores.shape} do not fit: give (N, C) twice"
        )
    if (truth != np.asarray(labels)).any():
        raise InputError("a label is neither 0 nor 1: give (N, C) zeros and ones")
    return truth, scores


def _boolean(values: np.ndarray) -> np.ndarray:
    return np.asarray(values).astype(bool)


def _tally(labels: np.ndarray, predicted: np.ndarray) -> Tallies:
    return tally_labels(_boolean(labels), _boolean(predicted), np.ones((1, len(labels))))
