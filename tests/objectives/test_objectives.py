"""Objectives: each equals a slow obvious loop; gradients equal finite differences."""

from __future__ import annotations

import math
from importlib import import_module

import pytest
import torch
from torch.nn import functional

from graft.objectives import OBJECTIVES
from graft.objectives.binary_cross_entropy import binary_cross_entropy
from graft.objectives.cross_entropy import cross_entropy
from graft.objectives.focal import binary_focal_loss, focal_loss
from graft.objectives.squared_error import squared_error
from tests.objectives.points import LABELS, points

LOGITS = torch.tensor(
    [[2.0, 0.0, -1.0], [0.0, 0.0, 0.0], [-3.0, 1.0, 0.5], [0.2, 0.1, 4.0]], dtype=torch.float64
)
HARD = torch.tensor([0, 1, 2, 2])
SOFT = torch.tensor([[0.7, 0.2, 0.1], [0, 1, 0], [0.5, 0, 0.5], [0, 0, 1]], dtype=torch.float64)
WEIGHTS = torch.tensor([0.5, 1.0, 3.0], dtype=torch.float64)


def slow_cross_entropy(logits, targets, weights=None, smoothing=0.0):
    """Return losses and weights by the definition, one number at a time."""
    losses, counts = [], []
    for row, target in zip(logits.tolist(), targets.tolist(), strict=True):
        n_classes = len(row)
        total = sum(math.exp(z) for z in row)
        if isinstance(target, int):
            target = [float(c == target) for c in range(n_classes)]
        weight = 1.0
        if weights is not None:
            weight = sum(p * w for p, w in zip(target, weights.tolist(), strict=True))
        loss = 0.0
        for c in range(n_classes):
            share = (1 - smoothing) * target[c] + smoothing / n_classes
            loss -= share * math.log(math.exp(row[c]) / total)
        losses.append(weight * loss)
        counts.append(weight)
    return losses, counts


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("targets", [HARD, SOFT])
def test_cross_entropy_equals_the_slow_loop(targets, weights, smoothing):
    losses, counts = cross_entropy(
        LOGITS, targets, class_weights=weights, label_smoothing=smoothing
    )
    expected, expected_counts = slow_cross_entropy(LOGITS, targets, weights, smoothing)
    assert losses.tolist() == pytest.approx(expected)
    assert counts.tolist() == pytest.approx(expected_counts)


@pytest.mark.parametrize(
    ("targets", "weights", "smoothing"),
    [
        (HARD, None, 0.0),
        (HARD, None, 0.1),
        (HARD, WEIGHTS, 0.0),
        (SOFT, None, 0.0),
        (SOFT, None, 0.1),
    ],
)
def test_cross_entropy_equals_torch(targets, weights, smoothing):
    losses, counts = cross_entropy(
        LOGITS, targets, class_weights=weights, label_smoothing=smoothing
    )
    expected = functional.cross_entropy(LOGITS, targets, weight=weights, label_smoothing=smoothing)
    torch.testing.assert_close(losses.sum() / counts.sum(), expected)
    each = functional.cross_entropy(
        LOGITS, targets, weight=weights, label_smoothing=smoothing, reduction="none"
    )
    torch.testing.assert_close(losses, each)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("targets", [HARD, SOFT])
def test_cross_entropy_gradient_equals_finite_differences(targets, weights, smoothing):
    logits = LOGITS.clone().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda z: cross_entropy(z, targets, class_weights=weights, label_smoothing=smoothing)[0],
        logits,
    )


def test_cross_entropy_of_large_and_masked_logits_is_finite():
    logits = torch.tensor([[1e4, -1e4, 0.0], [0.0, 1.0, -math.inf]], requires_grad=True)
    losses, _ = cross_entropy(logits, torch.tensor([1, 0]))
    assert losses.tolist() == pytest.approx([2e4, math.log(1 + math.e)])
    losses.sum().backward()
    assert torch.isfinite(logits.grad).all()


