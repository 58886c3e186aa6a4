"""Maximum mean discrepancy: two domains whose features no smooth function tells apart."""

from __future__ import annotations

import torch
from torch import Tensor

from graft.objectives.distances import pairwise, wide

WIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Of the kernels, relative to the mean squared distance."""


def mmd(source: Tensor, target: Tensor, *, bandwidth: float | None = None) -> tuple[Tensor, Tensor]:
    """Return the squared discrepancy of the two domains' mean embeddings, the same for every item.

    mean k(s, s') + mean k(t, t') − 2 mean k(s, t), all pairs counted, so it is never negative; k is
    the mean of five Gaussian kernels exp(−‖x − y‖² / γ w), of relative widths w from 1/4 to 4.

    Requirements: batches of more items than a few.

    | inputs | labels |
    |---|---|
    | features of one domain, and of the other | none |

    Relations: `coral` compares covariances alone.

    Args:
        source: (N, D).
        target: (M, D).
        bandwidth: γ; the mean squared distance between different items of both domains unless
            given, as a constant without a gradient.

    Returns:
        losses (N,), whose mean is the batch's loss, and weights of one (N,).

    Source: Gretton et al. 2012, "A Kernel Two-Sample Test", equation 5 (the biased estimate); Long
    et al. 2015, "Learning Transferable Features with Deep Adaptation Networks", section 3.1, for
    several widths about one γ. They take more of them, and learn their shares; here all are alike.
    """
    n, m = len(source), len(target)
    joined = torch.cat([wide(source), wide(target)])
    squares = pairwise(joined, joined, "squared_euclidean")
    if bandwidth is None:
        n_pairs = (n + m) * (n + m - 1)
        bandwidth = float(squares.detach().sum()) / max(n_pairs, 1)
    scaled = squares / max(bandwidth, torch.finfo(squares.dtype).tiny)
    kernel = torch.stack([torch.exp(-scaled / width) for width in WIDTHS]).mean(0)
    parts = torch.full((n,), 1 / max(n, 1)), torch.full((m,), -1 / max(m, 1))
    shares = torch.cat(parts).to(kernel)
    loss = shares @ kernel @ shares
    return loss.expand(n), loss.new_ones(n)
