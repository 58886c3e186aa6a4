"""Masks and mining: who is whose positive, and which negative is chosen."""

from __future__ import annotations

import math

import pytest
import torch

from graft.objectives.distances import pairwise
from graft.objectives.pairs import (
    distance_weighted,
    hardest,
    is_some,
    log_sum_exp,
    other_label,
    pair_draws,
    same_label,
    semi_hard,
)
from tests.objectives.points import LABELS, points

X = points()
D = pairwise(X, X)
ROWS = slice(0, 8)
POSITIVES, NEGATIVES = same_label(LABELS, ROWS), other_label(LABELS, ROWS)


def test_masks_part_all_other_items():
    for i, label in enumerate(LABELS.tolist()):
        for j, other in enumerate(LABELS.tolist()):
            assert POSITIVES[i, j].item() == (i != j and label == other)
            assert NEGATIVES[i, j].item() == (label != other)
    rows = slice(3, 6)
    assert torch.equal(same_label(LABELS, rows), POSITIVES[rows])
    assert torch.equal(other_label(LABELS, rows), NEGATIVES[rows])


def test_hardest_are_the_farthest_positive_and_the_nearest_negative():
    positive, negative, holds = hardest(D, POSITIVES, NEGATIVES)
    assert holds.tolist() == [True] * 7 + [False]
    for i in range(7):
        assert D[i, positive[i]] == max(D[i, j] for j in range(8) if POSITIVES[i, j])
        assert D[i, negative[i]] == min(D[i, j] for j in range(8) if NEGATIVES[i, j])


@pytest.mark.parametrize("margin", [0.3, 1.0, math.inf])
def test_semi_hard_is_the_nearest_beyond_the_positive_and_within_the_margin(margin):
    column, holds = semi_hard(D, POSITIVES, NEGATIVES, margin)
    n_found = 0
    for i in range(8):
        for p in range(8):
            fitting = [
                j for j in range(8) if NEGATIVES[i, j] and D[i, p] < D[i, j] < D[i, p] + margin
            ]
            assert holds[i, p].item() == (POSITIVES[i, p].item() and bool(fitting))
            if holds[i, p]:
                n_found += 1
                assert column[i, p].item() == min(fitting, key=lambda j: D[i, j])
    assert 0 < n_found < POSITIVES.sum() or margin == math.inf


def draw(x, labels, seed):
    rows = slice(0, len(x))
    first, second = pair_draws(len(x), seed, x.device)
    return distance_weighted(
        pairwise(x, x, "cosine"),
        same_label(labels, rows),
        other_label(labels, rows),
        (first[:, None] + second) % 1,
        x.shape[1],
    )


def test_drawn_negatives_are_negatives_and_repeat_with_their_seed():
    for seed in range(20):
        column, holds = draw(X, LABELS, seed)
        assert torch.equal(holds, POSITIVES & NEGATIVES.any(1, keepdim=True))
        assert NEGATIVES[torch.arange(8)[:, None], column].all()
    assert torch.equal(draw(X, LABELS, 3)[0], draw(X, LABELS, 3)[0])
    assert not torch.equal(draw(X, LABELS, 3)[0], draw(X, LABELS, 4)[0])


def test_draws_have_the_density_of_the_paper():
    """One anchor, negatives at known distances: frequencies over seeds equal 1 / q, normalised."""
    width, distances = 6, [0.2, 0.6, 0.9, 1.2, 1.39, 1.7]
    cosine_distances = torch.tensor([[0.0, 0.1] + [d * d / 2 for d in distances]])
    positives = torch.tensor([[False, True] + [False] * 6])
    negatives = torch.tensor([[False, False] + [True] * 6])
    inverse = []
    for d in distances:
        near = max(d, 0.5)
        inverse.append(1 / (near ** (width - 2) * (1 - near**2 / 4) ** ((width - 3) / 2)))
    inverse[-1] = 0.0
    uniform = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    many = [x.expand(1000, 8) for x in (cosine_distances, positives, negatives)]
    column, holds = distance_weighted(*many, uniform[:, None].expand(1000, 8), width)
    assert holds.sum() == 1000
    frequencies = torch.bincount(column[:, 1], minlength=8)[2:] / 1000
    expected = torch.tensor(inverse) / sum(inverse)
    torch.testing.assert_close(frequencies, expected, atol=3e-3, rtol=0)


def test_where_all_negatives_are_far_each_is_as_likely():
    x = torch.tensor([[1.0, 0.0], [1.0, 0.01], [-1.0, 0.0], [-1.0, 0.1], [-1.0, -0.1]])
    labels = torch.tensor([0, 0, 1, 1, 1])
    chosen = {draw(x, labels, seed)[0][0, 1].item() for seed in range(60)}
    assert chosen == {2, 3, 4}


def test_draws_of_pairs_are_uniform_and_those_of_an_anchor_independent():
    high = []
    for seed in range(2000):
        first, second = pair_draws(3, seed, torch.device("cpu"))
        uniform = (first[:, None] + second) % 1
        assert uniform.min() >= 0 and uniform.max() < 1
        high.append((uniform > 0.5)[0])
    shares = torch.stack(high).double()
    assert (shares.mean(0) - 0.5).abs().max() < 0.05
    assert abs((shares[:, 1] * shares[:, 2]).mean() - 0.25) < 0.05


def test_log_sum_exp_of_nothing_has_a_gradient_of_zero():
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    sums = log_sum_exp(x, torch.tensor([[True, True], [False, False]]))
    assert is_some(sums).tolist() == [True, False]
    assert sums[0].item() == pytest.approx(math.log(math.e + math.e**2))
    (gradient,) = torch.autograd.grad(sums.sum(), x)
    assert gradient[1].tolist() == [0, 0] and gradient[0].sum().item() == pytest.approx(1)
