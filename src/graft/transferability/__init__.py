"""Guess from features how well a network would serve a task, without training it.

    features, targets ─→ one number, the larger the more a transfer promises

Pure functions of arrays: no network, no optimiser, no seed. A score has a unit of its own, so it
ranks networks on one table and says nothing beside a score of another kind.

Conventions: N rows, D feature width, C classes or labels, T targets, Z classes of a source head,
R the rank of the features. Features (N, D) float32, an array or a memory map, are read in blocks of
rows and computed with in float64. A score takes what its parameters name:

- `features` (N, D);
- `targets` (N, T) zeros and ones, a column for each class or label, or numbers;
- `labels` (N, C) the same where they are classes or labels;
- `source` (N, Z) probabilities of the classes of the head that the checkpoint came with.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib import import_module

import numpy as np

SCORES: dict[str, tuple[str, str]] = {
    "logme": (
        "graft.transferability.logme:logme",
        "log evidence of a linear model per row, its two variances chosen by the evidence itself",
    ),
    "h_score": (
        "graft.transferability.h_score:shrunk_h_score",
        "spread between classes over spread of all rows, the covariance shrunk (Ledoit-Wolf)",
    ),
    "leep": (
        "graft.transferability.leep:leep",
        "log-likelihood of the labels given the classes that the checkpoint's own head predicts",
    ),
}
"""name → (where the function is, one-line summary)."""


def scores_of(known: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Return every score of which all that it takes is known.

    Args:
        known: `features`, `targets` and, where they are there, `labels` and `source`.
    """
    found = {}
    for name, (place, _) in SCORES.items():
        module, function = place.split(":")
        score = getattr(import_module(module), function)
        takes = inspect.signature(score).parameters
        if takes.keys() <= known.keys():
            found[name] = score(**{key: known[key] for key in takes})
    return found
