"""Triplet loss against triple loops, for every mining, and in tiles."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from graft.errors import InputError, UnknownName
from graft.objectives.distances import DISTANCES
from graft.objectives.pairs import distance_weighted, other_label, pair_draws, same_label
from graft.objectives.triplet import MINING, triplet, triplet_margin
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


def hinge(difference, margin):
    if margin is None:
        return math.log(1 + math.exp(difference))
    return max(0.0, difference + margin)


def drawn_negatives(seed):
    first, second = pair_draws(len(X), seed, X.device)
    rows = slice(0, len(X))
    columns, _ = distance_weighted(
        torch.tensor([[SLOW_DISTANCES["cosine"](x, y) for y in X.tolist()] for x in X.tolist()]),
        same_label(LABELS, rows),
        other_label(LABELS, rows),
        (first[:, None] + second) % 1,
        X.shape[1],
    )
    return columns


def slow_triplets(d, i, mining, margin, seed):
    """Return the triplets (p, n) that are mined for anchor i, by loops."""
    positives = [j for j in range(8) if j != i and LABELS[j] == LABELS[i]]
    negatives = [j for j in range(8) if LABELS[j] != LABELS[i]]
    every = [(p, n) for p in positives for n in negatives]
    if mining == "all":
        return every
    if mining == "active":
        return [(p, n) for p, n in every if d[i][p] - d[i][n] + margin > 0]
    if mining == "hard":
        hard = [(max(positives, key=lambda j: d[i][j]), min(negatives, key=lambda j: d[i][j]))]
        return hard if positives else []
    if mining == "distance_weighted":
        columns = drawn_negatives(seed)
        return [(p, columns[i, p].item()) for p in positives]
    found = []
    for p in positives:
        upper = math.inf if margin is None else d[i][p] + margin
        fitting = [n for n in negatives if d[i][p] < d[i][n] < upper]
        if fitting:
            found.append((p, min(fitting, key=lambda n: d[i][n])))
    return found


def slow(mining, margin, distance, seed=0):
    rows = X.tolist()
    d = [[SLOW_DISTANCES[distance](x, y) for y in rows] for x in rows]
    losses, weights = [], []
    for i in range(8):
        try:
            chosen = slow_triplets(d, i, mining, margin, seed)
        except ValueError:  # no positive to take the farthest of
            chosen = []
        losses.append(sum(hinge(d[i][p] - d[i][n], margin) for p, n in chosen))
        weights.append(float(len(chosen)))
    return losses, weights


CASES = [(mining, margin) for mining in MINING for margin in (0.4, 2.0, None)]
CASES = [(m, margin) for m, margin in CASES if margin is not None or m not in ("all", "active")]


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize(("mining", "margin"), CASES)
def test_equals_the_slow_loops_and_tiles(mining, margin, distance):
    def objective(x, block=None):
        return triplet(
            x, LABELS, mining=mining, margin=margin, distance=distance, seed=5, block=block
        )

    losses, weights = slow(mining, margin, distance, seed=5)
    assert sum(losses) > 0
    close(objective(X), losses, weights)
    hold_gradient(objective, X)
    hold_same(objective, lambda x: objective(x, 3), [X])


def test_given_triplets_equal_the_slow_loop_and_torch():
    a, p, n = X[:2], X[2:4], X[4:6]
    for margin in (0.5, None):
        found = triplet_margin(a, p, n, margin=margin, distance="squared_euclidean")
        each = SLOW_DISTANCES["squared_euclidean"]
        losses = [
            hinge(each(x, y) - each(x, z), margin)
            for x, y, z in zip(a.tolist(), p.tolist(), n.tolist(), strict=True)
        ]
        close(found, losses, [1.0, 1.0])
        hold_gradient(lambda *x, margin=margin: triplet_margin(*x, margin=margin), a, p, n)
    theirs = functional.triplet_margin_loss(a, p, n, margin=0.5, eps=0, reduction="none")
    torch.testing.assert_close(triplet_margin(a, p, n, margin=0.5)[0], theirs)


@pytest.mark.parametrize("mining", MINING)
def test_without_a_positive_or_a_negative_nothing_is_learned(mining):
    for labels in (torch.arange(8), torch.zeros(8, dtype=torch.long)):
        for block in (None, 3):
            x = X.clone().requires_grad_()
            hold_nothing(triplet(x, labels, mining=mining, seed=0, block=block), x)


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("mining", MINING)
@pytest.mark.parametrize("value", [0.0, 0.7])
def test_equal_vectors_have_finite_losses_and_gradients(mining, distance, value):
    for dtype in (torch.float32, torch.bfloat16):
        x = torch.full((8, 16), value, dtype=dtype, requires_grad=True)
        losses, _ = triplet(x, LABELS, mining=mining, distance=distance, seed=0)
        assert losses.isfinite().all() and losses.dtype == torch.float32
        (gradient,) = torch.autograd.grad(losses.sum(), x)
        assert gradient.isfinite().all() and gradient.dtype == dtype


@pytest.mark.slow
def test_batch_all_lists_no_triplets():
    """300 items of 3 classes have 6 million triplets; the largest tensor holds 300² numbers."""
    sizes = []

    class Sizes(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            found = function(*args, **(kwargs or {}))
            made = torch.utils._pytree.tree_leaves(found)
            sizes.extend(x.numel() for x in made if isinstance(x, torch.Tensor))
            return found

    x = torch.randn(300, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    with Sizes():
        losses, weights = triplet(x, torch.arange(300) % 3, mining="all", block=300)
        losses.sum().backward()
    assert weights.sum() == 300 * 99 * 200
    assert max(sizes) <= 300 * 301


def test_faults_are_named():
    with pytest.raises(UnknownName, match="semi_hard"):
        triplet(X, LABELS, mining="semihard")
    with pytest.raises(InputError, match="seed"):
        triplet(X, LABELS, mining="distance_weighted")
    with pytest.raises(InputError, match="margin"):
        triplet(X, LABELS, mining="all", margin=None)


@pytest.mark.parametrize("mining", ["active", "hard"])
def test_agrees_with_pytorch_metric_learning(mining):
    library = pytest.importorskip(
        "pytorch_metric_learning.losses", reason="needs pytorch-metric-learning"
    )
    distances = pytest.importorskip("pytorch_metric_learning.distances")
    miners = pytest.importorskip("pytorch_metric_learning.miners")
    reducers = pytest.importorskip("pytorch_metric_learning.reducers")
    distance = distances.LpDistance(normalize_embeddings=False)
    reducer = reducers.AvgNonZeroReducer() if mining == "active" else reducers.MeanReducer()
    loss = library.TripletMarginLoss(margin=0.4, distance=distance, reducer=reducer)
    mined = miners.BatchHardMiner(distance=distance)(X, LABELS) if mining == "hard" else None
    losses, weights = triplet(X, LABELS, mining=mining, margin=0.4)
    expected = loss(X, LABELS, mined)
    torch.testing.assert_close(losses.sum() / weights.sum(), expected, rtol=1e-5, atol=1e-6)
