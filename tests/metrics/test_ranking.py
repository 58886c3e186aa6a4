"""AUROC and average precision, and the laws that every metric of the tables keeps."""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest
from sklearn import metrics as oracle

from graft.errors import InputError, UnknownName
from graft.metrics import METRICS, SCORERS, find_metric
from graft.metrics.class_scores import class_scores, label_scores
from graft.metrics.classification import classification_metrics, classification_scorer, confusion
from graft.metrics.multilabel import decide, multilabel_scorer
from graft.metrics.ranking import (
    auroc,
    average_precision,
    binary_auroc,
    binary_average_precision,
    rank,
    weigh,
)
from graft.metrics.regression import regression_scorer
from graft.metrics.undefined import gaps

ARRAYS = [task for task in METRICS if task not in ("embedding", "matching")]
"""Tasks whose truth is a plain array."""
TABLE = [(task, name) for task in ARRAYS for name in METRICS[task]]
SCORER = {
    "classification": classification_scorer,
    "multilabel": multilabel_scorer,
    "regression": regression_scorer,
}
PERFECT = {
    "log_loss": 0.0,
    "brier_score": 0.0,
    "expected_calibration_error": 0.0,
    "hamming_loss": 0.0,
    "mae": 0.0,
    "rmse": 0.0,
}
# With probabilities 1 / C each, classes equally frequent: what a model that knows nothing scores.
CHANCE = {
    "accuracy": 0.25,
    "balanced_accuracy": 0.25,
    "micro_f1": 0.25,
    # One class takes all predictions: its F1 is 2 * 25 / 125, that of the others 0.
    "macro_f1": 0.1,
    "auroc": 0.5,
    "average_precision": 0.25,
    "log_loss": math.log(4),
    "brier_score": 0.75,
    "expected_calibration_error": 0.0,
}


