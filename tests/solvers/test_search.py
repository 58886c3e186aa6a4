"""The laws of choosing a penalty: each number equals the slow way of getting it."""

from __future__ import annotations

from math import nan

import numpy as np
import pytest
import torch

from graft.errors import DataError, InputError
from graft.solvers import fit_logistic, search_l2
from graft.solvers.family import Family
from graft.solvers.held_out import by_folds
from graft.solvers.link import Softmax
from graft.solvers.logistic import single
from graft.solvers.newton import minimise
from graft.solvers.rows import read_rows
from graft.solvers.search import middle
from graft.solvers.targets import read_targets
from tests.solvers.test_logistic import draw, objective, one_hot, scikit


def held_out_loss(x, y, train, l2, **options):
    model = fit_logistic(x[train], y[train], l2=l2, **options)
    z = torch.from_numpy(x[~train]).double() @ model.weight.T + model.bias
    return float(torch.nn.functional.cross_entropy(z, torch.from_numpy(y[~train])))


def test_fold_losses_are_those_of_separate_cold_fits():
    x, y = draw(240, 12, 3)
    folds = np.arange(len(y)) % 4
    found = search_l2(x, y, folds=folds, l2s=[1.0, 1e-1, 1e-2, 1e-3, 1e-4], patience=None)
    for l2, losses in zip(found.l2s, found.fold_losses, strict=True):
        slow = [held_out_loss(x, y, folds != f, l2) for f in range(4)]
        np.testing.assert_allclose(losses, slow, rtol=3e-3)
    np.testing.assert_allclose(found.losses, np.mean(found.fold_losses, 1), rtol=1e-9)
    assert found.chosen == int(np.argmin(found.losses))
    assert found.converged and found.chosen_on == "folds"
    cold = fit_logistic(x, y, l2=found.l2)
    torch.testing.assert_close(found.solution.weight, cold.weight, rtol=0, atol=1e-6)
    assert found.solution.objective == pytest.approx(cold.objective, rel=1e-12)


