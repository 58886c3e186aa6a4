"""Softmax on embeddings, CosFace and ArcFace against loops of cosines and angles."""

from __future__ import annotations

import math

import pytest
import torch

from graft.objectives.margin_softmax import arcface, cosface, softmax_loss
from tests.objectives.points import LABELS, close, cosine, dot, hold_gradient, points

X = points()
W = points((15.0, 200.0, 60.0, 130.0), (1.0, 0.8, 1.5, 0.6))
BIAS = torch.tensor([0.1, -0.2, 0.3, 0.0], dtype=torch.float64)


def slow(logit, own):
    """Return −log softmax of the own class; `own` makes its logit from what `logit` gives."""
    losses = []
    for x, label in zip(X.tolist(), LABELS.tolist(), strict=True):
        z = [own(logit(x, w)) if c == label else logit(x, w) for c, w in enumerate(W.tolist())]
        losses.append(math.log(sum(math.exp(v) for v in z)) - z[label])
    return losses


def test_softmax_loss_equals_the_slow_loop():
    close(softmax_loss(X, LABELS, W), slow(dot, lambda z: z), [1.0] * 8)
    by_cosine = slow(lambda x, w: 5 * cosine(x, w), lambda z: z)
    close(softmax_loss(X, LABELS, W, scale=5.0), by_cosine)
    zero = torch.zeros(4, dtype=torch.float64)
    assert torch.equal(softmax_loss(X, LABELS, W, bias=zero)[0], softmax_loss(X, LABELS, W)[0])
    hold_gradient(lambda x, w, b: softmax_loss(x, LABELS, w, bias=b), X, W, BIAS)
    hold_gradient(lambda x, w, s: softmax_loss(x, LABELS, w, scale=s), X, W, 4 * BIAS[2])


def test_softmax_loss_takes_class_weights_and_soft_targets():
    counts = torch.tensor([1.0, 2.0, 3.0, 4.0])
    losses, weights = softmax_loss(X, LABELS, W, class_weights=counts)
    assert weights.tolist() == counts[LABELS].tolist()
    torch.testing.assert_close(losses / weights, softmax_loss(X, LABELS, W)[0])
    soft = torch.nn.functional.one_hot(LABELS, 4).double()
    torch.testing.assert_close(softmax_loss(X, soft, W)[0], softmax_loss(X, LABELS, W)[0])


@pytest.mark.parametrize("margin", [0.0, 0.35])
def test_cosface_equals_the_slow_loop(margin):
    expected = slow(lambda x, w: 8 * cosine(x, w), lambda z: z - 8 * margin)
    close(cosface(X, LABELS, W, margin=margin, scale=8.0), expected, [1.0] * 8)
    hold_gradient(lambda x, w: cosface(x, LABELS, w, margin=margin, scale=8.0), X, W)


@pytest.mark.parametrize("easy_margin", [False, True])
@pytest.mark.parametrize("margin", [0.0, 0.5, 1.5])
def test_arcface_equals_the_slow_loop(margin, easy_margin):
    seen = set()

    def own(z):
        angle = math.acos(z / 8)
        if easy_margin:
            seen.add(z > 0)
            return 8 * math.cos(angle + margin) if z > 0 else z
        seen.add(angle + margin < math.pi)
        if angle + margin < math.pi:
            return 8 * math.cos(angle + margin)
        return z - 8 * margin * math.sin(margin)

    expected = slow(lambda x, w: 8 * cosine(x, w), own)
    options = {"margin": margin, "scale": 8.0, "easy_margin": easy_margin}
    close(arcface(X, LABELS, W, **options), expected, [1.0] * 8)
    assert seen == {True, False} or margin < 1
    hold_gradient(lambda x, w: arcface(x, LABELS, w, **options), X, W)


def test_without_margin_all_are_the_softmax_of_cosines():
    plain = softmax_loss(X, LABELS, W, scale=64.0)[0]
    torch.testing.assert_close(cosface(X, LABELS, W, margin=0.0)[0], plain)
    torch.testing.assert_close(arcface(X, LABELS, W, margin=0.0)[0], plain)


@pytest.mark.parametrize("easy_margin", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_arcface_on_and_against_its_class_vector_is_finite(dtype, easy_margin):
    w = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=dtype, requires_grad=True)
    x = torch.tensor([[2.0, 0.0], [-2.0, 0.0], [0.0, 0.0], [1.0, 1e-4]], dtype=dtype)
    x.requires_grad_()
    losses, _ = arcface(x, torch.tensor([0, 0, 0, 0]), w, easy_margin=easy_margin)
    assert losses.isfinite().all()
    for gradient in torch.autograd.grad(losses.sum(), (x, w)):
        assert gradient.isfinite().all()


def test_the_margin_falls_with_the_angle_over_the_whole_half_circle():
    angles = torch.linspace(0.01, math.pi - 0.01, 300, dtype=torch.float64)
    x = torch.stack([angles.cos(), angles.sin()], 1)
    w = torch.tensor([[1.0, 0.0], [0.0, 0.0]], dtype=torch.float64)
    losses, _ = arcface(x, torch.zeros(300, dtype=torch.long), w, scale=4.0)
    assert (losses.diff() > 0).all()


def test_agrees_with_pytorch_metric_learning():
    library = pytest.importorskip(
        "pytorch_metric_learning.losses", reason="needs pytorch-metric-learning"
    )
    near = X.clone()
    near[4] = near[3]  # theirs differs where the angle and the margin pass π
    labels = torch.tensor([0, 0, 1, 2, 2, 2, 1, 3])
    near[5] = near[3] * 0.5
    pairs = (
        (library.CosFaceLoss(4, 3, margin=0.35, scale=16), cosface, 0.35),
        (library.ArcFaceLoss(4, 3, margin=math.degrees(0.5), scale=16), arcface, 0.5),
    )
    for theirs, ours, margin in pairs:
        theirs.W.data = W.T.contiguous()
        found = ours(near, labels, W, margin=margin, scale=16.0)[0].mean()
        torch.testing.assert_close(found, theirs(near, labels), rtol=1e-6, atol=1e-6)
    theirs = library.NormalizedSoftmaxLoss(4, 3, temperature=0.1)
    theirs.W.data = W.T.contiguous()
    found = softmax_loss(X, LABELS, W, scale=10.0)[0].mean()
    torch.testing.assert_close(found, theirs(X, LABELS), rtol=1e-6, atol=1e-6)
