"""The laws of logistic regression, against constructed solutions and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from graft.errors import DataError, InputError
from graft.solvers import fit_logistic, fit_multilabel


def draw(n, d, c, *, seed=0, signal=1.0):
    """Return features (N, D) float32 and classes (N,), each class present."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)) @ (rng.normal(size=(d, d)) / d**0.5) + 0.5
    noise = -np.log(-np.log(rng.random((n, c))))
    y = (signal * x @ rng.normal(size=(d, c)) + noise).argmax(1)
    y[:c] = np.arange(c)
    return x.astype(np.float32), y


def objective(x, t, weight, bias, l2, s=None):
    """Write the objective out: (N, C) targets, float64."""
    z = torch.as_tensor(x).double() @ weight.T + bias
    loss = -(torch.log_softmax(z, 1) * t).sum(1)
    s = torch.ones(len(z), dtype=torch.float64) if s is None else s
    return float((s * loss).sum() / s.sum() + l2 / 2 * weight.square().sum())


def one_hot(y):
    return torch.eye(int(y.max()) + 1, dtype=torch.float64)[torch.as_tensor(y)]


def scikit(x, y, l2, s=None):
    """Return scikit-learn's weight (C, D) and bias (C,) for the same objective."""
    two = y.max() == 1
    total = len(x) if s is None else s.sum()
    model = LogisticRegression(
        C=(2 if two else 1) / (l2 * total), tol=1e-10, max_iter=5000, solver="newton-cg"
    )
    model.fit(x.astype(np.float64), y, sample_weight=s)
    weight, bias = torch.from_numpy(model.coef_), torch.from_numpy(model.intercept_)
    if two:
        weight, bias = torch.cat([-weight, weight]) / 2, torch.cat([-bias, bias]) / 2
    return weight, bias


