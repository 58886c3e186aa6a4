"""Contrastive loss against its slow loop, torch's oracle, and in tiles."""

from __future__ import annotations

import pytest
import torch

from graft.objectives.contrastive import contrastive, contrastive_all_pairs
from graft.objectives.distances import DISTANCES
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
MARGINS = {"euclidean": 1.2, "squared_euclidean": 1.5, "cosine": 0.6, "inner_product": 0.2}


def slow_pair(x, y, same, margin, distance):
    d = SLOW_DISTANCES[distance](x, y)
    return same * d**2 / 2 + (1 - same) * max(0.0, margin - d) ** 2 / 2


@pytest.mark.parametrize("distance", DISTANCES)
def test_given_pairs_equal_the_slow_loop(distance):
    margin, same = MARGINS[distance], torch.tensor([1, 0, 0, 0.25])
    found = contrastive(X[:4], X[4:], same, margin=margin, distance=distance)
    slow = [
        slow_pair(x, y, s, margin, distance)
        for x, y, s in zip(X[:4].tolist(), X[4:].tolist(), same.tolist(), strict=True)
    ]
    close(found, slow, [1.0] * 4)
    hold_gradient(
        lambda x, y: contrastive(x, y, same, margin=margin, distance=distance), X[:4], X[4:]
    )


@pytest.mark.parametrize("distance", DISTANCES)
def test_all_pairs_equal_the_slow_loop_and_tiles(distance):
    margin = MARGINS[distance]

    def objective(x, block=None):
        return contrastive_all_pairs(x, LABELS, margin=margin, distance=distance, block=block)

    slow = []
    for i in range(8):
        terms = [
            slow_pair(X[i].tolist(), X[j].tolist(), int(LABELS[i] == LABELS[j]), margin, distance)
            for j in range(8)
            if j != i
        ]
        slow.append(sum(terms))
    close(objective(X), slow, [7.0] * 8)
    hold_gradient(objective, X)
    for block in (1, 3):
        hold_same(objective, lambda x, block=block: objective(x, block), [X])


def test_an_item_alone_has_no_pair():
    x = X[:1].clone().requires_grad_()
    hold_nothing(contrastive_all_pairs(x, LABELS[:1]), x)


def test_two_unlike_items_in_one_point_have_a_loss_and_a_finite_gradient():
    x = torch.ones(2, 3, requires_grad=True)
    losses, _ = contrastive_all_pairs(x, torch.tensor([0, 1]), margin=1.0)
    assert losses.tolist() == [0.5, 0.5]
    (gradient,) = torch.autograd.grad(losses.sum(), x)
    assert gradient.isfinite().all()


def test_agrees_with_pytorch_metric_learning():
    """Theirs takes no square and no half, and averages positives and negatives apart."""
    library = pytest.importorskip(
        "pytorch_metric_learning.losses", reason="needs pytorch-metric-learning"
    )
    distances = pytest.importorskip("pytorch_metric_learning.distances")
    reducers = pytest.importorskip("pytorch_metric_learning.reducers")
    theirs = library.ContrastiveLoss(
        pos_margin=0,
        neg_margin=1.2,
        distance=distances.LpDistance(normalize_embeddings=False),
        reducer=reducers.DoNothingReducer(),
    )(X, LABELS)
    sums = sum(theirs[f"{kind}_loss"]["losses"].square().sum() / 2 for kind in ("pos", "neg"))
    found = contrastive_all_pairs(X, LABELS, margin=1.2)[0].sum()
    torch.testing.assert_close(found, sums, rtol=1e-5, atol=1e-5)
