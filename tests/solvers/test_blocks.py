"""The laws of the blocks: they invert what they say, and serve where classes are sharp."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from graft.solvers import blocks, conditioning, fit_logistic
from graft.solvers.basis import Basis, Preconditioner
from graft.solvers.blocks import Active, Blocks
from graft.solvers.family import Family, evaluate, hessian_product
from graft.solvers.link import Softmax
from graft.solvers.logistic import single
from graft.solvers.newton import minimise, newton_step
from graft.solvers.rows import read_rows
from graft.solvers.targets import read_targets
from tests.solvers.test_logistic import draw, objective, one_hot, scikit

L2 = 1e-3


def family_of(x, y):
    rows = read_rows(x)
    known = read_targets(torch.from_numpy(y), n_rows=len(x), device=rows.device)
    weights = torch.ones(len(x), 1, dtype=torch.float64)
    return single(Family(rows, known, Softmax(), weights, weights.new_zeros(0)))


def sharp(n=1200, d=24, c=30):
    """Return many classes, each decided on rows of its own."""
    rng = np.random.default_rng(3)
    y = np.arange(n) % c
    x = rng.normal(size=(c, d))[y] * 1.5 + rng.normal(size=(n, d)) * rng.uniform(0.2, 2, (c, d))[y]
    return x.astype(np.float32), y


def curvature_of(family, point):
    p = torch.cat([blocks.probabilities(family, point, part) for part in family.parts])
    return family.link.curvature(p)[:, 0] / family.rows.n_rows


def at_random(family, scale=0.3):
    shape = (1, family.targets.n_classes, family.rows.width)
    weight = torch.randn(shape, generator=torch.manual_seed(0), dtype=torch.float64) * scale
    return evaluate(family, weight, torch.zeros(shape[:2], dtype=torch.float64), l2=L2)


def test_the_inverse_is_that_of_the_diagonal_blocks():
    x, y = draw(200, 5, 4)
    family = family_of(x, y)
    point = at_random(family)
    curvature = curvature_of(family, point)
    every = Active(torch.arange(200), 1, curvature, 0.0, 1.0, 1.0)
    inverse = blocks.gather(family, every, l2=L2).inverse(family, point, l2=L2)
    residual = torch.randn(1, 4, 6, dtype=torch.float64)
    residual[..., -1] -= residual[..., -1].mean()
    p = torch.softmax(torch.from_numpy(x).double() @ point.weight[0].T, 1)
    wide = torch.cat([torch.from_numpy(x).double() - family.rows.mean, torch.ones(200, 1)], 1)
    penalty = torch.diag(torch.tensor([L2] * 5 + [0.0], dtype=torch.float64))
    slow = torch.stack([
        torch.linalg.solve((wide.T * (p[:, c] * (1 - p[:, c]) / 200)) @ wide + penalty, r)
        for c, r in enumerate(residual[0])
    ])  # fmt: skip
    slow[:, -1] -= slow[:, -1].mean()
    torch.testing.assert_close(
        inverse.apply(residual)[0], slow, rtol=1e-2, atol=1e-3 * float(slow.abs().max())
    )


def test_rows_left_out_hold_little_of_the_curvature():
    x, y = sharp()
    family = family_of(x, y)
    point = evaluate(family, *scikit_point(x, y), l2=L2)
    kept = blocks.active(family, point).curvature
    share = kept.sum(0) / curvature_of(family, point).sum(0)
    assert share.min() > 1 - blocks.CUT
    assert (kept > 0).float().mean() < 0.3


def scikit_point(x, y, l2=L2):
    weight, bias = scikit(x, y, l2)
    return weight[None], bias[None]


def test_of_many_rows_a_sample_is_read(monkeypatch):
    x, y = sharp()
    family = family_of(x, y)
    point = evaluate(family, *scikit_point(x, y), l2=L2)
    all_rows = blocks.active(family, point)
    monkeypatch.setattr(blocks, "SAMPLE_BYTES", x.nbytes // 3)
    monkeypatch.setattr("graft.solvers.rows.BLOCK_ELEMENTS", 1)  # blocks of 256 rows
    found = blocks.active(family, point)
    assert found.stride == 4 and found.rows.tolist() == list(range(0, 1200, 4))
    kept = found.curvature > 0
    torch.testing.assert_close(found.curvature[kept], all_rows.curvature[::4][kept])


def test_sharp_classes_take_fewer_products_to_the_same_minimum(monkeypatch):
    x, y = sharp()
    found = fit_logistic(x, y, l2=1e-4)
    best = objective(x, one_hot(y), *scikit(x, y, 1e-4), 1e-4)
    assert found.converged
    assert found.objective == pytest.approx(best, rel=1e-7)
    monkeypatch.setattr(blocks, "MOST_BYTES", 0)
    without = fit_logistic(x, y, l2=1e-4)
    assert found.n_products < 0.7 * without.n_products
    torch.testing.assert_close(found.weight, without.weight, rtol=0, atol=1e-7)


def test_a_path_takes_them_up_and_keeps_them():
    x, y = sharp()
    family = family_of(x, y)
    zero = torch.zeros(1, 30, x.shape[1], dtype=torch.float64)
    far = minimise(family, zero, zero[..., 0], l2=1.0, tolerance=1e-3, max_iterations=100)
    assert isinstance(far.conditioning.made, Basis)
    near = minimise(
        family, far.point.weight, far.point.bias, l2=1e-5, tolerance=1e-3, max_iterations=100,
        warm=far.conditioning,
    )  # fmt: skip
    assert isinstance(near.conditioning.made, Blocks)


def test_blocks_that_are_too_large_are_not_made(monkeypatch):
    x, y = sharp()
    monkeypatch.setattr(blocks, "MOST_BYTES", 0)
    monkeypatch.setattr(conditioning.blocks, "gather", lambda *_, **__: pytest.fail("gathered"))
    assert fit_logistic(x, y, l2=1e-5).converged


def test_blocks_that_turn_out_slower_are_left_until_the_basis_is_slower_still():
    x, y = sharp()
    family = family_of(x, y)
    zero = torch.zeros(1, 30, x.shape[1], dtype=torch.float64)
    point = evaluate(family, zero, zero[..., 0], l2=L2)

    def renewed(found, n_products, rate):
        return found.after(n_products, rate, 1.0).renewed(family, point, l2=1.0)

    basis = conditioning.begin(family, point)
    took_up = renewed(basis, 1000, 0.5)
    assert isinstance(took_up.made, Blocks)
    assert renewed(took_up, 10, 0.3).made is took_up.made
    assert renewed(took_up, 2, 0.1).made is took_up.made  # so few products tell nothing
    slower = renewed(took_up, 10, 0.1)
    assert isinstance(slower.made, Basis)
    assert isinstance(renewed(slower, 1000, 0.3).made, Basis)
    assert isinstance(renewed(slower, 1000, 0.05).made, Blocks)


def test_blocks_that_no_longer_hold_are_made_anew():
    x, y = sharp()
    family = family_of(x, y)
    zero = torch.zeros(1, 30, x.shape[1], dtype=torch.float64)
    flat = evaluate(family, zero, zero[..., 0], l2=1e-5)
    old = conditioning.begin(family, flat).after(1000, 0.5, 1.0).renewed(family, flat, l2=1e-2)
    near = evaluate(family, *scikit_point(x, y, 1e-6), l2=1e-6)
    assert not old.made.holds(1e-6)
    new = old.renewed(family, near, l2=1e-6)
    assert isinstance(new.made, Blocks) and new.made.holds(1e-6)


def test_blocks_of_a_stale_point_do_not_hide_what_is_left():
    """Where probabilities have sharpened since, blocks are too large, their inverse too small."""
    x, y = sharp()
    family = family_of(x, y)
    zero = torch.zeros(1, 30, x.shape[1], dtype=torch.float64)
    flat = evaluate(family, zero, zero[..., 0], l2=1e-2)
    stale = blocks.gather(family, blocks.active(family, flat), l2=1e-2)
    weight, bias = scikit_point(x, y, 1e-5)
    point = evaluate(family, 0.9 * weight, bias, l2=1e-5)
    found = newton_step(
        family, point, stale.inverse(family, point, l2=1e-5), l2=1e-5, most_left=1e-9,
        dtype=torch.float64,
    )  # fmt: skip
    centre = family.rows.mean
    every = torch.eye(30 * 25, dtype=torch.float64).view(-1, 1, 30, 25)
    hessian = torch.stack([
        hessian_product(family, point, d, centre=centre, l2=1e-5, dtype=torch.float64).flatten()
        for d in every
    ])  # fmt: skip
    step, slope = found.step.clone(), point.gradient.clone()
    step[..., -1] += step[..., :-1] @ centre
    slope[..., :-1] -= slope[..., -1:] * centre
    residual = hessian @ step.flatten() + slope.flatten()
    true = float(residual @ (torch.linalg.pinv(hessian, hermitian=True) @ residual))
    assert found.reach > 10
    assert true < 10 * float(found.left)
    assert true > 100 * float(found.left) / found.reach


def test_an_inverse_that_rounding_has_spoilt_shows_no_minimum(monkeypatch):
    x, y = sharp()
    family = family_of(x, y)
    zero = torch.zeros(1, 30, x.shape[1], dtype=torch.float64)
    apply = Preconditioner.apply
    monkeypatch.setattr(Preconditioner, "apply", lambda self, r: -1e-12 * apply(self, r))
    found = minimise(
        family, zero, zero[..., 0], l2=1e-2, tolerance=1e-3, max_iterations=20, rough=True
    )
    assert not found.converged.any()


def test_a_penalty_that_float32_cannot_see_takes_no_blocks():
    x, y = sharp()
    family = family_of(x * np.float32(1e4), y)
    zero = torch.zeros(1, 30, x.shape[1], dtype=torch.float64)
    point = evaluate(family, zero, zero[..., 0], l2=L2)
    basis = conditioning.begin(family, point).after(10_000, 0.1, 1.0)
    assert isinstance(basis.renewed(family, point, l2=1e-9).made, Basis)
