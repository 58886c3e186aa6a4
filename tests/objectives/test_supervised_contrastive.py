"""Supervised contrastive loss against its slow loop, in tiles, and at small temperatures."""

from __future__ import annotations

import math

import pytest
import torch

from graft.objectives.distances import DISTANCES
from graft.objectives.supervised_contrastive import supervised_contrastive
from tests.objectives.points import (
    LABELS,
    SLOW_DISTANCES,
    close,
    hold_gradient,
    hold_nothing,
    hold_same,
    points,
)

X = points()
TAU = torch.tensor(0.4, dtype=torch.float64)


def slow(temperature, distance):
    losses = []
    for i, x in enumerate(X.tolist()):
        s = [-SLOW_DISTANCES[distance](x, y) / temperature for y in X.tolist()]
        total = math.log(sum(math.exp(s[j]) for j in range(8) if j != i))
        own = [total - s[j] for j in range(8) if j != i and LABELS[j] == LABELS[i]]
        losses.append(sum(own) / len(own) if own else 0.0)
    return losses


@pytest.mark.parametrize("distance", DISTANCES)
def test_equals_the_slow_loop_and_tiles(distance):
    def objective(x, tau, block=None):
        return supervised_contrastive(x, LABELS, temperature=tau, distance=distance, block=block)

    close(objective(X, TAU), slow(0.4, distance), [1.0] * 7 + [0.0])
    close(objective(X, 0.4), slow(0.4, distance))
    hold_gradient(objective, X, TAU)
    for block in (1, 3):
        hold_same(objective, lambda x, tau, block=block: objective(x, tau, block), [X, TAU])


def test_without_two_of_a_label_nothing_is_learned():
    for n, block in ((8, None), (8, 3), (1, None)):
        x = X[:n].clone().requires_grad_()
        hold_nothing(supervised_contrastive(x, torch.arange(n), block=block), x)


@pytest.mark.parametrize("temperature", [0.01, 0.07])
@pytest.mark.parametrize("value", [None, 0.0, 0.7])
def test_small_temperatures_stay_finite(temperature, value):
    for dtype in (torch.float32, torch.bfloat16):
        x = X.to(dtype) if value is None else torch.full((8, 3), value, dtype=dtype)
        x.requires_grad_()
        losses, _ = supervised_contrastive(x, LABELS, temperature=temperature)
        exact, _ = supervised_contrastive(x.detach().double(), LABELS, temperature=temperature)
        torch.testing.assert_close(losses.double(), exact, rtol=1e-5, atol=1e-4)
        (gradient,) = torch.autograd.grad(losses.sum(), x)
        assert gradient.isfinite().all()


def test_agrees_with_pytorch_metric_learning():
    library = pytest.importorskip(
        "pytorch_metric_learning.losses", reason="needs pytorch-metric-learning"
    )
    losses, weights = supervised_contrastive(X, LABELS, temperature=0.1)
    expected = library.SupConLoss(temperature=0.1)(X, LABELS)
    torch.testing.assert_close(losses.sum() / weights.sum(), expected, rtol=1e-6, atol=1e-6)