def test_fold_losses_are_right_where_classes_are_nearly_separable():
    """There a held-out loss tells far more of an unfinished fit than the objective does."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(12, 20)) * 2
    y = np.arange(600) % 12
    x = (centres[y] + rng.normal(size=(600, 20))).astype(np.float32)
    folds = np.arange(600) // 12 % 5
    found = search_l2(x, y, folds=folds, patience=None)
    for i in (12, 18, 22, 24):
        slow = np.mean([held_out_loss(x, y, folds != f, found.l2s[i]) for f in range(5)])
        assert found.losses[i] == pytest.approx(slow, rel=1e-2)


@pytest.mark.parametrize("n_classes", [3, 40])
def test_fold_losses_are_right_where_penalties_are_next_to_nothing(n_classes):
    """Losses of 1e-7 leave float32 nothing to see, and an inverse it spoils must not end a fit."""
    rng = np.random.default_rng(2)
    y = np.arange(900) % n_classes
    x = rng.normal(size=(n_classes, 64))[y] + rng.normal(size=(900, 64)) * np.geomspace(3, 0.1, 64)
    x, folds = x.astype(np.float32), np.arange(900) // n_classes % 5
    found = search_l2(x, y, folds=folds, l2s=np.geomspace(1e-3, 1e-9, 10), patience=None)
    for i in (3, 6, 9):
        slow = np.mean([held_out_loss(x, y, folds != f, found.l2s[i]) for f in range(5)])
        assert found.losses[i] == pytest.approx(slow, rel=4e-2)


def test_the_choice_follows_the_scale_of_the_features():
    x, y = draw(200, 10, 3)
    folds = np.arange(len(y)) % 5
    one = search_l2(x, y, folds=folds)
    two = search_l2(x * np.float32(1024), y, folds=folds)
    assert one.chosen == two.chosen
    torch.testing.assert_close(two.solution.weight * 1024, one.solution.weight, atol=1e-5, rtol=0)


def test_a_grid_too_narrow_is_extended_at_either_end():
    x, y = draw(200, 10, 3)
    folds = np.arange(len(y)) % 5
    wide = search_l2(x, y, folds=folds, patience=None)
    best = wide.l2
    for grid in ([best * 30, best * 15], [best / 15, best / 30]):
        found = search_l2(x, y, folds=folds, l2s=grid)
        assert len(found.l2s) > 2 and not found.at_edge
        assert list(found.l2s) == sorted(found.l2s, reverse=True)
        assert 0.2 < found.l2 / best < 5
        assert len(found.losses) == len(found.fold_losses) == len(found.accuracies)


def test_noise_alone_ends_at_the_edge_and_says_so():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(90, 40)).astype(np.float32), np.arange(90) % 3
    found = search_l2(x, y, folds=np.arange(90) // 3 % 5, l2s=[1e-2, 1e-3])
    assert found.at_edge == (found.chosen in (0, len(found.l2s) - 1))
    assert found.l2 > 1e-2


def test_patience_ends_the_path_without_changing_the_choice():
    x, y = draw(200, 40, 3)
    folds = np.arange(len(y)) % 5
    whole, short = (search_l2(x, y, folds=folds, patience=p) for p in (None, 3))
    assert len(short.l2s) < len(whole.l2s)
    assert short.l2 == whole.l2


def test_a_path_ends_where_every_fold_has_turned():
    x, y = draw(600, 20, 3)
    folds = np.arange(len(y)) % 5
    whole, short = (search_l2(x, y, folds=folds, patience=p) for p in (None, 5))
    n_worse = len(short.l2s) - 1 - short.chosen
    assert short.l2 == whole.l2 and 2 <= n_worse < 5
    assert (np.diff(np.array(short.fold_losses)[-3:], axis=0) > 0).all()
    before = np.diff(np.array(short.fold_losses)[-4:-1], axis=0)
    assert n_worse == 2 or not (before > 0).all()


def test_validation_rows_are_never_trained_on():
    x, y = draw(300, 10, 3)
    found = search_l2(x[:200], y[:200], validation=(x[200:], y[200:]))
    train = np.arange(300) < 200
    assert found.chosen_on == "validation"
    slow = held_out_loss(x, y, train, found.l2)
    assert found.losses[found.chosen] == pytest.approx(slow, rel=3e-3)
    cold = fit_logistic(x[:200], y[:200], l2=found.l2)
    torch.testing.assert_close(found.solution.weight, cold.weight, rtol=0, atol=1e-6)


def test_a_class_inside_one_fold_is_switched_off_there():
    x, y = draw(120, 6, 3)
    y[y == 2] = 0
    y[:4] = 2
    folds = np.arange(len(y)) % 4
    folds[:4] = 1
    found = search_l2(x, y, folds=folds, l2s=[1.0, 1e-1, 1e-2])
    assert found.n_unscored == 4
    assert found.converged and np.isfinite(found.losses).all()
    rest = (folds != 1) | (y == 2)
    kept = rest | (y != 2)
    slow = held_out_loss(x[kept & (y != 2)], y[kept & (y != 2)], folds[y != 2] != 1, found.l2)
    assert found.fold_losses[found.chosen][1] == pytest.approx(slow, rel=3e-3)


def rare(seed, *, n=60, d=8, n_classes=25):
    """Return features (N, D), classes of which most have two rows, and folds.

    The first two rows of a dozen classes lie in one fold.
    """
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2)) @ rng.normal(size=(2, d)) + 0.1 * rng.normal(size=(n, d))
    y = np.concatenate([*(2 * [np.arange(n_classes)]), np.arange(n - 2 * n_classes)])
    folds = rng.permutation(n) % 5
    folds[:12] = folds[n_classes : n_classes + 12]
    return (x + rng.normal(size=d)).astype(np.float32), y, folds


@pytest.mark.parametrize("seed", range(3))
def test_classes_that_folds_lack_do_not_spoil_the_fit_on_all_rows(seed):
    x, y, folds = rare(seed)
    found = search_l2(x, y, folds=folds)
    assert found.converged and found.solution.converged
    weight, bias = scikit(x, y, found.l2)
    theirs = objective(x, one_hot(y), weight, bias, found.l2)
    assert found.solution.objective <= theirs * (1 + 1e-6)


def test_a_problem_never_moves_the_class_that_it_lacks():
    x, y, folds = rare(0)
    targets = read_targets(y, n_rows=60, device=torch.device("cpu"))
    rows, ones = read_rows(x), torch.ones(60, dtype=torch.float64)
    family, _ = by_folds(
        Family(rows, targets, Softmax(), ones[:, None], ones), ones, torch.from_numpy(folds)
    )
    start = ones.new_zeros(5, 25, 8)
    point = minimise(family, start, start[..., 0], l2=0.1, tolerance=1e-8, max_iterations=100).point
    assert not family.moves.all()
    assert not point.weight[~family.moves].any() and not point.bias[~family.moves].any()


def test_a_start_that_is_worse_than_zero_is_left():
    x, y = draw(40, 6, 3)
    targets = read_targets(y, n_rows=40, device=torch.device("cpu"))
    ones = torch.ones(40, 1, dtype=torch.float64)
    family = single(Family(read_rows(x), targets, Softmax(), ones, ones))
    good = fit_logistic(x, y, l2=0.1)
    for weight, kept in ((good.weight, True), (-good.weight, False), (good.weight * nan, False)):
        start = middle(family, weight[None], good.bias[None], l2=0.1)
        assert torch.equal(start[0][0], weight if kept else torch.zeros_like(weight))
        assert torch.equal(start[1][0], good.bias if kept else torch.zeros_like(good.bias))


def test_folds_that_tear_no_class_apart_cannot_be_scored():
    x = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    y = np.repeat(np.arange(4), 10)
    with pytest.raises(InputError, match="no fold can be scored"):
        search_l2(x, y, folds=y % 2)


def test_soft_targets_and_labels_are_searched_too():
    x, y = draw(160, 8, 3)
    folds = np.arange(len(y)) % 4
    hard = search_l2(x, y, folds=folds)
    soft = search_l2(x, one_hot(y), folds=folds)
    assert soft.l2 == hard.l2
    assert soft.accuracies[soft.chosen] == pytest.approx(hard.accuracies[hard.chosen])
    labels = search_l2(x, one_hot(y), folds=folds, loss="sigmoid")
    assert labels.solution.converged and labels.accuracies[labels.chosen] > 0.7


def test_refusals():
    x, y = draw(40, 5, 3)
    with pytest.raises(InputError, match="either folds or"):
        search_l2(x, y)
    with pytest.raises(InputError, match="at least two folds"):
        search_l2(x, y, folds=np.zeros(40, int))
    with pytest.raises(DataError, match="class 3"):
        search_l2(x, y, folds=np.arange(40) % 2, n_classes=4)
