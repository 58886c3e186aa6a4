"""H-score: how far classes lie apart, measured in the spread of all rows.

    H = tr(cov(F)^-1 cov(E[F | y]))

In the basis of the centred features' left singular vectors, class k adds |U^T 1_k|^2 / n_k: the
share of its indicator that a linear map of the features reproduces on these very rows. So H is
at most C - 1, and it is C - 1 for any features at all where rows are not more than columns. The
shrunk score takes (1 - a) cov(F) + a mean(diag cov(F)) I in its place, and keeps telling.

Source: Bao et al. 2019, "An Information-Theoretic Approach to Transferability in Task Transfer
Learning", definition 2; shrinkage as in Ibrahim, Ponomareva and Mazumder 2022, "Newer is not always
better", by Ledoit and Wolf 2004, "A well-conditioned estimator for large-dimensional covariance
matrices", lemmas 3.2 to 3.4.
"""

from __future__ import annotations

import math

import numpy as np

from graft.transferability.spectrum import BLOCK_ELEMENTS, Spectrum, decompose


def h_score(features: np.ndarray, labels: np.ndarray) -> float:
    """Return the H-score; as it stands in the paper, with a pseudo-inverse.

    Args:
        features: (N, D).
        labels: (N, C) zeros and ones. Classes exclude each other where each row has one; else the
            score is the mean over the labels, each against the rest.
    """
    return _mean_score(features, labels, is_shrunk=False)


def shrunk_h_score(features: np.ndarray, labels: np.ndarray) -> float:
    """Return the H-score under the shrunk covariance; arguments as those of `h_score`."""
    return _mean_score(features, labels, is_shrunk=True)


def shrinkage(features: np.ndarray, squares: np.ndarray) -> float:
    """Return Ledoit and Wolf's share of the identity, between 0 and 1.

    Args:
        features: (N, D).
        squares: (R,) squared singular values of the centred features.
    """
    n_rows, width = features.shape
    eigenvalues = squares / n_rows
    mean = eigenvalues.sum() / width
    distance = np.square(eigenvalues).sum() - width * mean**2
    fourth, centre = 0.0, features.mean(0, dtype=np.float64)
    step = max(1, BLOCK_ELEMENTS // width)
    for start in range(0, n_rows, step):
        block = features[start : start + step].astype(np.float64) - centre
        fourth += float(np.square(np.square(block).sum(1)).sum())
    noise = (fourth / n_rows - np.square(eigenvalues).sum()) / n_rows
    return float(min(max(noise / distance, 0.0), 1.0)) if distance > 0 else 1.0


def _mean_score(features: np.ndarray, labels: np.ndarray, *, is_shrunk: bool) -> float:
    labels = np.asarray(labels, np.float64)
    counts = labels.sum(0)
    spectrum = decompose(features, labels, centred=True)
    if not len(spectrum.squares):
        return 0.0
    along = np.square(spectrum.projections)
    share = shrinkage(features, spectrum.squares) if is_shrunk else 0.0
    weight = _weights(spectrum, share)
    if (labels.sum(1) == 1).all():
        return float((weight @ along)[counts > 0] @ (1 / counts[counts > 0]))
    # a label and its absence are two classes, whose indicators have the same components
    both = (counts > 0) & (counts < len(labels))
    if not both.any():
        return math.nan
    n_with, n_without = counts[both], len(labels) - counts[both]
    return float(((weight @ along)[both] * (1 / n_with + 1 / n_without)).mean())


def _weights(spectrum: Spectrum, share: float) -> np.ndarray:
    """Return (R,) how much of each direction counts: all of it without shrinkage."""
    own = (1 - share) * spectrum.squares
    return own / (own + share * spectrum.squares.sum() / spectrum.width)
