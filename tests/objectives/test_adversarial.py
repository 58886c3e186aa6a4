"""Gradient reversal: the identity forwards, minus λ backwards, and λ as in the paper."""

from __future__ import annotations

import math

import pytest
import torch

from graft.objectives.adversarial import reversal_scale, reversed_gradient
from tests.objectives.points import points

W = points((5.0, 210.0, 50.0), (1.0, 0.8, 1.5)).T


def above(x):
    return torch.tanh(x @ W).sum()


def finite_differences(function, x, step=1e-6):
    """Return the gradient (N, D) of a scalar function, one number at a time."""
    found = torch.zeros_like(x)
    for i in range(x.numel()):
        moved = torch.zeros_like(x).view(-1)
        moved[i] = step
        moved = moved.view_as(x)
        found.view(-1)[i] = (function(x + moved) - function(x - moved)) / (2 * step)
    return found


@pytest.mark.parametrize("scale", [0.0, 0.25, 1.0, 3.0])
def test_the_gradient_is_minus_scale_times_the_finite_differences(scale):
    x = points().requires_grad_()
    loss = above(reversed_gradient(x, scale))
    assert torch.equal(loss, above(x))
    loss.backward()
    expected = -scale * finite_differences(above, points())
    torch.testing.assert_close(x.grad, expected, rtol=1e-6, atol=1e-8)


def test_what_lies_above_keeps_its_own_gradient():
    w, other = (W.clone().requires_grad_() for _ in range(2))
    torch.tanh(reversed_gradient(points(), 0.7) @ w).sum().backward()
    torch.tanh(points() @ other).sum().backward()
    assert torch.equal(w.grad, other.grad)


def test_the_tensor_itself_does_not_change():
    x = points().requires_grad_()
    found = reversed_gradient(x, 0.5)
    assert torch.equal(found, x) and found is not x


def test_the_scale_rises_as_in_the_paper():
    for p in (0.0, 0.05, 0.3, 0.7, 1.0):
        assert reversal_scale(p) == pytest.approx(2 / (1 + math.exp(-10 * p)) - 1)
        assert reversal_scale(p, gamma=2.0) == pytest.approx(math.tanh(p))
    assert reversal_scale(0.0) == 0.0
    rising = [reversal_scale(i / 20) for i in range(21)]
    assert rising == sorted(rising) and rising[-1] < 1