def slow_focal(logits, targets, gamma, weights):
    """Return losses by the definition, one number at a time."""
    losses = []
    for row, target in zip(logits.tolist(), targets.tolist(), strict=True):
        total = sum(math.exp(z) for z in row)
        probabilities = [math.exp(z) / total for z in row]
        if isinstance(target, int):
            target = [float(c == target) for c in range(len(row))]
        loss = -sum(
            q * (1 - p) ** gamma * math.log(p) for q, p in zip(target, probabilities, strict=True)
        )
        weight = sum(q * w for q, w in zip(target, weights.tolist(), strict=True))
        losses.append(weight * loss)
    return losses


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("targets", [HARD, SOFT])
def test_focal_loss_equals_the_slow_loop(targets, gamma):
    losses, counts = focal_loss(LOGITS, targets, gamma=gamma, class_weights=WEIGHTS)
    assert losses.tolist() == pytest.approx(slow_focal(LOGITS, targets, gamma, WEIGHTS))
    assert counts.tolist() == cross_entropy(LOGITS, targets, class_weights=WEIGHTS)[1].tolist()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("targets", [HARD, SOFT])
def test_focal_loss_without_gamma_is_cross_entropy(targets, smoothing):
    options = {"class_weights": WEIGHTS, "label_smoothing": smoothing}
    found = focal_loss(LOGITS, targets, gamma=0.0, **options)
    torch.testing.assert_close(found, cross_entropy(LOGITS, targets, **options), rtol=0, atol=0)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
@pytest.mark.parametrize("targets", [HARD, SOFT])
def test_focal_loss_gradient_equals_finite_differences(targets, gamma):
    logits = LOGITS.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: focal_loss(z, targets, gamma=gamma)[0], logits)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_focal_loss_of_certain_and_masked_logits_is_finite(gamma):
    logits = torch.tensor([[1e4, -1e4, 0.0], [1e4, 1.0, -math.inf]], requires_grad=True)
    losses, _ = focal_loss(logits, torch.tensor([1, 0]), gamma=gamma)
    assert losses.tolist() == pytest.approx([2e4, 0.0])
    losses.sum().backward()
    assert torch.isfinite(logits.grad).all()


def test_squared_error_equals_the_slow_loop_and_torch():
    outputs, targets = LOGITS, SOFT
    losses, counts = squared_error(outputs, targets)
    for i in range(len(outputs)):
        pairs = zip(outputs[i].tolist(), targets[i].tolist(), strict=True)
        squares = [(a - b) ** 2 for a, b in pairs]
        assert losses[i].item() == pytest.approx(sum(squares) / len(squares))
    assert counts.tolist() == [1, 1, 1, 1]
    torch.testing.assert_close(losses.mean(), functional.mse_loss(outputs, targets))
    flat, _ = squared_error(outputs[:, 0:1], targets[:, 0:1])
    assert flat.shape == (4,)
    wide, _ = squared_error(outputs.reshape(2, 2, 3), targets.reshape(2, 2, 3))
    torch.testing.assert_close(wide, losses.reshape(2, 2).mean(1))


def test_squared_error_gradient_equals_finite_differences():
    outputs = LOGITS.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda y: squared_error(y, SOFT)[0], outputs)


