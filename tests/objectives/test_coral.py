"""Correlation alignment against a loop over pairs of features."""

from __future__ import annotations

import pytest
import torch

from graft.objectives.coral import coral
from tests.objectives.points import hold_gradient, points

X = points()
Y = points((15.0, 200.0, 60.0, 130.0, 10.0), (1.0, 0.8, 1.5, 0.6, 1.0), height=0.7)


def slow_covariance(rows, i, j):
    n = len(rows)
    means = [sum(row[k] for row in rows) / n for k in (i, j)]
    return sum((row[i] - means[0]) * (row[j] - means[1]) for row in rows) / (n - 1)


def test_equals_the_slow_loop():
    x, y = X.tolist(), Y.tolist()
    pairs = [(i, j) for i in range(3) for j in range(3)]
    squares = [(slow_covariance(x, *p) - slow_covariance(y, *p)) ** 2 for p in pairs]
    losses, weights = coral(X, Y)
    assert losses.tolist() == pytest.approx([sum(squares) / (4 * 3**2)] * 8)
    assert weights.tolist() == [1.0] * 8
    assert coral(Y, X)[0][0].item() == pytest.approx(losses[0].item())


def test_gradient_equals_finite_differences():
    hold_gradient(coral, X, Y)


def test_a_shift_is_not_seen_and_a_stretch_is():
    assert coral(X, X.flip(0) + 5)[0].abs().max() < 1e-12
    assert coral(X, 2 * X)[0].mean() > 1e-2


def test_one_item_a_side_is_no_error():
    x = X[:1].clone().requires_grad_()
    losses, _ = coral(x, Y[:1])
    losses.sum().backward()
    assert losses.tolist() == [0.0] and x.grad.abs().sum() == 0


def test_half_precision_is_computed_in_single():
    assert coral(X.bfloat16(), Y.bfloat16())[0].dtype == torch.float32
