"""Hard negatives: nearest of what is farther than the positive, and never a positive."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graft.api import mining
from graft.api.mining import with_hard_negatives
from graft.data.tuples import Tuples


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 99), st.sampled_from([0.0, 0.1, 0.5]), st.sampled_from([3, 512]))
def test_equals_the_slow_way(seed, margin, block):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mining, "BLOCK", block)
        compare(seed, margin)


def compare(seed, margin):
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(14, 3)).astype(np.float32)
    members = random.integers(0, 14, (9, 2))
    members = members[members[:, 0] != members[:, 1]]
    found, n_without = with_hard_negatives(vectors, Tuples(members), margin)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    assert found.members[:, :2].tolist() == members.tolist()
    n_farthest = 0
    for anchor, positive, negative in found.members.tolist():
        taken = {anchor, *members[members[:, 0] == anchor, 1].tolist()}
        free = sorted(set(members[:, 1].tolist()) - taken)
        cosine = {i: float(unit[anchor] @ unit[i]) for i in {*free, positive}}
        fit = [i for i in free if cosine[i] < cosine[positive] - margin]
        if fit:
            assert abs(cosine[negative] - max(cosine[i] for i in fit)) < 1e-6
        elif free:
            n_farthest += 1
            assert abs(cosine[negative] - min(cosine[i] for i in free)) < 1e-6
        else:
            n_farthest += 1
        if free:
            assert negative not in taken
    assert n_farthest == n_without
