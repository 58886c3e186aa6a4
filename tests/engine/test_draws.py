"""Law: what a row draws does not depend on the rows beside it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from timm.layers import DropPath
from torch import nn
from torch.nn import functional
from torchvision.ops import StochasticDepth
from transformers.models.convnext.modeling_convnext import ConvNextDropPath

from graft.engine.draws import drawn_by_row, row_seeds
from tests.engine.launched import CASES, train

N, WIDTH = 6, 8


class Attention(nn.Module):
    def __init__(self, **options) -> None:
        super().__init__()
        self.options = options

    def forward(self, x):
        x = x.flatten(2).transpose(1, 2)
        return functional.scaled_dot_product_attention(x, x, x, dropout_p=0.5, **self.options)


class SelfAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.5, batch_first=True)

    def forward(self, x):
        return self.inner(x.flatten(2).transpose(1, 2))


class Flat(nn.Module):
    """Dropout on tokens of all rows, one below the other."""

    def forward(self, x):
        return functional.dropout(x.flatten(0, 1), 0.5).view_as(x)


MODULES = {
    "dropout": lambda: nn.Dropout(0.5),
    "in place": lambda: nn.Dropout(0.5, inplace=True),
    "channels": lambda: nn.Dropout2d(0.5),
    "attention": Attention,
    "causal": lambda: Attention(is_causal=True),
    "layer": lambda: SelfAttention(),
    "flat": Flat,
    "timm": lambda: DropPath(0.5),
    "torchvision": lambda: StochasticDepth(0.5, "row"),
    "transformers": lambda: ConvNextDropPath(0.5),
    "sequence": lambda: nn.Sequential(nn.Dropout(0.5), nn.Dropout2d(0.5), DropPath(0.5)),
}


def x() -> torch.Tensor:
    return torch.arange(1.0, N * 4 * WIDTH * WIDTH + 1).reshape(N, 4, WIDTH, WIDTH) / 1000


def result(module, rows, seeds):
    with drawn_by_row(seeds[rows]):
        return module(x()[rows])


@pytest.mark.parametrize("name", MODULES)
@given(cut=st.integers(1, N - 1), step=st.integers(0, 3))
def test_a_part_of_the_rows_gives_a_part_of_the_result(name, cut, step):
    torch.manual_seed(0)
    module = MODULES[name]()
    seeds = row_seeds(3, 0, step, 0, N)
    whole = result(module, np.arange(N), seeds)
    order = np.random.default_rng(step).permutation(N)
    for rows in (order[:cut], order[cut:]):
        torch.manual_seed(len(rows))  # torch's own generator is not asked
        torch.testing.assert_close(result(module, rows, seeds), whole[rows], rtol=0, atol=1e-6)
    other = result(module, np.arange(N), row_seeds(3, 0, step + 1, 0, N))
    assert not torch.equal(whole, other)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_keeps_the_mean(p):
    ones = torch.ones(4, 50_000)
    with drawn_by_row(row_seeds(0, 0, 0, 0, 4)):
        dropped = functional.dropout(ones, p)
    values = dropped.unique()
    torch.testing.assert_close(values, torch.tensor([0.0, 1 / (1 - p)]))
    assert dropped.mean() == pytest.approx(1.0, abs=0.02)
    assert not torch.equal(dropped[0], dropped[1])


def test_everything_dropped_is_nothing():
    with drawn_by_row(row_seeds(0, 0, 0, 0, 2)):
        assert torch.equal(functional.dropout(torch.ones(2, 9), 1.0), torch.zeros(2, 9))


MASKS = {
    "none": {},
    "causal": {"is_causal": True},
    "bool": {"attn_mask": torch.rand(3, 1, 5, 5) > 0.3},
    "float": {"attn_mask": torch.randn(5, 5)},
    "scale": {"scale": 0.3},
}


@pytest.mark.parametrize("name", MASKS)
def test_attention_is_that_of_torch(name):
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 3, 4, 5, 8).unbind()
    options = dict(MASKS[name])
    if name == "bool":
        options["attn_mask"] = options["attn_mask"] | torch.eye(5, dtype=torch.bool)
    theirs = functional.scaled_dot_product_attention(query, key, value, **options)
    with drawn_by_row([1, 2, 3]):
        ours = functional.scaled_dot_product_attention(query, key, value, dropout_p=1e-9, **options)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


def test_grouped_queries():
    query, key, value = torch.randn(2, 4, 5, 8), torch.randn(2, 2, 5, 8), torch.randn(2, 2, 5, 8)
    theirs = functional.scaled_dot_product_attention(query, key, value, enable_gqa=True)
    with drawn_by_row([1, 2]):
        ours = functional.scaled_dot_product_attention(
            query, key, value, dropout_p=1e-9, enable_gqa=True
        )
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


def test_a_query_that_may_see_nothing_is_no_nan():
    nothing = torch.full((5, 5), -torch.inf)
    with drawn_by_row([1, 2]):
        for mask in (nothing, nothing > 0):
            value = functional.scaled_dot_product_attention(
                *torch.randn(3, 2, 4, 5, 8).unbind(), attn_mask=mask, dropout_p=0.1
            )
            assert value.isfinite().all()


def test_torch_is_left_as_it_was():
    before = functional.dropout, torch.rand, torch.Tensor.bernoulli_
    with pytest.raises(ZeroDivisionError), drawn_by_row([1]):
        assert functional.dropout is not before[0]
        raise ZeroDivisionError
    assert (functional.dropout, torch.rand, torch.Tensor.bernoulli_) == before
    with drawn_by_row([]):
        assert functional.dropout is before[0]


def test_what_does_not_count_rows_is_drawn_by_torch():
    with drawn_by_row([1, 2]):
        torch.manual_seed(5)
        mine = functional.dropout(torch.ones(3, 40)), torch.rand(3, 2), torch.rand(())
    torch.manual_seed(5)
    assert torch.equal(mine[0], functional.dropout(torch.ones(3, 40)))
    assert torch.equal(mine[1], torch.rand(3, 2)) and torch.equal(mine[2], torch.rand(()))


def test_seeds_differ_by_all_that_they_are_made_of():
    made = [
        row_seeds(*words, 4)
        for words in [(0, 0, 0, 0), (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)]
    ]
    assert len({int(s) for seeds in made for s in seeds}) == 20
    assert np.array_equal(row_seeds(0, 0, 0, 0, 3), row_seeds(0, 0, 0, 0, 4)[:3])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dropout", "dropout-cached", "dropout-joint"])
def test_micro_batches_give_the_same_training(name, tmp_path):
    case = replace(CASES[name], double=True)
    whole, _ = train(replace(case, micro_batch_size=None), tmp_path / "whole", "ddp")
    parts, _ = train(replace(case, micro_batch_size=2), tmp_path / "parts", "ddp")
    assert max(float((whole[k] - parts[k]).abs().max()) for k in whole) < 1e-9
