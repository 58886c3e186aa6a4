"""Matryoshka: the first numbers of an embedding must do the work of all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from graft.errors import InputError

Objective = Callable[..., tuple[Tensor, Tensor]]


def matryoshka(
    objective: Objective, dims: Sequence[int], *, dim_weights: Sequence[float] | None = None
) -> Objective:
    """Return the objective averaged over embeddings cut to their first so many numbers.

    What is cut is every floating tensor of two or more dimensions that is as wide as the first
    argument: anchors, positives, negatives, proxies, centers. Labels, scores, ids and temperatures
    go through as they are.

    >>> from graft.objectives.info_nce import info_nce
    >>> nested = matryoshka(info_nce, (64, 128, 384))

    Args:
        objective: any that takes embeddings first.
        dims: widths, each at most that of the embeddings; name the full one too if it is to count.
        dim_weights: c ≥ 0 for each width; only their ratios matter. Equal by default.

    Returns:
        a function of the same arguments. Its losses and weights are the averages over widths, so
        that their quotient is the weighted mean of the means wherever an item weighs the same
        at each width.

    Raises:
        InputError: there is no width, one that is not positive or is wider than the embeddings
            (when called), or the numbers of weights and widths differ.

    Source: Kusupati et al. 2022, "Matryoshka Representation Learning", equation 1, with weights
    that sum to one where the authors have each one.
    """
    shares = [1.0] * len(dims) if dim_weights is None else list(dim_weights)
    if not dims or min(dims) < 1 or len(shares) != len(dims) or min(shares) < 0 or not sum(shares):
        raise InputError(
            f"matryoshka dims {list(dims)[:8]} with {len(shares)} weights: "
            "give one or more positive widths, and a weight for each or none"
        )

    def nested(*arguments: Any, **options: Any) -> tuple[Tensor, Tensor]:
        full = arguments[0].shape[-1]
        if max(dims) > full:
            raise InputError(f"matryoshka dim {max(dims)}: embeddings have only {full} numbers")
        losses, weights = [], []
        for dim, share in zip(dims, shares, strict=True):
            cut = [_cut(x, full, dim) for x in arguments]
            found = objective(*cut, **{name: _cut(x, full, dim) for name, x in options.items()})
            losses.append(found[0] * (share / sum(shares)))
            weights.append(found[1] * (share / sum(shares)))
        return torch.stack(losses).sum(0), torch.stack(weights).sum(0)

    return nested


def _cut(argument: Any, full: int, dim: int) -> Any:
    if isinstance(argument, Tensor) and argument.ndim > 1 and argument.is_floating_point():
        return argument[..., :dim] if argument.shape[-1] == full else argument
    return argument