SHAPES = [(300, 20, 2), (50, 120, 3), (300, 15, 4), (200, 12, 77)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("l2", [1e-1, 1e-3, 1e-5])
def test_agrees_with_scikit_learn(shape, l2):
    x, y = draw(*shape)
    ours = fit_logistic(x, y, l2=l2)
    theirs = objective(x, one_hot(y), *scikit(x, y, l2), l2)
    assert ours.converged, ours.message
    assert ours.objective == pytest.approx(theirs, rel=1e-6)
    assert ours.objective <= theirs * (1 + 1e-12)
    written = objective(x, one_hot(y), ours.weight, ours.bias, l2)
    assert ours.objective == pytest.approx(written, rel=1e-12)


def test_separable_data_with_a_small_penalty():
    x, y = draw(60, 100, 3, signal=50.0)
    for l2 in (1e-6, 1e-9):
        ours = fit_logistic(x, y, l2=l2)
        assert ours.converged and ours.objective < 1e-2
    theirs = objective(x, one_hot(y), *scikit(x, y, 1e-6), 1e-6)
    assert fit_logistic(x, y, l2=1e-6).objective == pytest.approx(theirs, rel=1e-6)


def test_float32_is_left_where_its_products_lead_nowhere():
    """Losses far below its rounding, and a penalty that hides nothing of them."""
    rng = np.random.default_rng(0)
    y = np.arange(1000) % 20
    x = (1.5 * rng.normal(size=(20, 40))[y] + rng.normal(size=(1000, 40))).astype(np.float32)
    found = fit_logistic(x, y, l2=float(x.var(0).mean()) * 1e-11)
    assert found.n_iterations < 100 and found.gap < 1e-3


def test_recovers_a_constructed_solution():
    # Soft targets built so that the gradient vanishes at a known weight and bias:
    # t = p - u, with u chosen so that sum_i u_i x_i / N = -l2 W and sum_i u_i = 0.
    rng = np.random.default_rng(1)
    x = rng.normal(size=(400, 6)).astype(np.float32)
    weight, l2 = rng.normal(size=(3, 6)) * 0.3, 1e-2
    weight -= weight.mean(0)
    bias = np.array([0.2, -0.5, 0.3])
    p = torch.softmax(torch.from_numpy(x @ weight.T + bias), 1).numpy()
    x1 = np.c_[x.astype(np.float64), np.ones(len(x))]
    wanted = np.c_[-l2 * weight, np.zeros(3)].T * len(x)
    t = p - x1 @ np.linalg.solve(x1.T @ x1, wanted)
    assert t.min() > 0
    np.testing.assert_allclose(t.sum(1), 1)
    ours = fit_logistic(x, t, l2=l2)
    np.testing.assert_allclose(ours.weight, weight, atol=1e-8)
    np.testing.assert_allclose(ours.bias, bias, atol=1e-8)


def test_gradient_at_the_solution_is_zero_by_autograd():
    x, y = draw(200, 10, 4)
    ours = fit_logistic(x, y, l2=1e-3)
    weight, bias = ours.weight.requires_grad_(), ours.bias.requires_grad_()
    z = torch.from_numpy(x).double() @ weight.T + bias
    loss = torch.nn.functional.cross_entropy(z, torch.from_numpy(y))
    (loss + 1e-3 / 2 * weight.square().sum()).backward()
    norm = torch.cat([weight.grad.flatten(), bias.grad]).norm()
    assert norm < 1e-8
    assert float(norm) == pytest.approx(ours.gradient_norm, abs=1e-14)


def test_class_weights_are_those_of_cross_entropy():
    x, y = draw(400, 8, 3)
    y[20:] = np.where(y[20:] == 2, 0, y[20:])
    ours = fit_logistic(x, y, l2=1e-2, class_weights="balanced")
    counts = np.bincount(y)
    s = (len(y) / (3 * counts))[y]
    theirs = objective(x, one_hot(y), *scikit(x, y, 1e-2, s), 1e-2, torch.from_numpy(s))
    assert ours.objective == pytest.approx(theirs, rel=1e-6)
    again = fit_logistic(x, y, l2=1e-2, class_weights=(len(y) / (3 * counts)) * 7)
    torch.testing.assert_close(again.weight, ours.weight, rtol=0, atol=1e-9)


def test_a_weight_of_two_is_a_row_twice_and_zero_is_a_row_less():
    x, y = draw(100, 7, 3)
    s = np.random.default_rng(2).integers(0, 3, len(y)).astype(float)
    s[:3] = 1
    weighted = fit_logistic(x, y, l2=1e-2, sample_weights=s)
    n = s.astype(int)
    repeated = fit_logistic(np.repeat(x, n, 0), np.repeat(y, n), l2=1e-2)
    torch.testing.assert_close(weighted.weight, repeated.weight, rtol=0, atol=1e-8)


@pytest.mark.parametrize("class_weights", [None, [1.0, 3.0, 0.5, 2.0]])
def test_one_hot_targets_equal_hard_ones(class_weights):
    x, y = draw(150, 9, 4)
    hard = fit_logistic(x, y, l2=1e-3, class_weights=class_weights)
    soft = fit_logistic(x, one_hot(y).float(), l2=1e-3, class_weights=class_weights)
    torch.testing.assert_close(soft.weight, hard.weight, rtol=0, atol=1e-9)
    torch.testing.assert_close(soft.bias, hard.bias, rtol=0, atol=1e-9)


def test_soft_targets_equal_rows_split_by_weight():
    x, _ = draw(80, 5, 3)
    t = np.random.default_rng(3).dirichlet([1, 1, 1], len(x))
    soft = fit_logistic(x, t, l2=1e-2)
    split = fit_logistic(
        np.repeat(x, 3, 0), np.tile(np.arange(3), len(x)), l2=1e-2, sample_weights=t.ravel()
    )
    torch.testing.assert_close(soft.weight, split.weight, rtol=0, atol=1e-8)


def test_says_so_when_it_did_not_converge():
    x, y = draw(100, 10, 3)
    ours = fit_logistic(x, y, l2=1e-4, max_iterations=1)
    assert not ours.converged and ours.n_iterations == 1
    assert "limit" in ours.message


def test_row_order_does_not_matter():
    x, y = draw(300, 20, 5)
    order = np.random.default_rng(4).permutation(len(y))
    one = fit_logistic(x, y, l2=1e-3)
    two = fit_logistic(x[order], y[order], l2=1e-3)
    torch.testing.assert_close(one.weight, two.weight, rtol=0, atol=1e-7)


def test_warm_path_equals_cold_fits_and_grows():
    x, y = draw(200, 30, 4)
    warm, norms = None, []
    for l2 in np.geomspace(1e1, 1e-5, 13):
        warm = fit_logistic(x, y, l2=l2, start=warm)
        cold = fit_logistic(x, y, l2=l2)
        torch.testing.assert_close(warm.weight, cold.weight, rtol=1e-6, atol=1e-6)
        assert warm.objective == pytest.approx(cold.objective, rel=1e-12)
        norms.append(float(warm.weight.norm()))
    assert norms == sorted(norms)


def test_a_constant_column_gets_no_weight():
    x, y = draw(100, 6, 3)
    plain = fit_logistic(x, y, l2=1e-3)
    padded = fit_logistic(np.c_[x, np.full(len(x), 7, np.float32)], y, l2=1e-3)
    torch.testing.assert_close(padded.weight[:, :-1], plain.weight, rtol=0, atol=1e-8)
    assert padded.weight[:, -1].abs().max() < 1e-8


@pytest.mark.parametrize("offset", [0.0, 1e3], ids=["centred", "far"])
def test_bad_scales(offset):
    x, y = draw(300, 6, 3)
    scale = np.array([1e4, 1e-4, 1.0, 1e2, 1e-2, 1e4], np.float32)
    x = (x + np.float32(offset)) * scale
    ours = fit_logistic(x, y, l2=1e-3)
    assert ours.converged, ours.message
    # A column times k under penalty l2 is the column itself under penalty l2 / k^2: check that
    # no direction improves the objective instead of trusting another solver here.
    best = objective(x, one_hot(y), ours.weight, ours.bias, 1e-3)
    rng = np.random.default_rng(5)
    for size in (1e-2, 1e-4):
        for _ in range(20):
            nudge = torch.from_numpy(rng.normal(size=(3, 6)) / scale) * size
            shifted = ours.bias - nudge @ torch.from_numpy(x.mean(0).astype(np.float64))
            assert objective(x, one_hot(y), ours.weight + nudge, shifted, 1e-3) >= best


def test_features_near_float32_resolution_still_converge():
    x, y = draw(200, 5, 3)
    ours = fit_logistic(x + np.float32(3e5), y, l2=1e-3)
    again = fit_logistic((x + np.float32(3e5)).astype(np.float64) - 3e5, y, l2=1e-3)
    assert ours.converged, ours.message
    torch.testing.assert_close(ours.weight, again.weight, rtol=0, atol=1e-6)


def test_blocks_and_recomputed_probabilities_change_nothing(monkeypatch):
    x, y = draw(700, 6, 3)
    one = fit_logistic(x, y, l2=1e-3)
    monkeypatch.setattr("graft.solvers.rows.BLOCK_ELEMENTS", 1)
    monkeypatch.setattr("graft.solvers.family.Family.keeps", lambda self, dtype: False)
    monkeypatch.setattr("graft.solvers.family.FULL_CLASS_CURVATURE", 0)
    two = fit_logistic(x, y, l2=1e-3)
    assert two.converged
    torch.testing.assert_close(one.weight, two.weight, rtol=0, atol=1e-7)


def test_reads_a_memory_map_and_leaves_it_alone(tmp_path):
    x, y = draw(100, 6, 3)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    ours = fit_logistic(mapped, y, l2=1e-2)
    torch.testing.assert_close(ours.weight, fit_logistic(x, y, l2=1e-2).weight)
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), x)


