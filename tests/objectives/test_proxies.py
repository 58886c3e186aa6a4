"""Proxy-NCA and proxy-anchor against their slow loops and the library."""

from __future__ import annotations

import math

import pytest
import torch

from graft.objectives.margin_softmax import softmax_loss
from graft.objectives.proxies import proxy_anchor, proxy_nca
from tests.objectives.points import LABELS, close, cosine, hold_gradient, hold_nothing, points

X = points()
PROXIES = points((15.0, 200.0, 60.0, 130.0, 10.0), (1.0, 0.8, 1.5, 0.6, 1.0))


@pytest.mark.parametrize("scale", [1.0, 8.0])
def test_proxy_nca_equals_the_slow_loop(scale):
    losses = []
    for x, label in zip(X.tolist(), LABELS.tolist(), strict=True):
        d = [scale * (2 - 2 * cosine(x, p)) for p in PROXIES.tolist()]
        others = sum(math.exp(-v) for c, v in enumerate(d) if c != label)
        losses.append(d[label] + math.log(others))
    close(proxy_nca(X, LABELS, PROXIES, scale=scale), losses, [1.0] * 8)
    hold_gradient(lambda x, p: proxy_nca(x, LABELS, p, scale=scale), X, PROXIES)


def test_with_one_class_proxy_nca_has_nothing_to_tell_apart():
    x, p = X.clone().requires_grad_(), PROXIES[:1].clone().requires_grad_()
    hold_nothing(proxy_nca(x, LABELS * 0, p), x, p)


def slow_anchor(alpha, delta):
    """Return the batch's loss."""
    s = [[cosine(x, p) for p in PROXIES.tolist()] for x in X.tolist()]
    near, n_present, far = 0.0, 0, 0.0
    for p in range(5):
        mine = [math.exp(-alpha * (s[i][p] - delta)) for i in range(8) if LABELS[i] == p]
        others = [math.exp(alpha * (s[i][p] + delta)) for i in range(8) if LABELS[i] != p]
        n_present += bool(mine)
        near += math.log(1 + sum(mine))
        far += math.log(1 + sum(others))
    return near / n_present + far / 5


@pytest.mark.parametrize(("alpha", "delta"), [(2.0, 0.3), (32.0, 0.1)])
def test_proxy_anchor_is_the_mean_of_its_items(alpha, delta):
    losses, weights = proxy_anchor(X, LABELS, PROXIES, scale=alpha, margin=delta)
    assert (losses.sum() / weights.sum()).item() == pytest.approx(slow_anchor(alpha, delta))
    hold_gradient(lambda x, p: proxy_anchor(x, LABELS, p, scale=alpha, margin=delta), X, PROXIES)


def test_proxy_anchor_gives_each_item_an_equal_share_of_its_terms():
    losses, _ = proxy_anchor(X, LABELS, PROXIES)
    for label in LABELS.unique():
        mine = losses[label == LABELS]
        torch.testing.assert_close(mine, mine[:1].expand_as(mine))


def test_proxy_anchor_with_one_class_stays_finite():
    x = X.clone().requires_grad_()
    losses, weights = proxy_anchor(x, LABELS * 0, PROXIES[:1])
    assert weights.sum() == 8
    (gradient,) = torch.autograd.grad(losses.sum(), x)
    assert gradient.isfinite().all() and gradient.abs().sum() > 0


@pytest.mark.parametrize("objective", [proxy_nca, proxy_anchor])
def test_zero_equal_and_coarse_vectors_stay_finite(objective):
    for dtype in (torch.float32, torch.bfloat16):
        for value in (0.0, 0.7):
            x = torch.full((8, 3), value, dtype=dtype, requires_grad=True)
            p = torch.full((4, 3), value, dtype=dtype, requires_grad=True)
            losses, _ = objective(x, LABELS, p, scale=32.0)
            assert losses.isfinite().all() and losses.dtype == torch.float32
            for gradient in torch.autograd.grad(losses.sum(), (x, p)):
                assert gradient.isfinite().all()


def test_agrees_with_pytorch_metric_learning():
    library = pytest.importorskip(
        "pytorch_metric_learning.losses", reason="needs pytorch-metric-learning"
    )
    theirs = library.ProxyAnchorLoss(5, 3, margin=0.1, alpha=32)
    theirs.proxies.data = PROXIES.clone()
    found = proxy_anchor(X, LABELS, PROXIES)[0].mean()
    torch.testing.assert_close(found, theirs(X, LABELS), rtol=1e-6, atol=1e-6)
    # their proxy-NCA has the own proxy in the sum, so it is a softmax of cosines
    theirs = library.ProxyNCALoss(5, 3, softmax_scale=3)
    theirs.proxies.data = PROXIES.clone()
    found = softmax_loss(X, LABELS, PROXIES, scale=6.0)[0].mean()
    torch.testing.assert_close(found, theirs(X, LABELS), rtol=1e-6, atol=1e-6)
