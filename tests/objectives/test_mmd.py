"""Maximum mean discrepancy against a loop over pairs of items."""

from __future__ import annotations

import math

import pytest
import torch

from graft.objectives.mmd import WIDTHS, mmd
from tests.objectives.points import SLOW_DISTANCES, hold_gradient, points

X = points()
Y = points((15.0, 200.0, 60.0, 130.0, 10.0), (1.0, 0.8, 1.5, 0.6, 1.0), height=0.7)


def slow_mmd(x, y, bandwidth=None):
    square = SLOW_DISTANCES["squared_euclidean"]
    if bandwidth is None:
        both = x + y
        apart = [square(a, b) for i, a in enumerate(both) for j, b in enumerate(both) if i != j]
        bandwidth = sum(apart) / len(apart)

    def mean(some, others):
        found = [
            sum(math.exp(-square(a, b) / (bandwidth * w)) for w in WIDTHS) / len(WIDTHS)
            for a in some
            for b in others
        ]
        return sum(found) / len(found)

    return mean(x, x) + mean(y, y) - 2 * mean(x, y)


@pytest.mark.parametrize("bandwidth", [None, 0.3, 2.0])
def test_equals_the_slow_loop(bandwidth):
    losses, weights = mmd(X, Y, bandwidth=bandwidth)
    expected = slow_mmd(X.tolist(), Y.tolist(), bandwidth)
    assert losses.tolist() == pytest.approx([expected] * 8)
    assert weights.tolist() == [1.0] * 8
    assert mmd(Y, X, bandwidth=bandwidth)[0][0].item() == pytest.approx(expected)


def test_gradient_equals_finite_differences_at_a_given_bandwidth():
    hold_gradient(lambda x, y: mmd(x, y, bandwidth=1.5), X, Y)


def test_the_mean_distance_is_taken_as_a_constant():
    x, y = X.clone().requires_grad_(), X.clone().requires_grad_()
    n = len(X) + len(Y)
    bandwidth = sum(
        SLOW_DISTANCES["squared_euclidean"](a, b)
        for a in [*X.tolist(), *Y.tolist()]
        for b in [*X.tolist(), *Y.tolist()]
    ) / (n * (n - 1))
    mmd(x, Y)[0].mean().backward()
    mmd(y, Y, bandwidth=bandwidth)[0].mean().backward()
    torch.testing.assert_close(x.grad, y.grad)


def test_a_shift_is_seen_and_the_scale_is_not():
    assert mmd(X, X.flip(0))[0].abs().max() < 1e-12
    apart = mmd(X, Y)[0].mean()
    assert mmd(X, X + 1)[0].mean() > 1e-2
    torch.testing.assert_close(mmd(100 * X, 100 * Y)[0].mean(), apart)


def test_points_that_are_all_alike_are_no_error():
    x = torch.ones(3, 2, dtype=torch.float64, requires_grad=True)
    losses, _ = mmd(x, x.detach())
    losses.sum().backward()
    assert losses.tolist() == [0.0] * 3 and x.grad.abs().sum() == 0
