"""Center loss, its update, and joined with softmax, against loops."""

from __future__ import annotations

import pytest
import torch

from graft.objectives.center import center, softmax_with_center, updated_centers
from graft.objectives.margin_softmax import softmax_loss
from tests.objectives.points import LABELS, SLOW_DISTANCES, close, hold_gradient, points

X = points()
CENTERS = points((15.0, 200.0, 60.0, 130.0, 10.0), (1.0, 0.8, 1.5, 0.6, 1.0))
W = points((5.0, 210.0, 50.0, 120.0, 20.0), (1.0, 0.8, 1.5, 0.6, 1.0))


def test_center_equals_the_slow_loop():
    slow = [
        SLOW_DISTANCES["squared_euclidean"](x, CENTERS[label].tolist()) / 2
        for x, label in zip(X.tolist(), LABELS.tolist(), strict=True)
    ]
    close(center(X, LABELS, CENTERS), slow, [1.0] * 8)
    hold_gradient(lambda x, c: center(x, LABELS, c), X, CENTERS)


@pytest.mark.parametrize("step", [0.0, 0.5, 1.0])
def test_centers_move_as_in_the_paper(step):
    kept = CENTERS.clone()
    found = updated_centers(X.clone().requires_grad_(), LABELS, CENTERS, step=step)
    for j in range(5):
        mine = [x for x, label in zip(X, LABELS.tolist(), strict=True) if label == j]
        delta = sum((CENTERS[j] - x for x in mine), torch.zeros(3)) / (1 + len(mine))
        torch.testing.assert_close(found[j], CENTERS[j] - step * delta)
    assert torch.equal(found[4], CENTERS[4]), "no item of this class is in the batch"
    assert torch.equal(CENTERS, kept) and not found.requires_grad
    assert updated_centers(X.bfloat16(), LABELS, CENTERS.float()).dtype == torch.float32


def test_repeated_updates_come_to_the_class_means():
    centers = CENTERS
    for _ in range(200):
        centers = updated_centers(X, LABELS, centers)
    for j in LABELS.unique():
        torch.testing.assert_close(centers[j], X[j == LABELS].mean(0))


def test_joined_is_the_weighted_sum():
    bias = torch.arange(5, dtype=torch.float64) / 9
    for weight in (0.0, 0.003, 2.0):
        found = softmax_with_center(X, LABELS, W, CENTERS, bias=bias, center_weight=weight)
        apart = softmax_loss(X, LABELS, W, bias=bias)[0]
        expected = apart + weight * center(X, LABELS, CENTERS)[0]
        close(found, expected.tolist(), [1.0] * 8)
    hold_gradient(lambda x, w, c: softmax_with_center(x, LABELS, w, c), X, W, CENTERS)


def test_centers_as_a_buffer_get_no_gradient():
    x, centers = X.bfloat16().requires_grad_(), CENTERS.float()
    losses, _ = center(x, LABELS, centers)
    assert losses.dtype == torch.float32
    losses.sum().backward()
    assert centers.grad is None and x.grad.isfinite().all()