def softmax(logits):
    e = np.exp(logits - logits.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def draw(task, n=120, c=5, seed=0):
    """Draw targets and outputs that know something, with ties."""
    rng = np.random.default_rng(seed)
    if task == "classification":
        labels = rng.integers(c, size=n)
        return labels, softmax(np.round(rng.normal(size=(n, c)) + np.eye(c)[labels], 1))
    if task == "multilabel":
        labels = (rng.random((n, c)) < 0.3).astype(int)
        return labels, np.round(np.clip(rng.random((n, c)) * 0.7 + 0.3 * labels, 0, 1), 2)
    targets = np.round(rng.normal(size=n), 1)
    return targets, np.round(targets + rng.normal(size=n), 1)


def call(task, name, targets, outputs):
    """Call a metric with what its parameters name."""
    decisions = outputs.argmax(1) if task == "classification" else decide(outputs)
    given = {
        "labels": targets,
        "targets": targets,
        "predicted": decisions,
        "probabilities": outputs,
        "predictions": outputs,
        "n_classes": outputs.shape[-1],
    }
    function = find_metric(task, name)
    names = inspect.signature(function).parameters
    return function(**{p: given[p] for p in names if p in given})


def perfect(task):
    targets, _ = draw(task)
    return targets, np.eye(5)[targets] if task == "classification" else targets.astype(float)


# ---------------------------------------------------------------- laws over the tables


def test_tables_and_scorers_name_the_same():
    assert set(SCORERS) == set(METRICS)
    for task, where in ((task, SCORERS[task]) for task in ARRAYS):
        assert where.split(":")[1] == SCORER[task].__name__
        assert list(SCORER[task](*draw(task)).scores()) == list(METRICS[task])


@pytest.mark.parametrize(("task", "name"), TABLE)
def test_alone_equals_among_all(task, name):
    targets, outputs = draw(task)
    value = call(task, name, targets, outputs)
    assert isinstance(value, float)
    assert value == pytest.approx(SCORER[task](targets, outputs).scores()[name], rel=1e-12)


@pytest.mark.parametrize(("task", "name"), TABLE)
def test_order_of_rows_does_not_matter(task, name):
    targets, outputs = draw(task)
    turn = np.random.default_rng(1).permutation(len(targets))
    value = call(task, name, targets, outputs)
    assert call(task, name, targets[turn], outputs[turn]) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(("task", "name"), [row for row in TABLE if row[0] != "regression"])
def test_order_of_classes_does_not_matter(task, name):
    targets, outputs = draw(task)
    turn = np.array([3, 0, 4, 1, 2])
    # Of equal probabilities the first class is taken, so ties at the top are broken here.
    outputs = outputs + np.random.default_rng(2).random(outputs.shape) * 1e-9
    value = call(task, name, targets, outputs)
    turned = np.argsort(turn)[targets] if task == "classification" else targets[:, turn]
    assert call(task, name, turned, outputs[:, turn]) == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize(("task", "name"), TABLE)
def test_perfect_outputs_are_the_best(task, name):
    best = call(task, name, *perfect(task))
    assert best == pytest.approx(PERFECT.get(name, 1.0), abs=1e-12)
    higher_is_better = METRICS[task][name][2]
    worse = call(task, name, *draw(task))
    assert worse < best if higher_is_better else worse > best


@pytest.mark.parametrize("name", METRICS["classification"])
def test_knowing_nothing_scores_chance(name):
    labels = np.tile(np.arange(4), 25)
    value = call("classification", name, labels, np.full((100, 4), 0.25))
    assert value == pytest.approx(CHANCE[name], abs=1e-12)


@pytest.mark.parametrize(("task", "name"), TABLE)
def test_a_weight_repeats_a_row(task, name):
    targets, outputs = draw(task)
    counts = np.random.default_rng(3).integers(3, size=(2, len(targets)))
    weighed = SCORER[task](targets, outputs).weigh(counts.astype(np.float32))[name]
    for row, value in zip(counts, weighed, strict=True):
        repeated = call(task, name, np.repeat(targets, row, 0), np.repeat(outputs, row, 0))
        assert value == pytest.approx(repeated, rel=1e-6)


@pytest.mark.parametrize(("task", "name"), TABLE)
def test_few_rows_are_no_fault(task, name):
    targets, outputs = draw(task)
    for n in (0, 1, 2):
        value = call(task, name, targets[:n], outputs[:n])
        assert SCORER[task](targets[:n], outputs[:n]).scores()[name] == pytest.approx(
            value, nan_ok=True
        )
        if n == 0:
            assert math.isnan(value)


@pytest.mark.parametrize(("task", "name"), TABLE)
def test_constant_outputs_are_no_fault(task, name):
    targets, outputs = draw(task)
    value = call(task, name, targets, np.full_like(outputs, 0.2))
    assert math.isnan(value) == (name in ("pearson", "spearman"))


@pytest.mark.parametrize(("task", "name"), TABLE)
def test_a_nan_makes_every_metric_nan(task, name):
    targets, outputs = draw(task)
    outputs.flat[7] = np.nan
    assert math.isnan(SCORER[task](targets, outputs).scores()[name])
    assert gaps(task, targets, outputs)[0].metrics == ("all",)


def test_unknown_names():
    with pytest.raises(UnknownName, match="did you mean 'auroc'"):
        find_metric("classification", "auroq")
    with pytest.raises(UnknownName, match="regression"):
        find_metric("regresion", "mae")


# ---------------------------------------------------------------- ranking


def slow_auroc(positive, scores):
    wins = 0.0
    for a in scores[positive]:
        for b in scores[~positive]:
            wins += 1.0 if a > b else 0.5 if a == b else 0.0
    return wins / (positive.sum() * (~positive).sum())


@pytest.mark.parametrize("levels", [2, 5, 1000])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_binary_equals_scikit_learn_and_all_pairs(levels, share):
    rng = np.random.default_rng(levels)
    positive = rng.random(200) < share
    scores = rng.integers(levels, size=200) + positive * levels // 3
    assert binary_auroc(positive, scores) == pytest.approx(slow_auroc(positive, scores))
    assert binary_auroc(positive, scores) == pytest.approx(oracle.roc_auc_score(positive, scores))
    assert binary_average_precision(positive, scores) == pytest.approx(
        oracle.average_precision_score(positive, scores)
    )


@pytest.mark.parametrize("levels", [3, 1000])
def test_weighted_equals_scikit_learn(levels):
    rng = np.random.default_rng(0)
    positive = rng.random(100) < 0.3
    scores = rng.integers(levels, size=100)
    weights = rng.random((4, 100)) * (rng.random((4, 100)) < 0.7)
    found = weigh(rank(positive, scores), weights)
    for r, w in enumerate(weights):
        assert found.auroc[r] == pytest.approx(
            oracle.roc_auc_score(positive, scores, sample_weight=w)
        )
        assert found.average_precision[r] == pytest.approx(
            oracle.average_precision_score(positive, scores, sample_weight=w)
        )


def test_macro_equals_scikit_learn():
    labels, p = draw("classification")
    expected = oracle.roc_auc_score(labels, p, multi_class="ovr", average="macro")
    assert auroc(labels, p) == pytest.approx(expected)
    expected = oracle.average_precision_score(np.eye(5)[labels], p, average="macro")
    assert average_precision(labels, p) == pytest.approx(expected)


def test_two_classes_count_the_second_as_positive():
    labels, p = draw("classification", c=2)
    assert auroc(labels, p) == pytest.approx(oracle.roc_auc_score(labels, p[:, 1]))
    assert average_precision(labels, p) == pytest.approx(
        oracle.average_precision_score(labels, p[:, 1])
    )


def test_absent_classes_are_left_out_of_the_mean():
    labels, p = draw("classification", c=4)
    wide = np.insert(p * 0.9, 2, 0.1, axis=1)
    moved = labels + (labels >= 2)
    assert auroc(moved, wide) == pytest.approx(auroc(labels, p))
    assert average_precision(moved, wide) == pytest.approx(average_precision(labels, p))
    found = gaps("classification", moved, wide)
    assert {gap.classes for gap in found} == {(2,)}
    assert found[0].metrics == ("auroc", "average_precision", "balanced_accuracy")


def test_one_class_alone_has_no_auroc():
    p = np.array([[0.2, 0.8], [0.6, 0.4]])
    assert math.isnan(auroc(np.array([1, 1]), p))
    assert average_precision(np.array([1, 1]), p) == 1
    assert math.isnan(average_precision(np.array([0, 0]), p))
    reasons = gaps("classification", np.array([0, 0]), p)
    assert [gap.metrics[0] for gap in reasons[:2]] == ["auroc", "average_precision"]
    assert gaps("classification", *draw("classification")) == ()


# ---------------------------------------------------------------- classification at once


def test_counts_equal_scikit_learn():
    labels, p = draw("classification")
    predicted, found = p.argmax(1), classification_metrics(labels, p)
    assert found["accuracy"] == pytest.approx(oracle.accuracy_score(labels, predicted))
    assert found["balanced_accuracy"] == pytest.approx(
        oracle.balanced_accuracy_score(labels, predicted)
    )
    for average in ("macro", "micro"):
        expected = oracle.f1_score(labels, predicted, average=average)
        assert found[f"{average}_f1"] == pytest.approx(expected)
    assert found["log_loss"] == pytest.approx(oracle.log_loss(labels, p))


def test_narrow_integers_do_not_overflow():
    labels = np.array([99, 3, 50], dtype=np.uint8)
    assert confusion(labels, labels, 100)[99, 99] == 1
    assert confusion(labels, labels, 100).sum() == 3


def test_per_class_equals_scikit_learn():
    labels, p = draw("classification")
    rows = class_scores(labels, p, names=list("abcde"))
    columns = oracle.precision_recall_fscore_support(labels, p.argmax(1))
    for c, row in enumerate(rows):
        assert row.name == "abcde"[c]
        expected = [column[c] for column in columns]
        assert [row.precision, row.recall, row.f1, row.support] == pytest.approx(expected)
        assert row.auroc == pytest.approx(oracle.roc_auc_score(labels == c, p[:, c]))


def test_per_class_of_what_never_occurs():
    rows = class_scores(np.array([0, 0]), np.array([[0.5, 0.3, 0.2], [0.1, 0.9, 0.0]]))
    assert rows[0].recall == 0.5 and math.isnan(rows[0].auroc)
    assert rows[1].precision == 0 and math.isnan(rows[1].recall) and rows[1].f1 == 0
    assert math.isnan(rows[2].f1) and rows[2].support == 0


def test_per_label_equals_scikit_learn():
    labels, p = draw("multilabel")
    columns = oracle.precision_recall_fscore_support(labels, decide(p))
    for c, row in enumerate(label_scores(labels, p)):
        expected = [column[c] for column in columns]
        assert [row.precision, row.recall, row.f1, row.support] == pytest.approx(expected)
        assert row.average_precision == pytest.approx(
            oracle.average_precision_score(labels[:, c], p[:, c])
        )


def test_refusals():
    labels, p = draw("classification")
    with pytest.raises(InputError, match="do not fit"):
        classification_scorer(labels[1:], p)
    with pytest.raises(InputError, match="do not fit"):
        classification_scorer(labels, p[:, 0])
    with pytest.raises(InputError, match="reach from 0 to 4"):
        classification_scorer(labels, p[:, :3])
    with pytest.raises(InputError, match="2 names for 5 classes"):
        class_scores(labels, p, names=["a", "b"])