CLASS_VECTORS = points((15.0, 200.0, 60.0, 130.0), (1.0, 0.8, 1.5, 0.6))
LABELLED = ((points(), LABELS), {})
PAIRS = ((points(), points(height=0.8)), {})
SCORED = ((*PAIRS[0], torch.tensor([0.2, 0.9, 0.2, 0.0, 1.0, 0.5, 0.5, 0.2])), {})
PER_CLASS = ((points(), LABELS), {"class_vectors": CLASS_VECTORS})
PROXIES = ((points(), LABELS), {"proxies": CLASS_VECTORS})
CENTERS = ((points(), LABELS), {"centers": CLASS_VECTORS})
GIVEN: dict = {
    "contrastive": SCORED,
    "contrastive_all_pairs": LABELLED,
    "triplet": LABELLED,
    "supervised_contrastive": LABELLED,
    "triplet_margin": ((points(), points().flip(0), points(height=0.8)), {}),
    "info_nce": PAIRS,
    "n_pair": PAIRS,
    "softmax": PER_CLASS,
    "cosface": PER_CLASS,
    "arcface": PER_CLASS,
    "center": CENTERS,
    "softmax_with_center": (LABELLED[0], PER_CLASS[1] | CENTERS[1]),
    "proxy_nca": PROXIES,
    "proxy_anchor": PROXIES,
    "cosent": SCORED,
    "cosine_regression": SCORED,
    "coral": PAIRS,
    "mmd": PAIRS,
}
"""name → what is per item, and what is not; all others take logits and soft targets."""


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_is_per_item_and_indifferent_to_order(name):
    module, function = OBJECTIVES[name][0].split(":")
    objective = getattr(import_module(module), function)
    items, options = GIVEN.get(name, ((LOGITS, SOFT), {}))
    n = len(items[0])
    losses, counts = objective(*items, **options)
    assert losses.shape == counts.shape == (n,)
    assert losses.isfinite().all() and losses.abs().sum() > 0 and (counts >= 0).all()
    assert (losses[counts == 0] == 0).all()
    order = torch.tensor([2, 0, 3, 1, 7, 4, 6, 5])[:n]
    shuffled, shuffled_counts = objective(*(x[order] for x in items), **options)
    torch.testing.assert_close(shuffled, losses[order])
    torch.testing.assert_close(shuffled_counts, counts[order])
    first = items[0][:0].clone().requires_grad_()
    none, no_counts = objective(first, *(x[:0] for x in items[1:]), **options)
    assert none.sum() == no_counts.sum() == 0
    none.sum().backward()
    assert first.grad.shape == first.shape


@pytest.mark.parametrize("name", GIVEN)
def test_objectives_on_embeddings_say_what_they_need(name):
    module, function = OBJECTIVES[name][0].split(":")
    text = getattr(import_module(module), function).__doc__
    for part in ("Requirements:", "| inputs | labels |", "Relations:", "Source:"):
        assert part in text


@pytest.mark.parametrize(("gamma", "smoothing"), [(0.0, 0.0), (2.0, 0.0), (1.5, 0.2)])
def test_binary_focal_loss_equals_its_slow_loop(gamma, smoothing):
    z = torch.tensor([[2.0, -1.0, 0.0], [-3.0, 0.5, 4.0]], dtype=torch.float64, requires_grad=True)
    t = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.25]])

    def loss(logits):
        return binary_focal_loss(logits, t, gamma=gamma, label_smoothing=smoothing)[0]

    slow = []
    for row, truth in zip(z.tolist(), t.tolist(), strict=True):
        terms = []
        for x, y in zip(row, truth, strict=True):
            p, y = 1 / (1 + math.exp(-x)), (1 - smoothing) * y + smoothing / 2
            terms.append(-y * (1 - p) ** gamma * math.log(p) - (1 - y) * p**gamma * math.log(1 - p))
        slow.append(sum(terms) / len(terms))
    torch.testing.assert_close(loss(z), torch.tensor(slow, dtype=torch.float64))
    assert torch.autograd.gradcheck(loss, (z,))
    if not gamma:
        torch.testing.assert_close(
            loss(z), binary_cross_entropy(z, t, label_smoothing=smoothing)[0]
        )


def test_binary_focal_loss_stays_finite_where_all_is_certain():
    z = torch.tensor([[200.0, -200.0]], requires_grad=True)
    losses, _ = binary_focal_loss(z, torch.tensor([[1.0, 0.0]]), gamma=0.5)
    losses.sum().backward()
    assert losses.isfinite().all() and z.grad.isfinite().all()
