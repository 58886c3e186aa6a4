"""The laws of ridge regression, against the normal equations and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from graft.errors import DataError, InputError
from graft.solvers import ridge_path, search_ridge

L2S = [1e2, 1e-1, 1e-4, 1e-8]


def draw(n, d, t=2):
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(n, d)) + 3).astype(np.float32)
    return x, x @ rng.normal(size=(d, t)) + rng.normal(size=(n, t)) + 5


@pytest.mark.parametrize("shape", [(200, 10), (30, 80), (40, 40)], ids=str)
def test_equals_scikit_learn_and_the_normal_equations(shape):
    x, y = draw(*shape)
    for l2, ours in zip(L2S, ridge_path(x, y, L2S), strict=True):
        n, d = shape
        model = Ridge(alpha=l2 * n, solver="svd").fit(x.astype(np.float64), y)
        np.testing.assert_allclose(ours.weight, model.coef_, rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(ours.bias, model.intercept_, rtol=1e-6, atol=1e-6)
        c, r = x - x.mean(0, dtype=np.float64), y - y.mean(0)
        weight = np.linalg.solve(c.T @ c / n + l2 * np.eye(d), c.T @ r / n).T
        np.testing.assert_allclose(ours.weight, weight, rtol=1e-5, atol=1e-6)
        assert ours.gradient_norm < 1e-10
        loss = 0.5 * ((x @ ours.weight.numpy().T + ours.bias.numpy() - y) ** 2).sum(1).mean()
        penalty = l2 / 2 * float(ours.weight.square().sum())
        assert ours.objective == pytest.approx(loss + penalty, rel=1e-9)


def test_weights_repeat_rows():
    x, y = draw(50, 6)
    s = np.arange(50) % 3
    weighted = ridge_path(x, y, [0.1], sample_weights=s.astype(float))[0]
    repeated = ridge_path(np.repeat(x, s, 0), np.repeat(y, s, 0), [0.1])[0]
    torch.testing.assert_close(weighted.weight, repeated.weight, rtol=0, atol=1e-10)


def test_path_grows_and_one_target_may_be_flat():
    x, y = draw(60, 8)
    norms = [float(s.weight.norm()) for s in ridge_path(x, y[:, 0], L2S)]
    assert norms == sorted(norms)


@pytest.mark.parametrize("shape", [(120, 20), (30, 60)], ids=str)
def test_search_takes_what_scikit_learn_would(shape):
    x, y = draw(*shape, t=1)
    folds = np.arange(len(x)) % 4
    found = search_ridge(x, y[:, 0], folds=folds)
    for i in (9, 15, found.chosen):
        errors = 0.0
        for fold in range(4):
            train = folds != fold
            alpha = found.l2s[i] * train.sum()
            model = Ridge(alpha=alpha, solver="svd").fit(x[train].astype(np.float64), y[train])
            errors += 0.5 * ((model.predict(x[~train]) - y[~train].ravel()) ** 2).sum()
        assert found.losses[i] == pytest.approx(errors / len(x), rel=1e-5)
    assert found.losses[found.chosen] == min(found.losses)
    explicit = search_ridge(x, y, validation=(x, y), l2s=[1.0])
    assert explicit.chosen_on == "validation" and explicit.l2 == 1.0


def test_refusals():
    x, y = draw(20, 3)
    with pytest.raises(InputError, match="l2"):
        ridge_path(x, y, [-1.0])
    y[4, 1] = np.inf
    with pytest.raises(DataError, match="row 5"):
        ridge_path(x, y, [1.0])
