"""Information of predictions: mutual information of rows and answers, against a loop."""

from __future__ import annotations

import math

import numpy as np
import pytest

from graft.metrics.label_free import information


def slow(rows):
    def entropy(shares):
        return -sum(p * math.log(p) for p in shares if p > 0)

    mean = [sum(row[c] for row in rows) / len(rows) for c in range(len(rows[0]))]
    return entropy(mean) - sum(map(entropy, rows)) / len(rows)


def test_equals_the_slow_loop():
    rows = np.random.default_rng(0).dirichlet([0.5, 1.0, 2.0], size=20)
    rows[3] = [0, 1, 0]
    assert information(rows) == pytest.approx(slow(rows.tolist()))
    assert information(rows.astype(np.float32)) == pytest.approx(slow(rows.tolist()), rel=1e-5)


def test_is_largest_where_all_classes_are_sure_and_zero_where_all_answers_are_alike():
    sure = np.eye(4)[np.arange(40) % 4]
    assert information(sure) == pytest.approx(math.log(4))
    assert information(np.eye(4)[np.zeros(40, int)]) == 0
    assert information(np.tile([0.1, 0.2, 0.3, 0.4], (40, 1))) == pytest.approx(0)
    assert math.isnan(information(np.zeros((0, 4))))
