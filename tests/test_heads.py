"""Heads: shapes, formulas, names."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from graft.errors import InputError, UnknownName
from graft.features import Features
from graft.heads import HEADS, MLP, Cosine, Linear, head

X = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", HEADS)
def test_every_head_maps_pooled_features_to_outputs(name):
    built = head(name, 8, 3).eval()
    out = built(Features(pooled=X))
    assert out.shape == (6, 3)
    assert torch.isfinite(out).all()
    alone = torch.cat([built(Features(pooled=X[i : i + 1])) for i in range(6)])
    torch.testing.assert_close(out, alone)
    out.sum().backward()
    assert all(p.grad is not None for p in built.parameters())


@pytest.mark.parametrize("name", HEADS)
def test_every_head_needs_pooled_features(name):
    with pytest.raises(AssertionError, match="pooled"):
        head(name, 8, 3)(Features(tokens=X[None]))


def test_linear_is_a_matrix_and_a_bias():
    built = Linear(8, 3)
    nn.init.normal_(built.out.bias)
    expected = X @ built.out.weight.T + built.out.bias
    torch.testing.assert_close(built(Features(pooled=X)), expected)


def test_cosine_by_hand():
    built = Cosine(8, 3, scale=2.0)
    found = built(Features(pooled=X))
    for n in range(6):
        for c in range(3):
            x, w = X[n], built.weight[c]
            expected = 2.0 * (x @ w) / (x.norm() * w.norm())
            torch.testing.assert_close(found[n, c], expected)
    torch.testing.assert_close(built(Features(pooled=7 * X)), found)


def test_mlp_width_and_dropout():
    built = head("mlp:5", 8, 3)
    assert isinstance(built, MLP)
    assert built.hidden.out_features == 5
    built.train()
    one, other = built(Features(pooled=X)), built(Features(pooled=X))
    assert not torch.equal(one, other)
    built.eval()
    expected = built.out(nn.functional.gelu(built.hidden(X)))
    torch.testing.assert_close(built(Features(pooled=X)), expected)


def test_unknown_head_names_the_closest():
    with pytest.raises(UnknownName, match="did you mean 'linear'"):
        head("liner", 8, 3)


@pytest.mark.parametrize("spec", ["mlp:0", "mlp:-3", "mlp:x", "mlp:1.5", "linear:3", "cosine:2"])
def test_option_that_a_head_lacks_is_refused(spec):
    with pytest.raises(InputError, match="mlp:256"):
        head(spec, 8, 3)
