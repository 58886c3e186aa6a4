"""CoSENT and cosine regression against their slow loops."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graft.objectives.scored_pairs import cosent, cosine_regression
from tests.objectives.points import close, cosine, hold_gradient, hold_nothing, points

X, Y = points(), points(height=0.8).roll(1, 0)
SCORES = torch.tensor([0.2, 0.9, 0.2, 0.0, 1.0, 0.5, 0.5, 0.2])


def slow_cosent(scores, scale):
    cosines = [cosine(x, y) for x, y in zip(X.tolist(), Y.tolist(), strict=True)]
    n = len(scores)
    terms = [
        math.exp(scale * (cosines[j] - cosines[i]))
        for i in range(n)
        for j in range(n)
        if scores[i] > scores[j]
    ]
    return math.log(1 + sum(terms))


@pytest.mark.parametrize("scale", [1.0, 20.0])
def test_cosent_equals_the_slow_loop(scale):
    close(cosent(X, Y, SCORES, scale=scale), [slow_cosent(SCORES, scale)] * 8, [1.0] * 8)
    hold_gradient(lambda x, y: cosent(x, y, SCORES, scale=scale), X, Y)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=8, max_size=8), st.permutations(range(8)))
def test_cosent_sees_only_the_order_of_scores(scores, order):
    scores = torch.tensor(scores)
    expected = slow_cosent(scores, 5.0)
    found, weights = cosent(X, Y, scores, scale=5.0)
    assert found.tolist() == pytest.approx([expected] * 8)
    assert weights.tolist() == [float(len(set(scores.tolist())) > 1)] * 8
    order = torch.tensor(order)
    again, _ = cosent(X[order], Y[order], scores[order].double().exp(), scale=5.0)
    torch.testing.assert_close(again, found)


def test_equal_scores_teach_nothing():
    for n in (8, 1):
        x, y = X[:n].clone().requires_grad_(), Y[:n].clone().requires_grad_()
        hold_nothing(cosent(x, y, torch.ones(n)), x, y)


def test_cosent_of_many_pairs_makes_no_square():
    n = 20_000
    x = torch.randn(n, 2, generator=torch.Generator().manual_seed(0), requires_grad=True)
    losses, _ = cosent(x, x.detach().flip(0), torch.linspace(0, 1, n))
    losses.mean().backward()
    assert losses.isfinite().all() and x.grad.isfinite().all()


def test_cosine_regression_equals_the_slow_loop():
    slow = [
        (cosine(x, y) - s) ** 2
        for x, y, s in zip(X.tolist(), Y.tolist(), SCORES.double().tolist(), strict=True)
    ]
    close(cosine_regression(X, Y, SCORES), slow, [1.0] * 8)
    hold_gradient(lambda x, y: cosine_regression(x, y, SCORES), X, Y)


@pytest.mark.parametrize("objective", [cosent, cosine_regression])
def test_zero_equal_and_coarse_vectors_stay_finite(objective):
    for dtype in (torch.float32, torch.bfloat16):
        for value in (0.0, 0.7):
            x = torch.full((8, 3), value, dtype=dtype, requires_grad=True)
            losses, _ = objective(x, x, SCORES)
            assert losses.isfinite().all() and losses.dtype == torch.float32
            (gradient,) = torch.autograd.grad(losses.sum(), x)
            assert gradient.isfinite().all()
