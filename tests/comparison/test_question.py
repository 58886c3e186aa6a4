"""What is asked of every candidate: neighbours against loops, folds that follow from the rows."""

from __future__ import annotations

import numpy as np
import pytest

from graft.comparison.question import N_FOLDS, N_NEIGHBOURS, Question, paired
from graft.engine.solve import folds_of
from graft.tasks.task import ConvexProblem

RNG = np.random.default_rng(0)
N, D = 60, 5


def ask(loss="softmax", groups=None):
    labels = np.arange(N) % 3
    targets = {
        "softmax": labels,
        "sigmoid": (RNG.random((N, 3)) < 0.4).astype(np.float32),
        "squared": RNG.normal(size=N),
    }[loss]
    metrics = {"softmax": "classification", "sigmoid": "multilabel", "squared": "regression"}[loss]
    problem = ConvexProblem(loss, targets, 3, groups=groups)
    return Question(metrics, problem, targets, 0, folds_of(problem, N_FOLDS, 0))


def features_of(question):
    return (question.columns @ RNG.normal(size=(question.columns.shape[1], D)) * 2
            + RNG.normal(size=(N, D))).astype(np.float32)  # fmt: skip


def nearest_by_loops(question, features):
    outputs = []
    for i in range(N):
        others = [j for j in range(N) if question.folds[j] != question.folds[i]]
        norms = np.linalg.norm(features, axis=1)
        cosine = {j: features[i] @ features[j] / norms[i] / norms[j] for j in others}
        near = sorted(others, key=cosine.__getitem__, reverse=True)[:N_NEIGHBOURS]
        outputs.append(question.columns[near].mean(0))
    return np.stack(outputs)


@pytest.mark.parametrize("loss", ["softmax", "sigmoid", "squared"])
def test_neighbours_equal_loops(loss):
    question = ask(loss)
    features = features_of(question)
    outputs, truth = nearest_by_loops(question, features), question.columns
    if loss == "softmax":
        expected = (outputs.argmax(1) == truth.argmax(1)).mean()
    elif loss == "sigmoid":
        decided = outputs >= 0.5
        expected = 2 * (decided * truth).sum() / (decided.sum() + truth.sum())
    else:
        expected = 1 - np.square(outputs - truth).sum() / np.square(truth - truth.mean()).sum()
    assert question.nearest(features) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("loss", ["softmax", "sigmoid", "squared"])
def test_a_head_on_telling_features_is_ahead_of_one_on_noise(loss):
    question = ask(loss)
    telling = question.probe(features_of(question))
    noise = question.probe(RNG.normal(size=(N, D)).astype(np.float32))
    worse, behind = paired(telling, noise)
    assert worse.value == noise.value
    assert behind.value == pytest.approx(noise.value - telling.value)
    assert behind.high < 0
    same, none = paired(telling, telling)
    assert (same.value, none.low, none.high) == (telling.value, 0, 0)


def test_rows_of_a_group_are_never_neighbours():
    groups = np.arange(N) // 2
    twins = np.repeat(RNG.normal(size=(N // 2, D)), 2, axis=0).astype(np.float32)
    of_twins = RNG.integers(0, 3, N // 2)
    labels = np.repeat(of_twins, 2)
    problem = ConvexProblem("softmax", labels, 3, groups=groups)
    question = Question("classification", problem, labels, 0, folds_of(problem, N_FOLDS, 0))
    assert question.nearest(twins) < 0.8


def test_some_rows_alone_leave_out_classes_that_none_of_them_has():
    question = ask()
    kept = np.flatnonzero(question.truth != 1)
    some = question.take(kept)
    assert some.problem.n_classes == 2
    assert set(some.truth) == {0, 1}
    assert set(some.folds) == set(range(N_FOLDS))
    assert some.probe(features_of(question)[kept]).value > 0.5
    several = ask("sigmoid")
    several = several.take(np.flatnonzero(several.truth[:, 1] == 1))
    assert several.columns.shape[1] == several.problem.n_classes == 2
