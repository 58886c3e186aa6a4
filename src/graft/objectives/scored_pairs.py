"""Losses of pairs with a score: how alike two things are, in degrees."""

from __future__ import annotations

import torch
from torch import Tensor

from graft.objectives.distances import elementwise


def cosine_regression(first: Tensor, second: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    """Return the squared difference of each pair's cosine and its score.

    Requirements: scores on the scale of cosines, 0 to 1 or −1 to 1; divide others before.

    | inputs | labels |
    |---|---|
    | two embeddings | how alike they are |

    Relations: `cosent` asks for the order of scores alone; `contrastive` is for yes and no.

    Args:
        first: (N, D).
        second: (N, D).
        scores: (N,).

    Returns:
        losses (N,) and weights of one (N,).

    Source: Reimers and Gurevych 2019, "Sentence-BERT", section 3, regression objective.
    """
    cosines = 1 - elementwise(first, second, "cosine")
    losses = (cosines - scores.to(cosines.dtype)).square()
    return losses, losses.new_ones(len(losses))


def cosent(
    first: Tensor, second: Tensor, scores: Tensor, *, scale: float | Tensor = 20.0
) -> tuple[Tensor, Tensor]:
    """Return log(1 + Σ exp(λ (cos_j − cos_i))) over all i, j with score_i > score_j.

    Requirements: scores of which the order is right; batches in which they differ.

    | inputs | labels |
    |---|---|
    | two embeddings | how alike they are |

    Relations: `cosine_regression` asks for the scores themselves.

    Args:
        first: (N, D).
        second: (N, D).
        scores: (N,), on any scale; pairs of equal ones are not compared.
        scale: λ.

    Returns:
        losses (N,), the batch's one loss for each of its items, and weights (N,): 1, or all 0 where
        all scores are equal.

    Source: Su 2022, "CoSENT", on kexue.fm. Sorted by score, what lies below an item is a cumulated
    sum, so the N² comparisons take N log N.
    """
    order = scores.argsort()
    ordered = scores[order].contiguous()
    logits = scale * (1 - elementwise(first, second, "cosine"))[order]
    if not len(logits):
        return logits, logits.detach()
    n_below = torch.searchsorted(ordered, ordered)
    below = torch.logcumsumexp(logits, 0)[(n_below - 1).clamp_min(0)]
    pairs = (below - logits).masked_fill(n_below == 0, torch.finfo(logits.dtype).min)
    loss = torch.logsumexp(torch.cat([pairs, pairs.new_zeros(1)]), 0)
    weights = torch.full_like(logits.detach(), float(ordered[0] != ordered[-1]))
    return loss * weights, weights
