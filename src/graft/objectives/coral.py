"""Correlation alignment: two domains whose features vary in the same way."""

from __future__ import annotations

import torch
from torch import Tensor

from graft.objectives.distances import wide


def coral(source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the squared distance of the two domains' covariances, the same for every item.

    ‖C_S − C_T‖² / 4 D², by the Frobenius norm, with C = (XᵀX − (1ᵀX)ᵀ(1ᵀX) / n) / (n − 1).

    Requirements: batches of more items than a few; two or more of each domain.

    | inputs | labels |
    |---|---|
    | features of one domain, and of the other | none |

    Relations: `mmd` compares all moments, and so the means too, which this one does not see.

    Args:
        source: (N, D).
        target: (M, D).

    Returns:
        losses (N,), whose mean is the batch's loss, and weights of one (N,).

    Source: Sun and Saenko 2016, "Deep CORAL: Correlation Alignment for Deep Domain Adaptation",
    equations 1 to 3. They align the logits; any features of one width will do.
    """
    with torch.autocast(source.device.type, enabled=False):
        difference = covariance(wide(source)) - covariance(wide(target))
        loss = difference.square().sum() / (4 * source.shape[1] ** 2)
    return loss.expand(len(source)), loss.new_ones(len(source))


def covariance(features: Tensor) -> Tensor:
    """Return the covariance (D, D) of features (N, D); that of one item is zero."""
    n = len(features)
    centred = features - features.sum(0) / max(n, 1)
    return centred.T @ centred / max(n - 1, 1)
