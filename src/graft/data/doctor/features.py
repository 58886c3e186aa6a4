"""What a backbone's features show: rows that are nearly the same, and numbers that are none."""

from __future__ import annotations

import numpy as np

from graft.data.doctor.near import Near, with_earlier
from graft.data.doctor.places import at
from graft.data.faults import Finding
from graft.data.table import Table
from graft.neighbours import closest

LEAST_COSINE = 0.98


def near_features(
    features: np.ndarray, part_of_row: np.ndarray, least: float = LEAST_COSINE
) -> dict[int, Near]:
    """Return held-out row → the row of an earlier part of nearly the same direction.

    Args:
        features: (N, D).
        part_of_row: (N,) 0 for training, else a part that is held out.
        least: smallest cosine of what is near.
    """
    found: dict[int, Near] = {}
    for earlier, held in with_earlier(part_of_row):
        nearest, cosines = closest(features[earlier], features[held])
        found |= {
            int(held[k]): Near(int(earlier[nearest[k]]), f"cosine {cosines[k]:.3f} to this model")
            for k in np.flatnonzero(cosines > least).tolist()
        }
    return found


def constant_features(table: Table, features: np.ndarray) -> list[Finding]:
    """Return errors where features (N, D) are not finite, or are alike for all rows."""
    findings = []
    (column,) = table.roles.inputs
    bad = np.flatnonzero(~np.isfinite(features).all(1))
    for i in bad.tolist():
        message = (
            "the model's features of it are not finite; drop the row or choose another --model"
        )
        findings.append(at(table, i, "infinite-features", "error", message, column))
    if not len(bad) and len(features) > 1 and np.ptp(features, 0).max() == 0:
        message = "the model's features of all rows are the same; choose another --model"
        findings.append(Finding("constant-features", "error", message, table.name_of_source))
    return findings
