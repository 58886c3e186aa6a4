"""Features seen from their singular vectors: all that closed forms of linear models need.

With F = U S V^T, a linear model of targets y on F depends on the squares of S and on U^T y alone.
Both come from the smaller of the two Gram matrices, so neither U nor V^T is kept, and features may
be a memory map.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BLOCK_ELEMENTS = 2**22
"""Numbers converted to float64 at once: 32 MiB."""
EPSILON = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Hold features and targets in the basis of the features' left singular vectors.

    Args:
        squares: (R,) squared singular values, descending, none of them zero.
        projections: (R, T) the targets' components along the left singular vectors.
        n_rows: N.
        width: D.
    """

    squares: np.ndarray
    projections: np.ndarray
    n_rows: int
    width: int


def decompose(features: np.ndarray, targets: np.ndarray, *, centred: bool = False) -> Spectrum:
    """Return the spectrum of features (N, D) with targets (N, T).

    Args:
        centred: take the mean of every column away first.

    Directions whose square is below rounding, N or D times 2e-16 of the largest, count as absent.
    """
    n_rows, width = features.shape
    targets = np.asarray(targets, np.float64)
    mean = features.mean(0, dtype=np.float64) if centred else np.zeros(width)
    if n_rows <= width:
        rows = features.astype(np.float64) - mean
        squares, vectors = np.linalg.eigh(rows @ rows.T)
        projections = vectors.T @ targets
    else:
        gram, cross = np.zeros((width, width)), np.zeros((width, targets.shape[1]))
        step = max(1, BLOCK_ELEMENTS // width)
        for start in range(0, n_rows, step):
            block = features[start : start + step].astype(np.float64) - mean
            gram += block.T @ block
            cross += block.T @ targets[start : start + step]
        squares, vectors = np.linalg.eigh(gram)
        projections = vectors.T @ cross
    kept = np.flatnonzero(squares > squares[-1] * max(n_rows, width) * EPSILON)[::-1]
    squares, projections = squares[kept], projections[kept]
    if n_rows > width:
        projections = projections / np.sqrt(squares)[:, None]
    return Spectrum(squares, projections, n_rows, width)
