"""Losses of rows that look at the whole batch, a few rows at a time.

Where item i is compared with all N others, the batch makes an N × N matrix. Here the rows of that
matrix are made in blocks: without a graph on the way forward, and once more, each with a graph of
its own, on the way back. What is stored is one block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

TILE_NUMBERS = 2**22
"""Entries of a block that is chosen here: 16 MB in float32. A smaller matrix is made whole."""

LossOfRows = Callable[..., tuple[Tensor, Tensor]]
"""(rows, *tensors) → losses and weights of these rows, each (B,)."""


def by_rows(
    loss_of_rows: LossOfRows, *tensors: Tensor, block: int | None = None
) -> tuple[Tensor, Tensor]:
    """Return losses and weights of all rows, with the matrix behind them never whole.

    Args:
        loss_of_rows: takes a slice of the rows and then `tensors`. It is called twice for each
            block and must do the same both times. What it closes over gets no gradient.
        tensors: all that may get a gradient; the first is (N, …).
        block: rows at a time; by default as many as make `TILE_NUMBERS` entries.

    Returns:
        losses (N,) and weights (N,), as if `loss_of_rows` had been called once.
    """
    n = len(tensors[0])
    block = max(1, TILE_NUMBERS // max(n, 1)) if block is None else block
    if n <= block:
        return loss_of_rows(slice(0, n), *tensors)
    losses, weights = _ByRows.apply(loss_of_rows, block, *tensors)
    return losses, weights


def spans(n: int, size: int) -> Iterator[slice]:
    """Cut n places into slices of at most so many.

    >>> list(spans(5, 2))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


class _ByRows(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, loss_of_rows: LossOfRows, block: int, *tensors: Tensor
    ) -> tuple[Tensor, Tensor]:
        parts = [loss_of_rows(rows, *tensors) for rows in spans(len(tensors[0]), block)]
        losses, weights = (torch.cat(part) for part in zip(*parts, strict=True))
        ctx.loss_of_rows, ctx.block = loss_of_rows, block
        ctx.save_for_backward(*tensors)
        ctx.mark_non_differentiable(weights)
        return losses, weights

    @staticmethod
    @once_differentiable
    def backward(  # pyrefly: ignore[bad-override] - once_differentiable loses the name of ctx
        ctx: Any, *grad_outputs: Any
    ) -> tuple[Tensor | None, ...]:
        gradient = grad_outputs[0]
        needed = ctx.needs_input_grad[2:]
        leaves = [
            tensor.detach().requires_grad_(need)
            for tensor, need in zip(ctx.saved_tensors, needed, strict=True)
        ]
        wanted = [leaf for leaf in leaves if leaf.requires_grad]
        sums = [torch.zeros_like(leaf, dtype=gradient.dtype) for leaf in wanted]
        for rows in spans(len(gradient), ctx.block):
            with torch.enable_grad():
                losses, _ = ctx.loss_of_rows(rows, *leaves)
            found = torch.autograd.grad(losses, wanted, gradient[rows])
            for total, part in zip(sums, found, strict=True):
                total += part
            del found, losses
        given = iter(sums)
        return (
            None,
            None,
            *(next(given).to(leaf.dtype) if leaf.requires_grad else None for leaf in leaves),
        )
