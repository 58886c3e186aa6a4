"""Supervised contrastive loss: all items of a label are each other's positives."""

from __future__ import annotations

import torch
from torch import Tensor

from graft.objectives.distances import pairwise
from graft.objectives.pairs import log_sum_exp, same_label
from graft.objectives.tiles import by_rows


def supervised_contrastive(
    embeddings: Tensor,
    labels: Tensor,
    *,
    temperature: float | Tensor = 0.07,
    distance: str = "cosine",
    block: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Return −log softmax of each item's positives among all other items, averaged over them.

    Requirements: a batch with several items of a label: two views of each picture, or a sampler.

    | inputs | labels |
    |---|---|
    | one embedding | its class |

    Relations: with two items of each label it is SimCLR's NT-Xent loss; `info_nce` is its form for
    pairs, where anchors are not compared with anchors. `triplet` chooses among negatives.

    Args:
        embeddings: (N, D); views of one picture are rows with the same label.
        labels: (N,) classes.
        temperature: τ > 0, or a tensor of one number, which then gets its gradient.
        distance: a name of `DISTANCES`; the similarity is the distance with its sign turned.
        block: rows at a time, see `by_rows`.

    Returns:
        losses (N,) and weights (N,): 1, or 0 for an item that is alone with its label.

    Source: Khosla et al. 2020, "Supervised Contrastive Learning", equation 2 (L_out).
    """

    def loss_of_rows(rows: slice, x: Tensor, tau: Tensor) -> tuple[Tensor, Tensor]:
        logits = -pairwise(x[rows], x, distance) / tau
        positives = same_label(labels, rows)
        places = torch.arange(len(x), device=x.device)
        all_others = log_sum_exp(logits, places[rows, None] != places)
        n_positives = positives.sum(1)
        own = logits.masked_fill(~positives, 0).sum(1) / n_positives.clamp_min(1)
        holds = n_positives > 0
        return (all_others - own).masked_fill(~holds, 0), holds.to(own.dtype)

    tau = as_temperature(temperature, embeddings)
    return by_rows(loss_of_rows, embeddings, tau, block=block)


def as_temperature(temperature: float | Tensor, embeddings: Tensor) -> Tensor:
    """Return a temperature as a tensor of no dimension where the embeddings are."""
    kind = torch.float64 if embeddings.dtype == torch.float64 else torch.float32
    return torch.as_tensor(temperature, dtype=kind, device=embeddings.device).reshape(())
