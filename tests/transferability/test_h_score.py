"""The H-score against its definition, row by row and class by class; shrinkage as scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf

from graft.transferability.h_score import h_score, shrunk_h_score


def draw(n, d, n_classes=3):
    rng = np.random.default_rng(n)
    labels = rng.permutation(np.arange(n) % n_classes)
    centres = rng.normal(size=(n_classes, d))
    x = centres[labels] + rng.normal(size=(n, d)) * np.geomspace(1, 0.3, d) + 5
    return x.astype(np.float32), np.eye(n_classes)[labels]


def slow(x, labels, covariance):
    """Return tr(covariance^+ cov(E[x | y])) by loops over rows."""
    x = x.astype(np.float64)
    mean = sum(x) / len(x)
    between = np.zeros_like(covariance)
    for row in labels:
        of_class = [a for a, b in zip(x, labels, strict=True) if (b == row).all()]
        centre = sum(of_class) / len(of_class) - mean
        between += np.outer(centre, centre) / len(x)
    return np.trace(np.linalg.pinv(covariance, hermitian=True) @ between)


@pytest.mark.parametrize("shape", [(90, 4), (60, 20)], ids=str)
def test_equals_its_definition(shape):
    x, labels = draw(*shape)
    covariance = np.cov(x.astype(np.float64), rowvar=False, bias=True)
    assert h_score(x, labels) == pytest.approx(slow(x, labels, covariance), rel=1e-6)


@pytest.mark.parametrize("shape", [(90, 4), (60, 20), (20, 50)], ids=str)
def test_shrunk_equals_its_definition_with_ledoit_and_wolf(shape):
    x, labels = draw(*shape)
    covariance, share = ledoit_wolf(x.astype(np.float64))
    assert 0 < share < 1
    expected = (1 - share) * slow(x, labels, covariance)
    assert shrunk_h_score(x, labels) == pytest.approx(expected, rel=1e-6)


def test_with_fewer_rows_than_columns_the_plain_score_knows_nothing():
    x, labels = draw(20, 50)
    noise = np.random.default_rng(1).normal(size=x.shape)
    assert h_score(x, labels) == pytest.approx(2, rel=1e-9)
    assert h_score(noise, labels) == pytest.approx(2, rel=1e-9)
    assert shrunk_h_score(x, labels) > 3 * shrunk_h_score(noise, labels)


def test_labels_that_do_not_exclude_each_other_are_taken_one_against_the_rest():
    x, _ = draw(90, 4)
    several = (np.random.default_rng(2).random((90, 3)) < 0.4).astype(float)
    each = [shrunk_h_score(x, np.stack([c, 1 - c], axis=1)) for c in several.T]
    assert shrunk_h_score(x, several) == pytest.approx(np.mean(each), rel=1e-9)
    # what all rows have tells no rows apart
    assert shrunk_h_score(x, np.hstack([several, np.ones((90, 1))])) == pytest.approx(np.mean(each))


def test_constant_features_are_worth_nothing():
    assert shrunk_h_score(np.ones((9, 2), np.float32), np.eye(3)[np.arange(9) % 3]) == 0
