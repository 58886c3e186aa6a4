"""The table of metrics per class, or per label where an example may have several."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graft.errors import InputError
from graft.metrics.classification import check_classes
from graft.metrics.multilabel import check_labels, decide
from graft.metrics.ranking import rank_columns, weigh
from graft.metrics.tallies import Tallies, tally_classes, tally_labels
from graft.records import ClassScores


def class_scores(
    labels: np.ndarray, probabilities: np.ndarray, *, names: Sequence[str] | None = None
) -> tuple[ClassScores, ...]:
    """Return the table, a row per class in their order.

    Args:
        labels: (N,) class numbers.
        probabilities: (N, C).
        names: C names; numbers if not given.

    Raises:
        InputError: the shapes do not fit, or a label is no class number.
    """
    labels, probabilities = check_classes(labels, probabilities)
    n_classes = probabilities.shape[1]
    ones = np.ones((1, len(labels)))
    tallies = tally_classes(labels, probabilities.argmax(1), n_classes, ones)
    return _table(labels[:, None] == np.arange(n_classes), probabilities, tallies, names)


def label_scores(
    labels: np.ndarray, probabilities: np.ndarray, *, names: Sequence[str] | None = None
) -> tuple[ClassScores, ...]:
    """Return the table, a row per label in their order.

    Args:
        labels: (N, C) zeros and ones.
        probabilities: (N, C).
        names: C names; numbers if not given.

    Raises:
        InputError: the shapes do not fit.
    """
    truth, scores = check_labels(labels, probabilities)
    tallies = tally_labels(truth, decide(scores), np.ones((1, len(truth))))
    return _table(truth, scores, tallies, names)


def _table(
    positive: np.ndarray, scores: np.ndarray, tallies: Tallies, names: Sequence[str] | None
) -> tuple[ClassScores, ...]:
    n_classes = scores.shape[1]
    names = [str(c) for c in range(n_classes)] if names is None else names
    if len(names) != n_classes:
        raise InputError(f"{len(names)} names for {n_classes} classes: give one for each")
    precision, recall, f1 = tallies.precision()[0], tallies.recall()[0], tallies.f1()[0]
    ones = np.ones((1, len(scores)))
    rows = []
    for c, ranking in enumerate(rank_columns(positive, scores)):
        ranked = weigh(ranking, ones)
        rows.append(
            ClassScores(
                name=names[c],
                support=int(tallies.support[0, c]),
                precision=float(precision[c]),
                recall=float(recall[c]),
                f1=float(f1[c]),
                auroc=float(ranked.auroc[0]),
                average_precision=float(ranked.average_precision[0]),
            )
        )
    return tuple(rows)
