"""Triplet loss: an anchor's positive must be nearer than its negative, by a margin."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from graft.errors import InputError, UnknownName
from graft.objectives.distances import elementwise, pairwise
from graft.objectives.pairs import (
    distance_weighted,
    hardest,
    other_label,
    pair_draws,
    same_label,
    semi_hard,
)
from graft.objectives.tiles import by_rows

MINING = {
    "all": "every triplet (batch all)",
    "active": "every triplet whose loss is not zero (batch all ≠ 0)",
    "hard": "the farthest positive and the nearest negative of each anchor (batch hard)",
    "semi_hard": "for each pair the nearest negative farther than the positive, in the margin",
    "distance_weighted": "for each pair a negative drawn evenly over distances; needs a seed",
}
"""name → which triplets of a batch count."""


def triplet_margin(
    anchors: Tensor,
    positives: Tensor,
    negatives: Tensor,
    *,
    margin: float | None = 0.2,
    distance: str = "euclidean",
) -> tuple[Tensor, Tensor]:
    """Return max(0, d(a, p) − d(a, n) + margin) of triplets that are given.

    Requirements: triplets. Most data are better served by `triplet`, which finds them, or by
    `info_nce` with negatives, which sets each anchor against those of all others too.

    | inputs | labels |
    |---|---|
    | anchor, positive, negative | none |

    Relations: `triplet` for labelled items; without a margin and with `inner_product` it is
    `info_nce` with one negative and a temperature of one.

    Args:
        anchors: (N, D).
        positives: (N, D).
        negatives: (N, D).
        margin: in units of the distance; None for the soft margin log(1 + exp(d(a, p) − d(a, n))).
        distance: a name of `DISTANCES`.

    Returns:
        losses (N,) and weights of one (N,).

    Source: Schroff et al. 2015, "FaceNet", equation 3, with `squared_euclidean`; the soft margin is
    of Hermans et al. 2017, section 2.
    """
    near = elementwise(anchors, positives, distance)
    losses = _hinge(near - elementwise(anchors, negatives, distance), margin)
    return losses, losses.new_ones(len(losses))


def triplet(
    embeddings: Tensor,
    labels: Tensor,
    *,
    mining: str = "hard",
    margin: float | None = 0.2,
    distance: str = "euclidean",
    seed: int | None = None,
    block: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the triplet loss of each item as the anchor, over the triplets that are mined.

    Requirements: a batch with several items of a label and several labels.

    | inputs | labels |
    |---|---|
    | one embedding | its class |

    Relations: `supervised_contrastive` weighs all negatives by a softmax instead of choosing;
    `proxy_anchor` needs no two items of a label in a batch.

    Args:
        embeddings: (N, D).
        labels: (N,) classes.
        mining: a name of `MINING`.
        margin: in units of the distance; None for the soft margin, which needs a negative of its
            own for each anchor or pair, so not with `all` and `active`.
        distance: a name of `DISTANCES`. `distance_weighted` draws by directions whichever it is.
        seed: of what `distance_weighted` draws; the same seed draws the same again.
        block: rows at a time, see `by_rows`.

    Returns:
        losses (N,), sums over the anchor's triplets, and weights (N,), how many they are.

    Raises:
        UnknownName: `MINING` or `DISTANCES` has no such name.
        InputError: a seed is missing, or there is no margin where it takes one.

    Source: Hermans et al. 2017, "In Defense of the Triplet Loss for Person Re-Identification",
    section 2 (all, active, hard, soft margin); Schroff et al. 2015, equation 4 (semi-hard); Wu et
    al. 2017, section 4.1 (distance-weighted). Batch all is computed from sorted negatives and their
    cumulated sums, in N log N for each anchor: the N³ triplets are never listed.
    """
    _check(mining, margin, seed)
    draws = None if seed is None else pair_draws(len(labels), seed, labels.device)

    def loss_of_rows(rows: slice, x: Tensor) -> tuple[Tensor, Tensor]:
        d = pairwise(x[rows], x, distance)
        positives, negatives = same_label(labels, rows), other_label(labels, rows)
        if not d.numel():
            return d.sum(1), d.sum(1)
        if margin is not None and mining in ("all", "active"):
            return _every_triplet(d, positives, negatives, margin, only_active=mining == "active")
        if mining == "hard":
            p, n, holds = hardest(d, positives, negatives)
            losses = _hinge(d.gather(1, p[:, None]) - d.gather(1, n[:, None]), margin)[:, 0]
            return losses.masked_fill(~holds, 0), holds.to(d.dtype)
        if mining == "semi_hard":
            n, holds = semi_hard(d, positives, negatives, math.inf if margin is None else margin)
        else:
            assert draws is not None
            uniform = (draws[0][rows, None] + draws[1]) % 1
            with torch.no_grad():
                turned = pairwise(x[rows], x, "cosine")
            n, holds = distance_weighted(turned, positives, negatives, uniform, x.shape[1])
        losses = _hinge(d - d.gather(1, n), margin).masked_fill(~holds, 0)
        return losses.sum(1), holds.sum(1).to(d.dtype)

    return by_rows(loss_of_rows, embeddings, block=block)


def _check(mining: str, margin: float | None, seed: int | None) -> None:
    if mining not in MINING:
        raise UnknownName("mining", mining, MINING)
    if margin is None and mining in ("all", "active"):
        raise InputError(f"triplets mined by `{mining}` take no soft margin: give margin a number")
    if mining == "distance_weighted" and seed is None:
        raise InputError("triplets mined by `distance_weighted` are drawn: give a seed")


def _hinge(differences: Tensor, margin: float | None) -> Tensor:
    if margin is None:
        return functional.softplus(differences)
    return (differences + margin).clamp_min(0)


def _every_triplet(
    d: Tensor, positives: Tensor, negatives: Tensor, margin: float, *, only_active: bool
) -> tuple[Tensor, Tensor]:
    """Return the sum over all triplets of each anchor (B,), and their number (B,).

    Of a pair with d(a, p) + margin = t, the k negatives nearer than t have the sum k t − Σ d(a, n).
    """
    limits = d + margin
    ordered = d.masked_fill(~negatives, math.inf).sort(1).values
    nearer = torch.searchsorted(ordered.detach(), limits.detach())
    sums = functional.pad(ordered.masked_fill(ordered.isinf(), 0).cumsum(1), (1, 0))
    each = limits * nearer - sums.gather(1, nearer)
    losses = each.masked_fill(~positives, 0).sum(1)
    if only_active:
        return losses, nearer.masked_fill(~positives, 0).sum(1).to(d.dtype)
    return losses, (positives.sum(1) * negatives.sum(1)).to(d.dtype)
