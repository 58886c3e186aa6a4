"""In-batch negatives: of all candidates of the batch, an anchor must find its own positive."""

from __future__ import annotations

from torch import Tensor

from graft.objectives.info_nce_tiles import Contrast, in_tiles, whole
from graft.objectives.supervised_contrastive import as_temperature
from graft.objectives.tiles import TILE_NUMBERS

TILE_EDGE = 512
"""Rows and columns of a tile that is chosen here: 1 MB in float32, which a cache holds."""


def info_nce(
    anchors: Tensor,
    positives: Tensor,
    negatives: Tensor | None = None,
    *,
    temperature: float | Tensor = 0.05,
    distance: str = "cosine",
    symmetric: bool = False,
    ids: Tensor | None = None,
    negative_ids: Tensor | None = None,
    guard: float | None = None,
    block: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Return −log softmax of each anchor's positive among the positives and negatives of all.

    Requirements: pairs that belong together, in batches as big as may be: what is told apart are
    the pairs of a batch. Pairs of a batch that mean the same need equal `ids`, or a `guard`.

    | inputs | labels |
    |---|---|
    | anchor, positive | none |
    | anchor, positive, hard negatives | none |

    Relations: the multiple-negatives ranking loss; `symmetric`, with a learned temperature, it is
    CLIP's. `n_pair` is its form without length and temperature; `supervised_contrastive` that for
    classes; `triplet_margin` has no other negative than the given one.

    Args:
        anchors: (N, D).
        positives: (N, D), row i belongs to anchor i.
        negatives: (N, D), (N, M, D) or (M, D), hard negatives; each is a candidate of every anchor.
        temperature: τ > 0; or a tensor of one number, which gets its gradient: for a learned one
            give `log_temperature.exp()`.
        distance: a name of `DISTANCES`; the similarity is the distance with its sign turned.
        symmetric: also find each positive's anchor among the anchors; the loss is the mean of both.
        ids: (N,) integers, what the pair is about. Pairs with equal ones are not each other's
            negatives.
        negative_ids: one for each of `negatives`, which then are not set against an anchor of
            that id.
        guard: candidates more similar than the positive by more than this are left out as likely
            unknown positives; −0.05 also leaves out those hardly less similar, 0 what is more
            similar. In units of the similarity, before τ.
        block: edge of the tiles of the N × N matrix. By default `TILE_EDGE`, or the whole matrix
            if that is small.

    Returns:
        losses (N,) and weights (N,): 1, or 0 where there is nothing to tell the positive from, and
        the mean of those of both directions.

    Source: van den Oord et al. 2018, "Representation Learning with Contrastive Predictive Coding",
    equation 4; in both directions Radford et al. 2021, "Learning Transferable Visual Models From
    Natural Language Supervision", section 2.3.
    """
    tau = as_temperature(temperature, anchors)
    others = None if negatives is None else negatives.reshape(-1, anchors.shape[-1])
    if negative_ids is not None:
        negative_ids = negative_ids.reshape(-1)
    case = Contrast(distance, symmetric, ids, negative_ids, guard)
    n_entries = len(anchors) * (len(anchors) + (0 if others is None else len(others)))
    if block is None and n_entries <= TILE_NUMBERS:
        return whole(case, anchors, positives, others, tau)
    return in_tiles(case, anchors, positives, others, tau, block or TILE_EDGE)


def n_pair(
    anchors: Tensor, positives: Tensor, *, ids: Tensor | None = None, block: int | None = None
) -> tuple[Tensor, Tensor]:
    """Return log(1 + Σ_j exp(a·p_j − a·p)) over the positives p_j of all other pairs.

    Requirements: one pair of each class in a batch, or their classes as `ids`.

    | inputs | labels |
    |---|---|
    | anchor, positive | none |

    Relations: `info_nce` of inner products at a temperature of one.

    Args:
        anchors: (N, D), not normalised.
        positives: (N, D), not normalised.
        ids: (N,), as for `info_nce`.
        block: edge of the tiles, as for `info_nce`.

    Returns:
        losses (N,) and weights (N,), as `info_nce`.

    Source: Sohn 2016, "Improved Deep Metric Learning with Multi-class N-pair Loss Objective",
    section 3 (N-pair-mc), without its penalty on the length of embeddings, which keeps them from
    growing: add weight decay or a penalty of your own.
    """
    return info_nce(
        anchors, positives, temperature=1.0, distance="inner_product", ids=ids, block=block
    )
