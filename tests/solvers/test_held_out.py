"""What a search says of held-out rows is what a fit without them says."""

from __future__ import annotations

import numpy as np
import pytest

from graft.solvers import fit_logistic, fit_multilabel, ridge_path, search_l2, search_ridge


def draw(n=90, d=6, n_classes=3):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, d)).astype(np.float32)
    scores = x @ rng.normal(size=(d, n_classes)) + rng.normal(size=(n, n_classes))
    return x, scores, np.arange(n) % 4


def by_hand(x, fit, folds):
    """Return the scores of each row by a fit on the other folds."""
    found = []
    for i, fold in enumerate(folds):
        solution = fit(folds != fold)
        found.append(x[i] @ solution.weight.numpy().T + solution.bias.numpy())
    return np.stack(found)


def test_softmax():
    x, scores, folds = draw()
    y = scores.argmax(1)
    found = search_l2(x, y, folds=folds)
    expected = by_hand(x, lambda kept: fit_logistic(x[kept], y[kept], l2=found.l2), folds)
    # the path stops a little early
    np.testing.assert_allclose(found.held_out, expected, atol=0.02)
    right = (found.held_out.numpy().argmax(1) == y).mean()
    assert found.accuracies[found.chosen] == pytest.approx(right)


def test_sigmoid():
    x, scores, folds = draw()
    y = (scores > 0).astype(np.float32)
    found = search_l2(x, y, folds=folds, loss="sigmoid")
    expected = by_hand(x, lambda kept: fit_multilabel(x[kept], y[kept], l2=found.l2), folds)
    np.testing.assert_allclose(found.held_out, expected, atol=0.02)


def test_ridge():
    x, scores, folds = draw()
    found = search_ridge(x, scores, folds=folds)
    expected = by_hand(x, lambda kept: ridge_path(x[kept], scores[kept], [found.l2])[0], folds)
    np.testing.assert_allclose(found.held_out, expected, atol=1e-6)
    loss = 0.5 * np.square(expected - scores).sum(1).mean()
    assert found.losses[found.chosen] == pytest.approx(loss)


def test_a_validation_set_is_answered_by_the_one_fit():
    x, scores, _ = draw()
    y, held = scores.argmax(1), slice(60, None)
    found = search_l2(x[:60], y[:60], validation=(x[held], y[held]))
    once = found.solution
    expected = x[held] @ once.weight.numpy().T + once.bias.numpy()
    np.testing.assert_allclose(found.held_out, expected, atol=0.02)
    numbers = search_ridge(x[:60], scores[:60], validation=(x[held], scores[held]))
    once = numbers.solution
    expected = x[held] @ once.weight.numpy().T + once.bias.numpy()
    np.testing.assert_allclose(numbers.held_out, expected, atol=1e-6)


def test_a_class_that_a_fold_was_not_trained_on_is_never_answered_there():
    x, scores, folds = draw()
    y = np.where(folds == 0, 0, 1 + scores[:, :2].argmax(1))
    found = search_l2(x, y, folds=folds)
    assert not (found.held_out.numpy().argmax(1)[folds == 0] == 0).any()
