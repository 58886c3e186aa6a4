"""Random draws inside a network, row by row: a row's masks do not depend on its neighbours.

torch draws the masks of dropout for a whole batch from one generator, so the same row gets another
mask in another micro-batch or another process. Here each row of a step has a generator of its own,
seeded by where the row stands in the step. So a step gives the same result, up to the rounding of
sums, however its rows are shared out.

What is drawn by row: `torch.nn.functional.dropout` (which `nn.Dropout` calls) and its kin for whole
channels, the dropout of `scaled_dot_product_attention`, and the draws of stochastic depth
(`torch.rand` and `Tensor.bernoulli_`); on a CPU, and where the first axis counts rows or, row by
row, parts of them. All else is drawn by torch itself, from the generator that `Loop` seeds for each
process and micro-batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

TAG = 8


def row_seeds(seed: int, phase: int, step: int, stream: int, n_rows: int) -> np.ndarray:
    """Return the seed of each row of a step, by its place in the step.

    Args:
        phase: number of the phase in its plan.
        stream: number of the stream in the step.

    Returns:
        (n_rows,) of uint64.
    """
    words = np.random.SeedSequence([seed, phase, step, stream, TAG])
    return words.generate_state(n_rows, np.uint64) >> np.uint64(1)


@contextmanager
def drawn_by_row(seeds: Sequence[int] | np.ndarray) -> Iterator[None]:
    """Let what is drawn inside come from the generators of these rows; without rows do nothing."""
    if not len(seeds):
        yield
        return
    rows = _Rows([torch.Generator().manual_seed(int(seed)) for seed in seeds])
    own: list[tuple[Any, str, Callable[..., Any]]] = [
        (functional, "dropout", rows.dropout),
        (functional, "dropout1d", rows.channels(functional.dropout1d)),
        (functional, "dropout2d", rows.channels(functional.dropout2d)),
        (functional, "dropout3d", rows.channels(functional.dropout3d)),
        (functional, "scaled_dot_product_attention", rows.attention),
        (torch, "rand", rows.rand),
        (
            Tensor,
            "bernoulli_",
            lambda tensor, *p, **options: rows.bernoulli_(tensor, *p, **options),
        ),
    ]
    theirs = [(place, name, getattr(place, name)) for place, name, _ in own]
    try:
        for place, name, function in own:
            setattr(place, name, function)
        yield
    finally:
        for place, name, function in theirs:
            setattr(place, name, function)


_dropout = functional.dropout
_attention = functional.scaled_dot_product_attention
_rand = torch.rand
_bernoulli_ = Tensor.bernoulli_


class _Rows:
    """Draw from one generator for each row."""

    def __init__(self, generators: Sequence[torch.Generator]) -> None:
        self.generators = generators

    def holds(self, shape: Sequence[int], device: torch.device) -> bool:
        """Return whether the first axis counts our rows, or equal parts of each."""
        is_whole = len(shape) > 0 and shape[0] > 0 and shape[0] % len(self.generators) == 0
        return is_whole and device.type == "cpu"

    def fill(self, tensor: Tensor, draw: Callable[[Tensor, torch.Generator], object]) -> Tensor:
        """Fill a contiguous tensor, row by row."""
        for row, generator in zip(
            tensor.view(len(self.generators), -1), self.generators, strict=True
        ):
            draw(row, generator)
        return tensor

    def kept(self, like: Tensor, shape: Sequence[int], p: float) -> Tensor:
        """Return a mask whose values are 0 with probability p, else 1 / (1 - p)."""
        mask = torch.empty(tuple(shape), dtype=like.dtype)
        self.fill(mask, lambda row, g: _bernoulli_(row, 1.0 - p, generator=g))
        return mask.div_(1.0 - p) if p < 1.0 else mask

    def dropout(
        self, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
    ) -> Tensor:
        """Stand for `torch.nn.functional.dropout`."""
        if not training or not 0.0 < p <= 1.0 or not self.holds(input.shape, input.device):
            return _dropout(input, p, training, inplace)
        mask = self.kept(input, input.shape, p)
        return input.mul_(mask) if inplace else input * mask

    def channels(self, theirs: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """Return what stands for a dropout of whole channels: the first two axes are drawn."""

        def dropped(
            input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
        ) -> Tensor:
            is_ours = input.ndim > 2 and self.holds(input.shape, input.device)
            if not training or not 0.0 < p <= 1.0 or not is_ours:
                return theirs(input, p, training, inplace)
            shape = (*input.shape[:2], *[1] * (input.ndim - 2))
            mask = self.kept(input, shape, p)
            return input.mul_(mask) if inplace else input * mask

        return dropped

    def attention(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        """Stand for `scaled_dot_product_attention`; what it computes, written out."""
        if dropout_p <= 0.0 or not self.holds(query.shape, query.device):
            return _attention(
                query, key, value, attn_mask, dropout_p, is_causal, scale=scale,
                enable_gqa=enable_gqa,
            )  # fmt: skip
        if enable_gqa:
            key, value = (
                t.repeat_interleave(query.shape[-3] // t.shape[-3], -3) for t in (key, value)
            )
        scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
        scores = query @ key.transpose(-2, -1) * scale
        if is_causal:
            attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
        least = torch.finfo(scores.dtype).min
        if attn_mask is not None and attn_mask.dtype == torch.bool:
            scores = scores.masked_fill(attn_mask.logical_not(), least)
        elif attn_mask is not None:
            # a row of minus infinities alone would become NaN
            scores = scores + attn_mask.clamp(min=least)
        weights = scores.softmax(-1)
        return self.dropout(weights, dropout_p) @ value

    def rand(self, *size: Any, **options: Any) -> Tensor:
        """Stand for `torch.rand`."""
        shape = size[0] if len(size) == 1 and isinstance(size[0], Sequence) else size
        device = torch.device(options.get("device") or "cpu")
        is_plain = options.keys() <= {"dtype", "device"} and all(isinstance(n, int) for n in shape)
        if not is_plain or not self.holds(shape, device):
            return _rand(*size, **options)
        drawn = torch.empty(tuple(shape), **options)
        return self.fill(drawn, lambda row, g: row.uniform_(generator=g))

    def bernoulli_(self, tensor: Tensor, p: Any = 0.5, *, generator: Any = None) -> Tensor:
        """Stand for `Tensor.bernoulli_`."""
        is_plain = isinstance(p, float | int) and generator is None and tensor.is_contiguous()
        if not is_plain or not self.holds(tensor.shape, tensor.device):
            return _bernoulli_(tensor, p, generator=generator)
        return self.fill(tensor, lambda row, g: _bernoulli_(row, p, generator=g))
