"""Center loss: items gather about the center of their class, which follows them.

Centers are the caller's: kept as a buffer and moved by `updated_centers`, as in the paper, or as a
parameter that the optimiser moves by the gradient of `center`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from graft.objectives.distances import elementwise, wide
from graft.objectives.margin_softmax import softmax_loss


def center(embeddings: Tensor, labels: Tensor, centers: Tensor) -> tuple[Tensor, Tensor]:
    """Return half the squared distance of each item to the center of its class.

    Requirements: another loss beside it, as alone all embeddings may fall into one point.

    | inputs | labels |
    |---|---|
    | one embedding | its class |

    Relations: `softmax_with_center` joins it with what keeps classes apart; `proxy_nca` does both
    with one set of vectors.

    Args:
        embeddings: (N, D).
        labels: (N,) classes.
        centers: (C, D); a buffer gets no gradient, a parameter does.

    Returns:
        losses (N,) and weights of one (N,).

    Source: Wen et al. 2016, "A Discriminative Feature Learning Approach for Deep Face Recognition",
    equation 2.
    """
    losses = elementwise(embeddings, centers[labels], "squared_euclidean") / 2
    return losses, losses.new_ones(len(losses))


@torch.no_grad()
def updated_centers(
    embeddings: Tensor, labels: Tensor, centers: Tensor, *, step: float = 0.5
) -> Tensor:
    """Return the centers after one batch; those given are not changed.

    c_j moves by −α Δc_j, with Δc_j = Σ_i δ(y_i = j) (c_j − x_i) / (1 + Σ_i δ(y_i = j)). A class
    that the batch lacks stays; the one in the denominator keeps few items from tearing a center
    away. Give the items of a whole step at once: micro-batches one after the other move further.

    Args:
        embeddings: (N, D).
        labels: (N,) classes.
        centers: (C, D).
        step: α, 0 to 1.

    Returns:
        new centers (C, D), of the same dtype.

    Source: Wen et al. 2016, equation 4 and algorithm 1.
    """
    kept = wide(centers)
    counts = torch.bincount(labels, minlength=len(centers)).to(kept.dtype)[:, None]
    sums = torch.zeros_like(kept).index_add_(0, labels, wide(embeddings).to(kept.dtype))
    return (kept - step * (counts * kept - sums) / (1 + counts)).to(centers.dtype)


def softmax_with_center(
    embeddings: Tensor,
    labels: Tensor,
    class_vectors: Tensor,
    centers: Tensor,
    *,
    bias: Tensor | None = None,
    center_weight: float = 0.003,
) -> tuple[Tensor, Tensor]:
    """Return the softmax loss on embeddings plus λ times the center loss.

    Requirements: as `softmax_loss`.

    | inputs | labels |
    |---|---|
    | one embedding | its class |

    Relations: the sum of `softmax_loss` and `center`.

    Args:
        embeddings: (N, D).
        labels: (N,) classes.
        class_vectors: (C, D) of the softmax.
        centers: (C, D), see `center`.
        bias: (C,), or none.
        center_weight: λ; the authors found 0.003 best.

    Returns:
        losses (N,) and weights of one (N,).

    Source: Wen et al. 2016, equation 5.
    """
    apart, weights = softmax_loss(embeddings, labels, class_vectors, bias=bias)
    return apart + center_weight * center(embeddings, labels, centers)[0], weights