def test_multilabel_equals_one_binary_fit_per_label():
    x, y = draw(200, 8, 4)
    labels = one_hot(y).numpy()
    ours = fit_multilabel(x, labels, l2=1e-2)
    assert ours.converged
    for c in range(4):
        # scikit-learn's binary problem keeps one weight vector, which is the sigmoid's own form.
        model = LogisticRegression(C=1 / (1e-2 * len(x)), tol=1e-10, solver="newton-cg")
        model.fit(x.astype(np.float64), labels[:, c].astype(int))
        np.testing.assert_allclose(ours.weight[c], model.coef_[0], atol=1e-6)


def test_refusals_name_the_place():
    x, y = draw(40, 5, 3)
    with pytest.raises(DataError, match="class 1 has no row"):
        fit_logistic(x[y != 1], y[y != 1], l2=1.0)
    with pytest.raises(DataError, match="class 3 has no row"):
        fit_logistic(x, y, l2=1.0, n_classes=4)
    broken = x.copy()
    broken[17, 2] = np.nan
    with pytest.raises(DataError, match="row 18") as caught:
        fit_logistic(broken, y, l2=1.0)
    assert caught.value.row == 18
    with pytest.raises(InputError, match="l2"):
        fit_logistic(x, y, l2=0.0)
    with pytest.raises(InputError, match="only one class"):
        fit_logistic(x, np.zeros_like(y), l2=1.0)
    with pytest.raises(InputError, match="ridge_path"):
        fit_logistic(x, y.astype(float), l2=1.0)
    with pytest.raises(DataError, match="row 1"):
        fit_logistic(x, y - 1, l2=1.0)
    with pytest.raises(InputError, match="39 targets"):
        fit_logistic(x, y[:-1], l2=1.0)
    with pytest.raises(DataError, match="outside"):
        fit_multilabel(x, np.full((40, 2), 1.5), l2=1.0)
    with pytest.raises(DataError, match="class 0 has no row without it"):
        fit_multilabel(x, np.ones((40, 1)), l2=1.0)
