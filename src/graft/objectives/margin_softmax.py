"""Softmax losses on embeddings: plain, by cosines, and with a margin for the own class.

The class vectors are learned: a task keeps them beside the model and gives them in.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from graft.objectives.cross_entropy import cross_entropy
from graft.objectives.distances import pairwise, wide


def softmax_loss(
    embeddings: Tensor,
    labels: Tensor,
    class_vectors: Tensor,
    *,
    bias: Tensor | None = None,
    scale: float | Tensor | None = None,
    class_weights: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Return the cross-entropy of a linear classifier on embeddings.

    Requirements: classes known beforehand, few enough for N × C numbers.

    | inputs | labels |
    |---|---|
    | one embedding | its class |

    Relations: with a scale it is `cosface` and `arcface` without margin; `softmax_with_center` adds
    `center`.

    Args:
        embeddings: (N, D).
        labels: (N,) classes, or (N, C) distributions.
        class_vectors: (C, D).
        bias: (C,), or none.
        scale: None for inner products; s > 0 for s times the cosine, of which a softmax over many
            classes needs a large one.
        class_weights: (C,), as for `cross_entropy`.
        label_smoothing: as for `cross_entropy`.

    Returns:
        losses (N,), already weighted, and weights (N,).

    Source: by cosines Wang et al. 2017, "NormFace: L2 Hypersphere Embedding for Face Verification".
    """
    if scale is None:
        logits = -pairwise(embeddings, class_vectors, "inner_product")
    else:
        logits = scale * _cosines(embeddings, class_vectors)
    if bias is not None:
        logits = logits + wide(bias)
    return cross_entropy(
        logits, labels, class_weights=class_weights, label_smoothing=label_smoothing
    )


def cosface(
    embeddings: Tensor,
    labels: Tensor,
    class_vectors: Tensor,
    *,
    margin: float = 0.35,
    scale: float | Tensor = 64.0,
) -> tuple[Tensor, Tensor]:
    """Return the cross-entropy of s cos θ, where the own class has s (cos θ − m).

    Requirements: as `softmax_loss`, and several items of each class in the data.

    | inputs | labels |
    |---|---|
    | one embedding | its class |

    Relations: `arcface` takes its margin from the angle; `softmax_loss` with a scale has none.

    Args:
        embeddings: (N, D).
        labels: (N,) classes.
        class_vectors: (C, D).
        margin: m, in units of the cosine.
        scale: s.

    Returns:
        losses (N,) and weights of one (N,).

    Source: Wang et al. 2018, "CosFace: Large Margin Cosine Loss for Deep Face Recognition",
    equation 4.
    """
    cosines = _cosines(embeddings, class_vectors)
    own = functional.one_hot(labels, len(class_vectors)).to(cosines.dtype)
    return cross_entropy(scale * (cosines - margin * own), labels)


def arcface(
    embeddings: Tensor,
    labels: Tensor,
    class_vectors: Tensor,
    *,
    margin: float = 0.5,
    scale: float | Tensor = 64.0,
    easy_margin: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return the cross-entropy of s cos θ, where the own class has s cos(θ + m).

    Requirements: as `cosface`.

    | inputs | labels |
    |---|---|
    | one embedding | its class |

    Relations: `cosface`, whose margin does not depend on the angle.

    Args:
        embeddings: (N, D).
        labels: (N,) classes.
        class_vectors: (C, D).
        margin: m in radians, 0 to π.
        scale: s.
        easy_margin: give the margin only to items within 90° of their class vector.

    Returns:
        losses (N,) and weights of one (N,).

    Source: Deng et al. 2019, "ArcFace: Additive Angular Margin Loss for Deep Face Recognition",
    equation 3. Where θ + m passes π, cos(θ + m) would grow again; there the own class has
    cos θ − m sin m, as in the authors' code. cos(θ + m) is cos θ cos m − sin θ sin m: no arc cosine
    is taken, and where sin θ is zero its infinite derivative is replaced by zero.
    """
    cosines = _cosines(embeddings, class_vectors)
    own = cosines.gather(1, labels[:, None])
    squares = (1 - own.square()).clamp_min(torch.finfo(own.dtype).eps)
    turned = own * math.cos(margin) - squares.sqrt() * math.sin(margin)
    if easy_margin:
        turned = torch.where(own > 0, turned, own)
    else:
        turned = torch.where(own > -math.cos(margin), turned, own - margin * math.sin(margin))
    return cross_entropy(scale * cosines.scatter(1, labels[:, None], turned), labels)


def _cosines(embeddings: Tensor, class_vectors: Tensor) -> Tensor:
    return 1 - pairwise(embeddings, class_vectors, "cosine")
