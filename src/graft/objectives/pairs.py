"""Which rows of a batch make pairs, and which negative a pair is set against.

Everything takes a block of B rows of the N × N matrix, so that it serves in tiles: `rows` is the
slice of anchors, columns are all N items. Masks are bool; choices carry no gradient.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

SPREAD_CLOSEST = 0.5
"""Negatives nearer than this are drawn as if they were so far: the λ of Wu et al. as they set it,
or noise at small distances would be drawn far too often."""

SPREAD_FARTHEST = 1.4
"""Negatives beyond are not drawn while a nearer one exists, also as in the authors' code: their
loss is zero and the density's inverse grows without bound towards the opposite pole."""


def same_label(labels: Tensor, rows: slice) -> Tensor:
    """Return the mask (B, N) of other items with the anchor's label; `labels` is (N,)."""
    places = torch.arange(len(labels), device=labels.device)
    return (labels[rows, None] == labels) & (places[rows, None] != places)


def other_label(labels: Tensor, rows: slice) -> Tensor:
    """Return the mask (B, N) of items with another label; `labels` is (N,)."""
    return labels[rows, None] != labels


def log_sum_exp(values: Tensor, mask: Tensor, dim: int = 1) -> Tensor:
    """Return log Σ exp over what the mask keeps; the lowest number, without gradient, for nothing.

    A lowest number instead of −∞ keeps gradients from being NaN; `is_some` tells it.
    """
    return values.masked_fill(~mask, torch.finfo(values.dtype).min).logsumexp(dim)


def is_some(log_sums: Tensor) -> Tensor:
    """Return where `log_sum_exp` had something to sum."""
    return log_sums > torch.finfo(log_sums.dtype).min / 2


@torch.no_grad()
def hardest(
    distances: Tensor, positives: Tensor, negatives: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Choose for each anchor the farthest positive and the nearest negative.

    Args:
        distances: (B, N).
        positives: (B, N) mask.
        negatives: (B, N) mask.

    Returns:
        column of the positive (B,), of the negative (B,), and whether the anchor has both (B,).

    Source: Hermans et al. 2017, "In Defense of the Triplet Loss", section 2, batch hard.
    """
    farthest = distances.masked_fill(~positives, -math.inf).argmax(1)
    nearest = distances.masked_fill(~negatives, math.inf).argmin(1)
    return farthest, nearest, positives.any(1) & negatives.any(1)


@torch.no_grad()
def semi_hard(
    distances: Tensor, positives: Tensor, negatives: Tensor, margin: float
) -> tuple[Tensor, Tensor]:
    """Choose for each pair the nearest negative that is farther than the positive.

    It must lie within the margin; a pair without such a negative makes no triplet.

    Args:
        distances: (B, N).
        positives: (B, N) mask of pairs.
        negatives: (B, N) mask.
        margin: how much farther it may lie; infinity for no bound.

    Returns:
        column of each pair's negative (B, N) and whether the pair has one (B, N).

    Source: Schroff et al. 2015, "FaceNet", section 3.2, equation 4.
    """
    ordered, columns = distances.masked_fill(~negatives, math.inf).sort(1)
    # the first that is strictly farther
    place = torch.searchsorted(ordered, distances.contiguous(), right=True)
    place = place.clamp_max(distances.shape[1] - 1)
    found = ordered.gather(1, place)
    within = (found > distances) & (found < distances + margin) & found.isfinite()
    return columns.gather(1, place), positives & within


@torch.no_grad()
def distance_weighted(
    cosine_distances: Tensor, positives: Tensor, negatives: Tensor, draws: Tensor, width: int
) -> tuple[Tensor, Tensor]:
    """Draw for each pair a negative, all distances to the anchor being about equally likely.

    On the unit sphere in D dimensions distances have the density
    q(d) ∝ d^(D−2) (1 − d²/4)^((D−3)/2); a negative is drawn with a probability ∝ 1 / q(d), bounded
    by `SPREAD_CLOSEST` and `SPREAD_FARTHEST`. Where all lie beyond, each is as likely.

    Args:
        cosine_distances: (B, N).
        positives: (B, N) mask of pairs.
        negatives: (B, N) mask.
        draws: (B, N) uniform in [0, 1), one for each pair.
        width: D.

    Returns:
        column of each pair's negative (B, N) and whether the pair has one (B, N).

    Source: Wu et al. 2017, "Sampling Matters in Deep Embedding Learning", section 4.1.
    """
    d = (2 * cosine_distances.double()).clamp_min(0).sqrt()
    near = d.clamp(SPREAD_CLOSEST, SPREAD_FARTHEST)
    log_weights = (2 - width) * near.log() - (width - 3) / 2 * torch.log1p(-near.square() / 4)
    drawable = negatives & (d < SPREAD_FARTHEST)
    nowhere = ~drawable.any(1, keepdim=True)
    log_weights = log_weights.masked_fill(nowhere, 0).masked_fill(
        ~torch.where(nowhere, negatives, drawable), -math.inf
    )
    sums = torch.softmax(log_weights, 1).cumsum(1)
    ends = sums[:, -1:]
    # below the last sum, so that the column found is one with a share
    aims = torch.minimum(draws * ends, torch.nextafter(ends, torch.zeros_like(ends)))
    column = torch.searchsorted(sums, aims, right=True).clamp_max(d.shape[1] - 1)
    return column, positives & negatives.any(1, keepdim=True)


def pair_draws(n: int, seed: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return two rows of n uniform numbers; those of a pair are (one's + the other's) mod 1.

    Any two pairs' sums are independent, and no N × N table of numbers has to be kept for a block
    to be the same a second time.
    """
    generator = torch.Generator().manual_seed(seed)
    first, second = torch.rand(2, n, generator=generator, dtype=torch.float64).to(device)
    return first, second
