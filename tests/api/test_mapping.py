"""The map: one basis for both pictures, and borders that are those of the classifier."""

from __future__ import annotations

import numpy as np
import pytest

from graft.api.mapping import (
    MOST_ROWS,
    drawn_rows,
    lay_out,
    principal_directions,
    standardised,
    winning_region,
)

RANDOM = np.random.default_rng(0)


def is_inside(corners, point):
    """Tell whether a point lies in a convex polygon whose corners go around it."""
    edges = np.roll(corners, -1, axis=0) - corners
    to_point = point - corners
    turns = edges[:, 0] * to_point[:, 1] - edges[:, 1] * to_point[:, 0]
    return bool((turns >= -1e-9).all() or (turns <= 1e-9).all())


def test_all_rows_are_drawn_where_they_fit():
    assert drawn_rows(5).tolist() == [0, 1, 2, 3, 4]
    many = drawn_rows(7 * MOST_ROWS)
    assert len(many) == MOST_ROWS and many[0] == 0 and many[-1] == 7 * MOST_ROWS - 1


@pytest.mark.parametrize("shape", [(50, 8), (6, 40)])
def test_directions_are_those_of_the_singular_value_decomposition(shape):
    points = standardised(RANDOM.normal(size=shape) * np.linspace(5, 1, shape[1]))
    found = principal_directions(points)
    expected = np.linalg.svd(points, full_matrices=False)[2][:2].T
    assert np.allclose(np.abs((found * expected).sum(0)), 1, atol=1e-8)
    assert (found[np.abs(found).argmax(0), [0, 1]] > 0).all()


def test_both_sets_share_one_basis_whatever_their_scale_and_place():
    features = RANDOM.normal(size=(40, 6))
    before, after = lay_out([features, 7 * features + 3], [""] * 40, is_divided=False)
    assert np.allclose(before.x, after.x) and np.allclose(before.y, after.y)
    assert before.explained == pytest.approx(after.explained)
    assert 0 < before.explained < 1


def test_what_moves_in_the_features_moves_in_the_picture():
    # two classes apart along one axis before, along another after
    labels = np.repeat([0, 1], 30)
    noise = 0.05 * RANDOM.normal(size=(60, 5))
    before, after = noise.copy(), noise.copy()
    before[:, 0] += 2 * labels
    after[:, 1] += 2 * labels
    groups = ["a" if label == 0 else "b" for label in labels]
    first, second = lay_out([before, after], groups, is_divided=True)

    def direction(side):
        one, other = side.centres
        return np.array([other.x - one.x, other.y - one.y])

    # a basis of one set alone would not show how far apart the classes are in the other
    assert np.linalg.norm(direction(first)) > 1.8
    assert np.linalg.norm(direction(second)) > 1.8
    cosine = direction(first) @ direction(second)
    cosine /= np.linalg.norm(direction(first)) * np.linalg.norm(direction(second))
    assert abs(cosine) < 0.1
    assert first.separable == second.separable == 1.0


def test_rows_without_a_colour_have_no_region():
    features = RANDOM.normal(size=(30, 4))
    groups = ["a", "b", ""] * 10
    [side] = lay_out([features], groups, is_divided=True)
    assert [c.name for c in side.centres] == ["a", "b"]
    assert {r.name for r in side.regions} <= {"a", "b"}
    [plain] = lay_out([features], [""] * 30, is_divided=True)
    assert plain.regions == () and plain.separable is None


def test_regions_are_where_the_scores_are_highest():
    weight, bias = RANDOM.normal(size=(5, 2)), RANDOM.normal(size=5) / 4
    box = (np.array([-3.0, -3.0]), np.array([3.0, 3.0]))
    regions = [winning_region(weight, bias, i, box) for i in range(5)]
    for point in RANDOM.uniform(-3, 3, size=(300, 2)):
        scores = weight @ point + bias
        if np.diff(np.sort(scores)[-2:]) > 1e-6:
            inside = [len(r) > 2 and is_inside(r, point) for r in regions]
            assert inside == [i == scores.argmax() for i in range(5)]


def test_features_of_no_spread_do_no_harm():
    [side] = lay_out([np.ones((4, 3))], ["a", "a", "b", "b"], is_divided=True)
    assert np.isfinite(side.x).all() and np.isfinite(side.y).all()
