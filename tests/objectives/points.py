"""Named points, slow distances, and the laws that every objective on embeddings is held to."""

from __future__ import annotations

import math

import torch

ANGLES = (0.0, 25.0, 190.0, 40.0, 77.0, 300.0, 205.0, 100.0)
LENGTHS = (1.0, 0.7, 1.3, 2.0, 0.4, 1.1, 0.9, 1.6)
LABELS = torch.tensor([0, 0, 1, 2, 1, 2, 1, 3])
"""Classes of two, three, two and one."""


def points(angles=ANGLES, lengths=LENGTHS, height=0.3):
    """Return points (N, 3) in float64, given by angles in degrees; heights take turns."""
    rows = []
    for i, (angle, length) in enumerate(zip(angles, lengths, strict=True)):
        turn = math.radians(angle)
        row = [length * math.cos(turn), length * math.sin(turn), height * (-1) ** i * (1 + i / 9)]
        rows.append(row)
    return torch.tensor(rows, dtype=torch.float64)


def dot(x, y):
    return sum(a * b for a, b in zip(x, y, strict=True))


def norm(x):
    return math.sqrt(dot(x, x))


def cosine(x, y):
    return dot(x, y) / (norm(x) * norm(y))


SLOW_DISTANCES = {
    "euclidean": lambda x, y: norm([a - b for a, b in zip(x, y, strict=True)]),
    "squared_euclidean": lambda x, y: norm([a - b for a, b in zip(x, y, strict=True)]) ** 2,
    "cosine": lambda x, y: 1 - cosine(x, y),
    "inner_product": lambda x, y: -dot(x, y),
}


def close(found, losses, weights=None):
    """Hold losses, and weights where they are given, to lists of numbers."""
    expected = torch.tensor(losses, dtype=torch.float64)
    torch.testing.assert_close(found[0].detach(), expected, rtol=1e-9, atol=1e-9)
    if weights is not None:
        assert found[1].tolist() == weights


def gradients(objective, tensors):
    """Return losses, weights and gradients, each item's loss counting differently."""
    leaves = [x.detach().clone().requires_grad_() for x in tensors]
    losses, weights = objective(*leaves)
    shares = torch.arange(1, len(losses) + 1, dtype=losses.dtype) / len(losses)
    return losses.detach(), weights, torch.autograd.grad(losses @ shares, leaves)


def hold_same(plain, tiled, tensors):
    """Hold two ways to the same values and gradients: 1e-6 in float64 and 1e-5 in float32.

    That is a part of the largest entry: the learned temperature's gradient is in the thousands.
    """
    for dtype, bound in ((torch.float64, 1e-6), (torch.float32, 1e-5)):
        cast = [x.to(dtype) for x in tensors]
        a, b = gradients(plain, cast), gradients(tiled, cast)
        assert torch.equal(a[1], b[1])
        for one, other in ((a[0], b[0]), *zip(a[2], b[2], strict=True)):
            assert one.abs().max() > 0
            assert (one - other).abs().max() <= bound * max(1.0, float(one.abs().max()))
            assert other.isfinite().all()


def hold_gradient(objective, *tensors):
    """Hold the gradient to finite differences in float64."""
    leaves = [x.detach().double().clone().requires_grad_() for x in tensors]
    assert torch.autograd.gradcheck(lambda *x: objective(*x)[0], leaves)


def hold_nothing(found, *leaves):
    """Hold losses, weights and gradients to zero, where nothing is to be learned."""
    losses, weights = found
    assert losses.tolist() == weights.tolist() == [0.0] * len(losses)
    for gradient in torch.autograd.grad(losses.sum(), leaves):
        assert gradient.abs().sum() == 0
