"""Distances between embeddings: small is near, whichever is chosen.

A similarity is a distance with its sign turned: that of `cosine` is the cosine less one, and a
softmax does not see the one. Everything here computes in float32 at least, under autocast too:
divided by a temperature of 0.01 a cosine in bfloat16 would be wrong by half a unit.

Each with each, Euclidean distances come from matrix products. In float32 those below about 3e-4 of
the vectors' lengths are rounding noise; row with row they are exact.

Quantities: N and M embeddings, D their width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from graft.errors import UnknownName


@dataclass(frozen=True)
class Distance:
    """Hold one distance in both of its forms.

    Args:
        summary: what it is, in one line.
        every: (N, D), (M, D) → (N, M), each with each.
        each: (…, D), (…, D) → (…), row with row.
    """

    summary: str
    every: Callable[[Tensor, Tensor], Tensor]
    each: Callable[[Tensor, Tensor], Tensor]


def pairwise(first: Tensor, second: Tensor, distance: str = "euclidean") -> Tensor:
    """Return the distance of each embedding to each.

    Args:
        first: (N, D).
        second: (M, D).
        distance: a name of `DISTANCES`.

    Returns:
        (N, M), float32 or float64.

    Raises:
        UnknownName: `DISTANCES` has no such name.
    """
    with torch.autocast(first.device.type, enabled=False):
        return find_distance(distance).every(wide(first), wide(second))


def elementwise(first: Tensor, second: Tensor, distance: str = "euclidean") -> Tensor:
    """Return the distance of each embedding to the one in the same place.

    Args:
        first: (…, D).
        second: (…, D).
        distance: a name of `DISTANCES`.

    Returns:
        (…), float32 or float64.

    Raises:
        UnknownName: `DISTANCES` has no such name.
    """
    with torch.autocast(first.device.type, enabled=False):
        return find_distance(distance).each(wide(first), wide(second))


def find_distance(name: str) -> Distance:
    """Return a distance by its name."""
    if name not in DISTANCES:
        raise UnknownName("distance", name, DISTANCES)
    return DISTANCES[name]


def wide(tensor: Tensor) -> Tensor:
    """Return a tensor in float32, or float64 if it is that already."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def unit(embeddings: Tensor) -> Tensor:
    """Return embeddings (…, D) of length one; one of length zero stays, with a gradient of zero."""
    embeddings = wide(embeddings)
    squares = embeddings.square().sum(-1, keepdim=True)
    zero = squares == 0
    return (embeddings * squares.masked_fill(zero, 1).rsqrt()).masked_fill(zero, 0)


def _root(squares: Tensor) -> Tensor:
    """Return the square root, whose gradient at zero is taken as zero instead of infinity."""
    zero = squares == 0
    return squares.masked_fill(zero, 1).sqrt().masked_fill(zero, 0)


def _every_square(first: Tensor, second: Tensor) -> Tensor:
    # squares of lengths cancel; about their mean they are smallest, and no distance changes
    middle = second.detach().mean(0)
    first, second = first - middle, second - middle
    lengths = first.square().sum(1)[:, None] + second.square().sum(1)
    return torch.addmm(lengths, first, second.T, alpha=-2).clamp_min(0)


def _each_square(first: Tensor, second: Tensor) -> Tensor:
    return (first - second).square().sum(-1)


DISTANCES = {
    "euclidean": Distance(
        "length of the difference",
        lambda x, y: _root(_every_square(x, y)),
        lambda x, y: _root(_each_square(x, y)),
    ),
    "squared_euclidean": Distance(
        "its square; of unit vectors twice the cosine distance", _every_square, _each_square
    ),
    "cosine": Distance(
        "one less the cosine, 0 to 2; 1 from a vector of length zero",
        lambda x, y: 1 - unit(x) @ unit(y).T,
        lambda x, y: 1 - (unit(x) * unit(y)).sum(-1),
    ),
    "inner_product": Distance(
        "the inner product with its sign turned; may be negative",
        lambda x, y: -(x @ y.T),
        lambda x, y: -(x * y).sum(-1),
    ),
}
"""name → both forms of the distance. They need no softmax to agree: `a < b` means nearer in all."""
