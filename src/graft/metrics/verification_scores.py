"""What telling pairs apart by a threshold is worth: the metrics of verification, with intervals.

    who belongs to whom ─sample_pairs→ Sample, embeddings ─verification_scorer→ Scorer of units

Shapes: N items, D width, U units that are resampled.
"""

from __future__ import annotations

import numpy as np

from graft.metrics.sampled_pairs import Sample, Truth, sample_pairs
from graft.metrics.scorer import Scorer, undefined_scorer
from graft.metrics.verification import (
    Pairs,
    Roc,
    area,
    equal_error_rate,
    roc,
    sampled,
    tar_at,
)
from graft.neighbours import normalised

FARS = {"tar_at_far_1e2": 1e-2, "tar_at_far_1e3": 1e-3}
FEWEST_ACCEPTED = 10
"""Impostors that a FAR must let through: a threshold between fewer is a matter of luck."""
NAMES = ("auroc", "equal_error_rate", *FARS)


def verification_scorer(truth: Truth, embeddings: np.ndarray, *, seed: int = 0) -> Scorer:
    """Prepare the metrics of verification; its rows are the units that are resampled.

    Args:
        truth: (N,) class numbers, below 0 where there is none; or who belongs to whom.
        embeddings: (N, D), compared by cosine.
        seed: of the sample of pairs.
    """
    sample = sample_pairs(truth, seed=seed)
    return Scorer(0, lambda _: {}) if sample is None else scorer_of_sample(sample, embeddings)


def scorer_of_sample(sample: Sample, embeddings: np.ndarray) -> Scorer:
    """Prepare the metrics of verification on pairs that were drawn; none where a kind is missing.

    Those of whose FAR the pairs are too few are left out, as `too_few` says.
    """
    unit = normalised(np.asarray(embeddings, np.float32))
    n_units = int(sample.units.max(initial=-1)) + 1
    if not sample.n_alike or not sample.n_unlike:
        return Scorer(n_units, lambda _: {})
    if not np.isfinite(unit).all():
        left_out = too_few(sample.n_unlike)
        return undefined_scorer(n_units, [n for n in NAMES if n not in left_out])
    return scorer_of_pairs(sampled(sample, unit))


def too_few(n_unlike: int) -> tuple[str, ...]:
    """Return the metrics whose FAR takes more than so many pairs that do not belong together."""
    return tuple(name for name, far in FARS.items() if n_unlike * far < FEWEST_ACCEPTED - 1e-9)


def scorer_of_pairs(pairs: Pairs) -> Scorer:
    """Return `auroc`, `equal_error_rate` and TAR at two FARs, where these are no luck."""
    left_out = too_few(pairs.n_impostors)

    def weigh(weights: np.ndarray) -> dict[str, np.ndarray]:
        rows = [_values(roc(pairs, row)) for row in weights]
        return {n: np.array([row[n] for row in rows]) for n in NAMES if n not in left_out}

    return Scorer(pairs.n_units, weigh)


def _values(curve: Roc) -> dict[str, float]:
    return {
        "auroc": area(curve),
        "equal_error_rate": equal_error_rate(curve),
        **{name: tar_at(curve, far) for name, far in FARS.items()},
    }
