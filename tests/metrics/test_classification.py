"""Metrics of classification, against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest

from graft.metrics.classification import (
    accuracy,
    balanced_accuracy,
    classification_metrics,
    confusion,
    log_loss,
    macro_f1,
)

sklearn_metrics = pytest.importorskip("sklearn.metrics", reason="needs scikit-learn")
N_CLASSES = 4


def drawn(seed, classes, n=60):
    rng = np.random.default_rng(seed)
    labels = rng.choice(classes, n)
    probabilities = rng.dirichlet(np.ones(N_CLASSES), n)
    return labels, probabilities


CASES = {
    "all classes": drawn(0, [0, 1, 2, 3]),
    "a class without rows": drawn(1, [0, 1, 3]),
    "one class": drawn(2, [2]),
    "one row": drawn(3, [1], n=1),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
@pytest.mark.filterwarnings("ignore:A single label was found")
def test_equal_to_scikit_learn(case):
    labels, probabilities = CASES[case]
    predicted = probabilities.argmax(1)
    every = list(range(N_CLASSES))
    expected = {
        "accuracy": sklearn_metrics.accuracy_score(labels, predicted),
        "balanced_accuracy": sklearn_metrics.balanced_accuracy_score(labels, predicted),
        "macro_f1": sklearn_metrics.f1_score(labels, predicted, average="macro"),
        "log_loss": sklearn_metrics.log_loss(labels, probabilities, labels=every),
    }
    found = classification_metrics(labels, probabilities)
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert all(type(value) is float for value in found.values())
    counts = confusion(labels, predicted, N_CLASSES)
    assert np.array_equal(counts, sklearn_metrics.confusion_matrix(labels, predicted, labels=every))


def test_by_hand():
    labels, predicted = np.array([0, 0, 1, 2]), np.array([0, 1, 1, 1])
    assert accuracy(labels, predicted) == 0.5
    assert balanced_accuracy(labels, predicted, 3) == pytest.approx((0.5 + 1 + 0) / 3)
    assert macro_f1(labels, predicted, 3) == pytest.approx((2 / 3 + 0.5 + 0) / 3)


def test_log_loss_of_a_certain_error_is_finite():
    probabilities = np.array([[1.0, 0.0]], np.float32)
    assert log_loss(np.array([0]), probabilities) == 0
    assert 30 < log_loss(np.array([1]), probabilities) < 40


def test_order_does_not_matter():
    labels, probabilities = CASES["all classes"]
    order = np.random.default_rng(9).permutation(len(labels))
    shuffled = classification_metrics(labels[order], probabilities[order])
    assert shuffled == pytest.approx(classification_metrics(labels, probabilities))
