"""LEEP against the paper's three steps, written as loops."""

from __future__ import annotations

import math

import numpy as np
import pytest

from graft.transferability.leep import leep


def draw(n=50, n_source=7, n_classes=3):
    rng = np.random.default_rng(0)
    source = rng.dirichlet(np.full(n_source, 0.3), n)
    return source, rng.permutation(np.arange(n) % n_classes)


def slow(source, labels):
    n, n_source = source.shape
    total = 0.0
    for i in range(n):
        expected = 0.0
        for z in range(n_source):
            joint = sum(source[j, z] for j in range(n) if labels[j] == labels[i]) / n
            marginal = sum(source[j, z] for j in range(n)) / n
            expected += joint / marginal * source[i, z]
        total += math.log(expected)
    return total / n


def test_equals_its_definition():
    source, labels = draw()
    assert leep(source, np.eye(3)[labels]) == pytest.approx(slow(source, labels), rel=1e-12)


def test_labels_that_do_not_exclude_each_other_are_taken_one_against_the_rest():
    source, _ = draw()
    several = (np.random.default_rng(1).random((50, 3)) < 0.4).astype(float)
    each = [slow(source, column) for column in several.T]
    assert leep(source, several) == pytest.approx(np.mean(each), rel=1e-12)


def test_a_head_that_knows_the_classes_is_worth_most_and_one_that_says_nothing_their_entropy():
    labels = np.arange(30) % 3
    assert leep(np.eye(5)[labels], np.eye(3)[labels]) == pytest.approx(0, abs=1e-12)
    assert leep(np.full((30, 5), 0.2), np.eye(3)[labels]) == pytest.approx(-math.log(3))


def test_a_source_class_that_is_never_predicted_changes_nothing():
    source, labels = draw()
    more = np.hstack([source, np.zeros((50, 2))])
    assert leep(more, np.eye(3)[labels]) == pytest.approx(leep(source, np.eye(3)[labels]))
