"""Rows in blocks: the same as at once, for any block, and no N × N matrix."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from graft.objectives.contrastive import contrastive_all_pairs
from graft.objectives.info_nce import info_nce
from graft.objectives.supervised_contrastive import supervised_contrastive
from graft.objectives.tiles import by_rows, spans
from graft.objectives.triplet import MINING, triplet


@given(st.integers(0, 40), st.integers(1, 50))
def test_spans_cover_each_place_once_in_order(n, size):
    found = [i for span in spans(n, size) for i in range(n)[span]]
    assert found == list(range(n))
    assert all(span.stop - span.start <= size for span in spans(n, size))


def test_only_what_needs_a_gradient_gets_one():
    seen = []

    def loss_of_rows(rows, x, y):
        seen.append((x.requires_grad, y.requires_grad))
        losses = (x[rows] @ y.T).square().sum(1)
        return losses, torch.ones_like(losses)

    x, y = torch.randn(5, 2, requires_grad=True), torch.randn(3, 2)
    losses, weights = by_rows(loss_of_rows, x, y, block=2)
    assert not weights.requires_grad and losses.requires_grad
    losses.sum().backward()
    assert torch.allclose(x.grad, 2 * x.detach() @ y.T @ y, atol=1e-5)
    assert seen == [(True, False)] * 6
    with torch.no_grad():
        assert torch.equal(by_rows(loss_of_rows, x, y, block=2)[0], losses)


class Sizes(torch.utils._python_dispatch.TorchDispatchMode):
    """Note the largest tensor that is made."""

    largest = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        for x in torch.utils._pytree.tree_leaves(found):
            if isinstance(x, torch.Tensor):
                self.largest = max(self.largest, x.untyped_storage().nbytes() // x.element_size())
        return found


@pytest.mark.slow
def test_no_objective_stores_more_than_a_block():
    n, width, block = 24, 4, 4
    x, y = (torch.randn(n, width, requires_grad=True) for _ in range(2))
    labels = torch.arange(n) // 3
    ways = [
        lambda mining=mining: triplet(x, labels, mining=mining, seed=0, block=block)
        for mining in MINING
    ]
    ways.append(lambda: contrastive_all_pairs(x, labels, block=block))
    ways.append(lambda: supervised_contrastive(x, labels, block=block))
    ways.append(lambda: info_nce(x, y, x, symmetric=True, ids=labels, guard=0.1, block=block))
    for way in ways:
        with Sizes() as sizes:
            way()[0].sum().backward()
        assert sizes.largest <= block * (n + 1)
    with Sizes() as sizes:
        info_nce(x, y, block=None)[0].sum().backward()
    assert sizes.largest >= n * n
