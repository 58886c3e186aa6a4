"""The table of scores: each entry resolves, and is computed where all that it takes is known."""

from __future__ import annotations

import numpy as np

from graft.transferability import SCORES, scores_of


def test_a_score_is_computed_where_what_it_takes_is_known():
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(30, 4)), np.eye(3)[np.arange(30) % 3]
    known = {"features": features, "targets": labels}
    assert scores_of(known).keys() == {"logme"}
    known["labels"] = labels
    assert scores_of(known).keys() == {"logme", "h_score"}
    known["source"] = rng.dirichlet(np.ones(5), 30)
    found = scores_of(known)
    assert found.keys() == SCORES.keys()
    assert all(np.isfinite(value) for value in found.values())
