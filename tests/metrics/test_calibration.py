"""Calibration error, its table and the Brier score."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

from graft.errors import InputError
from graft.metrics.calibration import brier_score, expected_calibration_error, reliability_table


def draw(n=500, c=4):
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(c), size=n)
    return rng.integers(c, size=n), p


def slow_error(labels, p, n_bins):
    total = 0.0
    for b in range(n_bins):
        inside = [i for i in range(len(labels)) if b / n_bins < p[i].max() <= (b + 1) / n_bins]
        if inside:
            right = sum(p[i].argmax() == labels[i] for i in inside) / len(inside)
            sure = sum(p[i].max() for i in inside) / len(inside)
            total += len(inside) / len(labels) * abs(right - sure)
    return total


@pytest.mark.parametrize("n_bins", [1, 10, 15])
def test_equals_a_slow_loop_and_its_own_table(n_bins):
    labels, p = draw()
    error = expected_calibration_error(labels, p, n_bins=n_bins)
    assert error == pytest.approx(slow_error(labels, p, n_bins))
    table = reliability_table(labels, p, n_bins=n_bins)
    assert sum(row.n_rows for row in table) == len(labels)
    assert (table[0].low, table[-1].high) == (0, 1)
    parts = [row.n_rows * abs(row.accuracy - row.confidence) for row in table if row.n_rows]
    assert error == pytest.approx(sum(parts) / len(labels))
    assert all(math.isnan(row.accuracy) for row in table if not row.n_rows)


def test_bins_are_closed_above():
    p = np.array([[0.6, 0.4], [0.8, 0.2], [1.0, 0.0], [np.nextafter(0.6, 1), 0.4]])
    table = reliability_table(np.zeros(4, dtype=int), p, n_bins=5)
    assert [row.n_rows for row in table] == [0, 0, 1, 2, 1]


def test_labels_drawn_from_the_probabilities_are_calibrated():
    rng = np.random.default_rng(1)
    _, p = draw(n=20_000)
    labels = (p.cumsum(1) < rng.random((len(p), 1))).sum(1)
    assert expected_calibration_error(labels, p) < 0.02
    assert expected_calibration_error((labels + 1) % 4, p) > 0.3


@pytest.mark.parametrize("n_bins", [5, 10, 15, 77])
def test_a_confidence_on_an_edge_lies_below_it(n_bins):
    p = (np.arange(1, n_bins + 1) / n_bins)[:, None]
    table = reliability_table(np.zeros(n_bins, dtype=int), p, n_bins=n_bins)
    assert [row.n_rows for row in table] == [1] * n_bins


@pytest.mark.parametrize("c", [2, 4])
def test_brier_equals_scikit_learn(c):
    labels, p = draw(c=c)
    given = p[:, 1] if c == 2 else p
    assert brier_score(labels, p) == pytest.approx(brier_score_loss(labels, given))


def test_refuses_no_bins():
    with pytest.raises(InputError, match="n_bins is 0"):
        expected_calibration_error(*draw(), n_bins=0)
