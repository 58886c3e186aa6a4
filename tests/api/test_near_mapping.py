"""The second map: the same every time, near stays near, and its absence is said."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from graft.api import near_mapping
from graft.api.near_mapping import ABSENT, MOST_ROWS, near_map

GROUPS = ["a", "b"] * 15


def two_heaps(distance):
    points = np.random.default_rng(0).normal(size=(30, 6))
    points[::2, 0] += distance
    return points


@pytest.mark.slow
def test_near_stays_near_and_the_map_is_the_same_every_time():
    pytest.importorskip("openTSNE")
    sets = two_heaps(0), two_heaps(30)
    found, why = near_map(*sets, GROUPS, 30)
    assert why == "" and found is not None and found.before is not None
    assert near_map(*sets, GROUPS, 30)[0] == found
    assert found.groups == tuple(GROUPS) and len(found.after.x) == len(found.before.x) == 30
    points = np.stack([found.after.x, found.after.y], axis=1)
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    assert (distances.argmin(1) % 2 == np.arange(30) % 2).all()


def test_without_its_library_the_page_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "openTSNE", None)
    assert near_map(None, two_heaps(3), GROUPS, 30) == (None, ABSENT)
    assert "\n" not in ABSENT and "graft[report]" in ABSENT


def test_a_fault_of_the_library_costs_no_training(monkeypatch):
    def fail(_points):
        raise RuntimeError("no\nneighbours")

    monkeypatch.setattr(near_mapping, "_laid_out", fail)
    found, why = near_map(None, two_heaps(3), GROUPS, 30)
    assert found is None and why.endswith("could not be drawn: no neighbours")


def test_rows_are_drawn_and_those_that_are_not_finite_left_out(monkeypatch):
    monkeypatch.setattr(near_mapping, "_laid_out", lambda points: points[:, :2])
    many = np.random.default_rng(0).normal(size=(3 * MOST_ROWS, 3))
    many[0] = np.nan
    found, _ = near_map(many, many, ["a"] * len(many), len(many))
    assert len(found.after.x) == len(found.groups) == MOST_ROWS - 1
    assert found.n_rows == len(many)
    assert near_map(None, many[:5], ["a"] * 5, 5) == (None, "")
