"""InfoNCE against its slow loop: candidates, both directions, guards; and in tiles."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graft.objectives.distances import DISTANCES
from graft.objectives.info_nce import info_nce, n_pair
from tests.objectives.points import (
    SLOW_DISTANCES,
    close,
    hold_gradient,
    hold_nothing,
    hold_same,
    points,
)

A = points()
P = points(tuple(x + 12 * (-1) ** i for i, x in enumerate((0, 25, 190, 40, 77, 300, 205, 100))))
NEGATIVES = torch.stack([points(height=-0.2) * 0.9, points(height=0.5).flip(0)], 1)
IDS = torch.tensor([0, 1, 2, 1, 4, 5, 2, 7])
NEGATIVE_IDS = torch.tensor([[9, 1], [8, 0], [2, 9], [9, 9], [9, 4], [5, 5], [9, 9], [9, 3]])
TAU = torch.tensor(0.3, dtype=torch.float64)


def slow(a, p, negatives, tau, distance, symmetric, ids, negative_ids, guard):
    """Return losses and weights by loops over anchors and their candidates."""
    n = len(a)
    a, p = a.tolist(), p.tolist()
    others = [] if negatives is None else negatives.reshape(-1, 3).tolist()
    other_ids = None if negative_ids is None else negative_ids.flatten().tolist()

    def similarity(x, y):
        return -SLOW_DISTANCES[distance](x, y)

    def direction(queries, candidates, extra):
        losses, weights = [], []
        for i in range(n):
            own = similarity(queries[i], candidates[i])
            apart = [j for j in range(n) if j != i and (ids is None or ids[i] != ids[j])]
            rivals = [similarity(queries[i], candidates[j]) for j in apart]
            known = ids is not None and other_ids is not None
            apart = [j for j in range(len(extra)) if not known or ids[i] != other_ids[j]]
            rivals += [similarity(queries[i], extra[j]) for j in apart]
            if guard is not None:
                rivals = [s for s in rivals if s <= own + guard]
            total = math.exp(own / tau) + sum(math.exp(s / tau) for s in rivals)
            losses.append(math.log(total) - own / tau if rivals else 0.0)
            weights.append(float(bool(rivals)))
        return losses, weights

    found = [direction(a, p, others)]
    if symmetric:
        found.append(direction(p, a, []))
    losses, weights = zip(*found, strict=True)
    mean = [[sum(x) / len(found) for x in zip(*part, strict=True)] for part in (losses, weights)]
    return tuple(mean)


CASES = [*product((False, True), (None, IDS), (None, NEGATIVES), (None, 0.2, -0.1), ["cosine"])]
CASES += product(
    [True], [None, IDS], [NEGATIVES], [None, 0.2], sorted(DISTANCES.keys() - {"cosine"})
)


@pytest.mark.parametrize(("symmetric", "ids", "negatives", "guard", "distance"), CASES)
def test_equals_the_slow_loop_and_tiles(symmetric, ids, negatives, guard, distance):
    negative_ids = None if negatives is None or ids is None else NEGATIVE_IDS
    rest = (distance, symmetric, ids, negative_ids, guard)
    names = ("distance", "symmetric", "ids", "negative_ids", "guard")

    def objective(a, p, tau, negatives=None, block=None):
        options = dict(zip(names, rest, strict=True))
        return info_nce(a, p, negatives, temperature=tau, block=block, **options)

    losses, weights = slow(A, P, negatives, 0.3, *rest)
    assert sum(losses) > 0
    tensors = [A, P, TAU] if negatives is None else [A, P, TAU, negatives]
    close(objective(*tensors), losses, weights)
    close(objective(*tensors, block=3), losses, weights)
    hold_same(objective, lambda *x: objective(*x, block=3), tensors)
    if guard is None and ids is None:
        hold_gradient(objective, *tensors)


@pytest.mark.slow
def test_tiles_have_the_gradient_of_finite_differences():
    def objective(a, p, tau, negatives):
        return info_nce(
            a, p, negatives, temperature=tau.exp(), symmetric=True, ids=IDS, guard=0.3, block=3
        )

    hold_gradient(objective, A, P, TAU.log(), NEGATIVES)


def test_a_learned_temperature_may_be_given_by_its_logarithm():
    log_tau = torch.tensor([math.log(0.3)], dtype=torch.float64, requires_grad=True)
    for block in (None, 3):
        losses, _ = info_nce(A, P, temperature=log_tau.exp(), block=block)
        close((losses,), info_nce(A, P, temperature=0.3)[0].tolist())
        (gradient,) = torch.autograd.grad(losses.sum(), log_tau)
        assert gradient.shape == (1,) and gradient.abs().sum() > 0


def test_only_one_side_may_need_a_gradient():
    for block in (None, 3):
        p = P.clone().requires_grad_()
        losses, _ = info_nce(A, p, symmetric=True, block=block)
        assert torch.autograd.grad(losses.sum(), p)[0].abs().sum() > 0
        with torch.no_grad():
            assert not info_nce(A, p, block=block)[0].requires_grad


@pytest.mark.parametrize("shape", [(16, 3), (8, 2, 3)])
def test_negatives_are_candidates_of_every_anchor(shape):
    found = info_nce(A, P, NEGATIVES.reshape(shape))[0]
    assert torch.equal(found, info_nce(A, P, NEGATIVES)[0])
    one = info_nce(A, P, NEGATIVES[:, 0])[0]
    assert (one < found + 1e-12).all() and (info_nce(A, P)[0] < one + 1e-12).all()


def test_duplicates_with_equal_ids_are_no_negatives_of_each_other():
    twice = [torch.cat([x, x]) for x in (A, P)]
    ids = torch.arange(8).repeat(2)
    doubled = info_nce(*twice, torch.cat([P, P]), ids=ids, negative_ids=ids, temperature=0.3)[0]
    single = info_nce(A, P, temperature=0.3)[0]
    # each rival is there four times: as two positives and as two negatives
    expected = torch.log1p(4 * torch.expm1(single))
    torch.testing.assert_close(doubled[:8], expected)


def test_where_nothing_is_told_apart_nothing_is_learned():
    same = torch.zeros(8, dtype=torch.long)
    for block in (None, 3):
        a, p = A.clone().requires_grad_(), P.clone().requires_grad_()
        hold_nothing(info_nce(a, p, ids=same, symmetric=True, block=block), a, p)
        hold_nothing(info_nce(a[:1], p[:1], block=block), a, p)
        hold_nothing(info_nce(a, p, guard=-3.0, block=block), a, p)


def test_one_direction_without_rivals_weighs_half():
    a, p = A[:1].clone().requires_grad_(), P[:1].clone().requires_grad_()
    losses, weights = info_nce(a, p, NEGATIVES[:1], symmetric=True, temperature=0.3)
    alone, _ = info_nce(a, p, NEGATIVES[:1], temperature=0.3)
    assert weights.tolist() == [0.5]
    torch.testing.assert_close(losses / weights, alone)


def test_small_gradients_of_pairs_already_found_are_as_exact_in_tiles():
    near = torch.eye(8) + 0.02 * A.float()[:, :1]
    found = [
        torch.autograd.grad(
            info_nce(a, near + 0.05, temperature=0.05, symmetric=True, block=block)[0].sum(), a
        )[0]
        for block in (None, 3)
        for a in [near.clone().requires_grad_()]
    ]
    assert 0 < found[0].abs().max() < 1e-2
    assert (found[0] - found[1]).norm() < 1e-5 * found[0].norm()


@pytest.mark.parametrize("temperature", [0.01, 0.07])
@pytest.mark.parametrize("block", [None, 3])
@pytest.mark.parametrize("kind", ["points", "equal", "zero"])
def test_small_temperatures_stay_near_float64(kind, block, temperature):
    values = {"points": (A, P), "equal": (A * 0 + 0.7,) * 2, "zero": (A * 0,) * 2}[kind]
    options = {"temperature": temperature, "symmetric": True, "block": block}
    for dtype in (torch.float32, torch.bfloat16):
        a, p = (x.to(dtype).requires_grad_() for x in values)
        losses, _ = info_nce(a, p, **options)
        exact, _ = info_nce(a.detach().double(), p.detach().double(), **options)
        assert losses.dtype == torch.float32
        torch.testing.assert_close(losses.double(), exact, rtol=1e-5, atol=1e-4)
        for gradient in torch.autograd.grad(losses.sum(), (a, p)):
            assert gradient.isfinite().all() and gradient.dtype == dtype


def test_autocast_does_not_coarsen_it():
    a, p = A.float(), P.float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for block in (None, 3):
            found = info_nce(a, p, temperature=0.01, block=block)[0]
            torch.testing.assert_close(found, info_nce(a, p, temperature=0.01, block=block)[0])
            exact = info_nce(A, P, temperature=0.01)[0]
            torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-4)


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(8)), st.integers(1, 9), st.booleans())
def test_order_and_tiles_do_not_matter(order, block, symmetric):
    options = {"symmetric": symmetric, "temperature": 0.3, "guard": 0.1}
    plain = info_nce(A, P, NEGATIVES, ids=IDS, **options)
    order = torch.tensor(order)
    found = info_nce(A[order], P[order], NEGATIVES[order], ids=IDS[order], block=block, **options)
    torch.testing.assert_close(found[0], plain[0][order])
    assert torch.equal(found[1], plain[1][order])


def test_n_pair_is_its_formula():
    losses = []
    for i in range(8):
        own = A[i] @ P[i]
        terms = [math.exp(A[i] @ P[j] - own) for j in range(8) if j != i]
        losses.append(math.log(1 + sum(terms)))
    close(n_pair(A, P), losses, [1.0] * 8)
    close(n_pair(A, P, block=3), losses)
    a = A.clone().requires_grad_()
    hold_nothing(n_pair(a, P, ids=torch.zeros(8)), a)
    hold_gradient(n_pair, A, P)


def test_agrees_with_pytorch_metric_learning():
    library = pytest.importorskip(
        "pytorch_metric_learning.losses", reason="needs pytorch-metric-learning"
    )
    labels = torch.arange(8)
    theirs = library.NTXentLoss(temperature=0.1)(A, labels, ref_emb=P, ref_labels=labels.clone())
    found = info_nce(A, P, temperature=0.1)[0].mean()
    torch.testing.assert_close(found, theirs, rtol=1e-6, atol=1e-6)
