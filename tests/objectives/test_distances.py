"""Distances: each with each equals row with row equals a slow loop; nothing is infinite."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from graft.errors import UnknownName
from graft.objectives.distances import DISTANCES, elementwise, pairwise, unit
from tests.objectives.points import SLOW_DISTANCES, points

X, Y = points(), points((10.0, 50.0, 170.0), (0.5, 1.0, 2.0))


def test_the_loops_cover_the_table():
    assert set(SLOW_DISTANCES) == set(DISTANCES)


@pytest.mark.parametrize("name", DISTANCES)
def test_equals_the_slow_loop(name):
    slow = [[SLOW_DISTANCES[name](x, y) for y in Y.tolist()] for x in X.tolist()]
    expected = torch.tensor(slow, dtype=torch.float64)
    torch.testing.assert_close(pairwise(X, Y, name), expected)
    torch.testing.assert_close(elementwise(X[:3], Y, name), expected.diagonal())
    cross = elementwise(X[:, None].expand(8, 3, 3), Y.expand(8, 3, 3), name)
    torch.testing.assert_close(cross, expected)


@pytest.mark.parametrize("name", DISTANCES)
def test_gradients_equal_finite_differences(name):
    x, y = X.clone().requires_grad_(), Y.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: pairwise(a, b, name), (x, y))
    assert torch.autograd.gradcheck(lambda a, b: elementwise(a[:3], b, name), (x, y))


@pytest.mark.parametrize("name", DISTANCES)
@pytest.mark.parametrize("kind", ["equal", "zero", "shifted"])
def test_equal_and_zero_vectors_have_finite_gradients(name, kind):
    x = torch.zeros(5, 4) if kind == "zero" else torch.full((5, 4), 0.3)
    x = (x + 1e3 if kind == "shifted" else x).requires_grad_()
    every, each = pairwise(x, x, name), elementwise(x, x, name)
    assert every.isfinite().all()
    if "euclidean" in name:
        assert every.abs().max() < 1e-3 and each.abs().max() == 0
    (gradient,) = torch.autograd.grad(every.sum() + each.sum(), x)
    assert gradient.isfinite().all()
    if name == "euclidean":
        assert gradient.abs().max() < 1e-3


@given(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3))
def test_cosine_does_not_depend_on_length(first, second):
    torch.testing.assert_close(pairwise(first * X, second * Y, "cosine"), pairwise(X, Y, "cosine"))


@given(st.floats(-1e3, 1e3))
def test_euclidean_does_not_depend_on_the_origin(shift):
    found = pairwise(X + shift, Y + shift, "euclidean")
    torch.testing.assert_close(found, pairwise(X, Y, "euclidean"), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", DISTANCES)
def test_half_precision_and_autocast_compute_in_float32(name):
    x = X.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = pairwise(x, x, name)
    assert found.dtype == torch.float32
    expected = pairwise(x.double(), x.double(), name)
    torch.testing.assert_close(found.double(), expected, atol=2e-3, rtol=1e-5)
    plain = pairwise(X.float(), Y.float(), name)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(pairwise(X.float(), Y.float(), name), plain)


def test_unit_of_zero_is_zero_without_gradient():
    x = torch.tensor([[0.0, 0.0], [3.0, 4.0]], requires_grad=True)
    assert torch.allclose(unit(x), torch.tensor([[0.0, 0.0], [0.6, 0.8]]))
    (gradient,) = torch.autograd.grad(unit(x)[:, 0].sum(), x)
    assert gradient[0].tolist() == [0, 0] and gradient[1].abs().sum() > 0


def test_an_unknown_name_lists_the_close_one():
    with pytest.raises(UnknownName, match="'cosine'"):
        pairwise(X, Y, "cosin")
