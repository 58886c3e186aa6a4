"""LogME against the evidence itself, maximised by brute force with dense determinants."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.optimize import minimize

from graft.transferability.logme import log_evidences, logme

SHAPES = [(60, 5), (30, 30), (20, 50), (150, 12)]
STARTS = list(itertools.product((-3.0, 1.0, 5.0), (-2.0, 1.0, 4.0)))


def log_evidence(x, y, log_alpha, log_beta):
    """Return log p(y | x, alpha, beta) of y ~ N(0, x x^T / alpha + 1 / beta), dense."""
    covariance = x @ x.T / math.exp(log_alpha) + np.eye(len(y)) / math.exp(log_beta)
    sign, log_determinant = np.linalg.slogdet(covariance)
    assert sign > 0
    return -0.5 * (
        len(y) * math.log(2 * math.pi) + log_determinant + y @ np.linalg.solve(covariance, y)
    )


def brute(x, y):
    """Return the largest log evidence per row, searched for from many starts."""

    def negative(at):
        # beyond e^±25 one of the variances is as good as absent
        return -log_evidence(x, y, *np.clip(at, -25, 25)) / len(y)

    options = {"xatol": 1e-8, "fatol": 1e-12, "maxiter": 2000}
    found = [minimize(negative, s, method="Nelder-Mead", options=options).fun for s in STARTS]
    return -min(found)


def draw(n, d, noise):
    rng = np.random.default_rng(n + d)
    x = rng.normal(size=(n, d)) * np.geomspace(1, 0.1, d) + 0.3
    return x, x @ rng.normal(size=d) + noise * rng.normal(size=n)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("noise", [0.3, 3.0, 30.0])
def test_equals_the_evidence_maximised_by_brute_force(shape, noise):
    x, y = draw(*shape, noise)
    assert log_evidences(x, y[:, None])[0] == pytest.approx(brute(x, y), abs=1e-6)


def test_classes_are_taken_one_against_the_rest():
    x, y = draw(60, 5, 1.0)
    classes = np.eye(3)[np.digitize(y, np.quantile(y, [0.3, 0.7]))]
    each = log_evidences(x, classes)
    for found, column in zip(each, classes.T, strict=True):
        assert found == pytest.approx(brute(x, column), abs=1e-6)
    assert logme(x, classes) == pytest.approx(each.mean(), rel=1e-12)


def test_features_that_tell_nothing_are_worth_as_much_as_none():
    rng = np.random.default_rng(0)
    y = rng.normal(size=200)
    none = (math.log(200 / (y @ y)) - 1 - math.log(2 * math.pi)) / 2
    noise = rng.normal(size=(200, 3))
    noise -= np.outer(y, y @ noise) / (y @ y)  # exactly nothing, so that the best alpha is infinite
    assert log_evidences(noise, y[:, None])[0] == pytest.approx(none, abs=1e-6)
    assert log_evidences(np.zeros((200, 3)), y[:, None])[0] == pytest.approx(none, abs=1e-12)


def test_neither_scale_nor_rotation_of_features_matters():
    x, y = draw(60, 5, 1.0)
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))
    expected = logme(x, y[:, None])
    assert logme(1e3 * x, y[:, None]) == pytest.approx(expected, abs=1e-9)
    assert logme(x @ turn, y[:, None]) == pytest.approx(expected, abs=1e-9)


def test_a_memory_map_in_blocks_gives_the_same(tmp_path, monkeypatch):
    from graft.transferability import spectrum

    x, y = draw(150, 12, 1.0)
    mapped = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, x.shape)
    mapped[:] = x
    expected = logme(x.astype(np.float32), y[:, None])
    monkeypatch.setattr(spectrum, "BLOCK_ELEMENTS", 100)
    assert logme(mapped, y[:, None]) == pytest.approx(expected, abs=1e-10)


def test_a_target_that_is_zero_counts_in_no_mean():
    x, y = draw(60, 5, 1.0)
    with_zero = np.stack([y, np.zeros(60)], axis=1)
    assert math.isnan(log_evidences(x, with_zero)[1])
    assert logme(x, with_zero) == pytest.approx(logme(x, y[:, None]), rel=1e-12)
    assert math.isnan(logme(x, np.zeros((60, 1))))
