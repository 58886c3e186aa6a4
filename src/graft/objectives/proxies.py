"""Proxy losses: each class has a learned vector, its proxy, to which items are compared.

A batch then needs no two items of a class. The proxies are the caller's, learned with the model,
usually at a rate a hundred times as high.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from graft.objectives.distances import pairwise, unit
from graft.objectives.pairs import is_some, log_sum_exp


def proxy_nca(
    embeddings: Tensor, labels: Tensor, proxies: Tensor, *, scale: float | Tensor = 1.0
) -> tuple[Tensor, Tensor]:
    """Return d(x, own proxy) + log Σ exp(−d(x, other proxy)), with d squared on the unit sphere.

    Requirements: classes known beforehand.

    | inputs | labels |
    |---|---|
    | one embedding | its class |

    Relations: with the own proxy in the sum it is ProxyNCA++, which is `softmax_loss` with a scale
    of two over its temperature. The loss may be negative, as the own proxy is not in the sum.

    Args:
        embeddings: (N, D), normalised here.
        labels: (N,) classes.
        proxies: (C, D), normalised here.
        scale: by which distances are multiplied; 1 in the paper, often 8 to 32.

    Returns:
        losses (N,) and weights (N,): 1, or 0 where there is no other proxy.

    Source: Movshovitz-Attias et al. 2017, "No Fuss Distance Metric Learning using Proxies",
    section 3 and algorithm 1.
    """
    d = scale * pairwise(unit(embeddings), unit(proxies), "squared_euclidean")
    own = functional.one_hot(labels, len(proxies)).bool()
    others = log_sum_exp(-d, ~own)
    holds = is_some(others)
    losses = d.gather(1, labels[:, None])[:, 0] + others
    return losses.masked_fill(~holds, 0), holds.to(losses.dtype)


def proxy_anchor(
    embeddings: Tensor,
    labels: Tensor,
    proxies: Tensor,
    *,
    scale: float = 32.0,
    margin: float = 0.1,
) -> tuple[Tensor, Tensor]:
    """Return the proxy-anchor loss, each proxy's terms spread evenly over the items they are of.

    A proxy with positives X⁺ in the batch and negatives X⁻ has the terms
    log(1 + Σ_{x ∈ X⁺} exp(−α (s(x, p) − δ))) and log(1 + Σ_{x ∈ X⁻} exp(α (s(x, p) + δ))).

    Requirements: classes known beforehand; batches of more than a few items.

    | inputs | labels |
    |---|---|
    | one embedding | its class |

    Relations: `proxy_nca` has items as anchors, so that the items of a batch do not see each other.

    Args:
        embeddings: (N, D).
        labels: (N,) classes.
        proxies: (C, D).
        scale: α.
        margin: δ, in units of the cosine s.

    Returns:
        losses (N,), whose mean is the batch's loss, and weights of one (N,).

    Source: Kim et al. 2020, "Proxy Anchor Loss for Deep Metric Learning", equation 4. It is a mean
    over proxies; an item's part here is an equal share of the terms that it is in, times N.
    """
    similarity = 1 - pairwise(embeddings, proxies, "cosine")
    n, c = similarity.shape
    own = functional.one_hot(labels, c).bool()
    parts = similarity.new_zeros(n, c)
    n_present = own.any(0).sum()
    for mask, logits, n_proxies in (
        (own, -scale * (similarity - margin), n_present),
        (~own, scale * (similarity + margin), torch.full_like(n_present, c)),
    ):
        terms = functional.softplus(log_sum_exp(logits, mask, dim=0))
        shares = mask / (mask.sum(0).clamp_min(1) * n_proxies.clamp_min(1))
        parts = parts + n * shares.to(terms.dtype) * terms
    losses = parts.sum(1)
    return losses, losses.new_ones(n)
