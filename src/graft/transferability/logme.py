"""LogME: how probable the targets are under a linear model whose weights are integrated out.

Weights w ~ N(0, 1/alpha), targets y | w ~ N(F w, 1/beta). The evidence p(y | F, alpha, beta) has a
closed form; its maximum over both variances, as a logarithm per row, is the score. Nothing is held
out and nothing can be overfitted: a wide feature that explains nothing lowers the evidence.

Source: You, Liu, Wang and Long 2021, "LogME: Practical Assessment of Pre-trained Models for
Transfer Learning", equations 1 and 2 and algorithm 1; the fixed point in the singular basis is that
of the same authors' "Ranking and Tuning Pre-trained Models" (2022). It is written here for the
ratio lambda = alpha / beta, the only one that the weights depend on. The best beta for a lambda has
a closed form too, so the evidence is a curve over lambda; the iteration begins at the best of a
grid, since that curve may have several peaks.
"""

from __future__ import annotations

import math

import numpy as np

from graft.transferability.spectrum import EPSILON, Spectrum, decompose

REACH = 1e8
"""Lambda is looked for between the largest squared singular value over this and times this."""
N_STARTS = 33
MOST_STEPS = 100
SETTLED = 1e-12
"""Change of the evidence per row at which the iteration ends."""


def logme(features: np.ndarray, targets: np.ndarray) -> float:
    """Return the largest log evidence per row, mean over the targets.

    Args:
        features: (N, D).
        targets: (N, T): one column of zeros and ones for each class or label, or of numbers.

    Returns:
        NaN where no target differs from zero.
    """
    found = log_evidences(features, targets)
    defined = found[~np.isnan(found)]
    return float(defined.mean()) if len(defined) else math.nan


def log_evidences(features: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return (T,) the largest log evidence per row of each target; NaN where it is zero.

    Targets that the features explain to the last digit have no largest one; they get that of the
    smallest lambda looked at.
    """
    targets = np.asarray(targets, np.float64)
    found = np.full(targets.shape[1], math.nan)
    seen = np.flatnonzero(targets.any(0))
    if len(seen):
        found[seen] = _highest(
            decompose(features, targets[:, seen]), np.square(targets).sum(0)[seen]
        )
    return found


def _highest(spectrum: Spectrum, total: np.ndarray) -> np.ndarray:
    """Return the largest evidence (T,) of targets whose squares sum to `total` (T,)."""
    if not len(spectrum.squares):
        return _of_error(total, spectrum.n_rows)
    low, high = spectrum.squares[0] / REACH, spectrum.squares[0] * REACH
    best, ratio = np.full(len(total), -np.inf), np.full(len(total), low)
    for start in np.geomspace(low, high, N_STARTS):
        evidence, _ = _step(spectrum, total, np.full(len(total), start))
        ratio = np.where(evidence > best, start, ratio)
        best = np.maximum(evidence, best)
    last = np.full(len(total), -np.inf)
    for _ in range(MOST_STEPS):
        evidence, following = _step(spectrum, total, ratio)
        best = np.maximum(evidence, best)
        if np.abs(evidence - last).max() < SETTLED:
            break
        last, ratio = evidence, np.clip(following, low, high)
    return best


def _step(
    spectrum: Spectrum, total: np.ndarray, ratio: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the evidence per row (T,) at each target's lambda (T,), and the lambda after it.

    The next one is gamma / m^2 over (N - gamma) / residual^2, which is larger exactly where the
    evidence grows with lambda.
    """
    squares, along = spectrum.squares[:, None], np.square(spectrum.projections)
    kept = ratio / (squares + ratio)  # of each component, what the penalty leaves unexplained
    outside = np.maximum(total - along.sum(0), 0.0)
    residual = (np.square(kept) * along).sum(0) + outside
    norm = (squares * along / np.square(squares + ratio)).sum(0)
    gamma = (1 - kept).sum(0)
    error = np.maximum(residual + ratio * norm, EPSILON * total)
    evidence = _of_error(error, spectrum.n_rows) + np.log(kept).sum(0) / (2 * spectrum.n_rows)
    with np.errstate(divide="ignore", invalid="ignore"):
        following = gamma * residual / ((spectrum.n_rows - gamma) * norm)
    return evidence, np.where(np.isfinite(following), following, ratio)


def _of_error(error: np.ndarray, n_rows: int) -> np.ndarray:
    """Return the evidence per row of a penalised error (T,), without the volume of the weights.

    At the best beta, N over that error.
    """
    with np.errstate(divide="ignore"):
        return (np.log(n_rows / error) - 1 - math.log(2 * math.pi)) / 2
