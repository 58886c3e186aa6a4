"""Contrastive loss: pull pairs together, push others beyond a margin."""

from __future__ import annotations

from torch import Tensor

from graft.objectives.distances import elementwise, pairwise
from graft.objectives.pairs import other_label, same_label
from graft.objectives.tiles import by_rows


def contrastive(
    first: Tensor,
    second: Tensor,
    same: Tensor,
    *,
    margin: float = 1.0,
    distance: str = "euclidean",
) -> tuple[Tensor, Tensor]:
    """Return ½ d² of each pair that belongs together and ½ max(0, margin − d)² of each other.

    Requirements: pairs with a yes or no. The margin is in units of the distance; 0.5 suits
    `cosine`.

    | inputs | labels |
    |---|---|
    | two embeddings | 1 if they belong together, 0 if not |

    Relations: `contrastive_all_pairs` makes the pairs from labels; `cosine_regression` and `cosent`
    take degrees instead of yes and no; `info_nce` needs the yes alone.

    Args:
        first: (N, D).
        second: (N, D).
        same: (N,), 1 or 0; a number between weighs both terms.
        margin: beyond it pairs that do not belong together are left alone.
        distance: a name of `DISTANCES`.

    Returns:
        losses (N,) and weights of one (N,).

    Source: Hadsell et al. 2006, "Dimensionality Reduction by Learning an Invariant Mapping",
    equation 4, where Y is `1 − same`. Two different items in the very same point have no direction
    to part in: the gradient is zero there.
    """
    near, far = _terms(elementwise(first, second, distance), margin)
    same = same.to(near.dtype)
    losses = same * near + (1 - same) * far
    return losses, losses.new_ones(len(losses))


def contrastive_all_pairs(
    embeddings: Tensor,
    labels: Tensor,
    *,
    margin: float = 1.0,
    distance: str = "euclidean",
    block: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the contrastive loss of each item, summed over its pairs with all others.

    Requirements: a batch with several items of a label; draw it so, as most pairs are of unlike
    items.

    | inputs | labels |
    |---|---|
    | one embedding | its class |

    Relations: `contrastive` on N (N − 1) pairs, in the memory of a few rows of them.

    Args:
        embeddings: (N, D).
        labels: (N,) classes.
        margin: beyond it unlike pairs are left alone.
        distance: a name of `DISTANCES`.
        block: rows at a time, see `by_rows`.

    Returns:
        losses (N,), sums over the item's pairs, and weights (N,), how many they are: N − 1.

    Source: as `contrastive`.
    """

    def loss_of_rows(rows: slice, x: Tensor) -> tuple[Tensor, Tensor]:
        near, far = _terms(pairwise(x[rows], x, distance), margin)
        positives, negatives = same_label(labels, rows), other_label(labels, rows)
        losses = near.masked_fill(~positives, 0) + far.masked_fill(~negatives, 0)
        return losses.sum(1), (positives | negatives).sum(1).to(losses.dtype)

    return by_rows(loss_of_rows, embeddings, block=block)


def _terms(distances: Tensor, margin: float) -> tuple[Tensor, Tensor]:
    return distances.square() / 2, (margin - distances).clamp_min(0).square() / 2
