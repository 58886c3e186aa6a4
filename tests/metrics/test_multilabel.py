"""Multi-label metrics against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn import metrics as oracle

from graft.errors import InputError
from graft.metrics.multilabel import (
    decide,
    label_ranking_average_precision,
    multilabel_metrics,
    multilabel_scorer,
)
from graft.metrics.undefined import gaps


def draw(n=150, c=6, levels=20, density=0.3):
    rng = np.random.default_rng(0)
    labels = (rng.random((n, c)) < density).astype(int)
    return labels, np.clip(rng.integers(levels, size=(n, c)) / levels + labels * 0.2, 0, 1)


@pytest.mark.parametrize("levels", [3, 20, 10**6])
@pytest.mark.parametrize("density", [0.1, 0.5])
def test_equals_scikit_learn(levels, density):
    labels, p = draw(levels=levels, density=density)
    found, decided = multilabel_metrics(labels, p), decide(p)
    expected = {
        "micro_f1": oracle.f1_score(labels, decided, average="micro"),
        "macro_f1": oracle.f1_score(labels, decided, average="macro"),
        "subset_accuracy": oracle.accuracy_score(labels, decided),
        "hamming_loss": oracle.hamming_loss(labels, decided),
        "auroc": oracle.roc_auc_score(labels, p, average="macro"),
        "mean_average_precision": oracle.average_precision_score(labels, p, average="macro"),
        "label_ranking_average_precision": oracle.label_ranking_average_precision_score(labels, p),
    }
    assert found == pytest.approx(expected)


def test_knowing_nothing_scores_chance():
    labels, p = draw()
    found = multilabel_metrics(labels, np.full_like(p, 0.4))
    assert found["auroc"] == 0.5
    assert found["mean_average_precision"] == pytest.approx(labels.mean())
    assert found["hamming_loss"] == pytest.approx(labels.mean())
    assert found["micro_f1"] == 0


def test_rows_with_no_label_or_all_count_as_ranked_right():
    labels = np.array([[0, 0, 0], [1, 1, 1]])
    assert label_ranking_average_precision(labels, np.random.default_rng(0).random((2, 3))) == 1


def test_labels_that_none_or_all_bear_are_left_out():
    labels, p = draw()
    wide = np.concatenate([labels, np.zeros((150, 1)), np.ones((150, 1))], axis=1)
    scores = np.concatenate([p, p[:, :2] * 0.4], axis=1)
    assert multilabel_metrics(wide, scores)["auroc"] == pytest.approx(
        multilabel_metrics(labels, p)["auroc"]
    )
    none, every, unseen = gaps("multilabel", wide, scores)
    assert (none.classes, every.classes, unseen.classes) == ((6,), (7,), (6,))
    assert gaps("multilabel", labels, p) == ()


def test_nothing_borne_and_nothing_decided():
    found = multilabel_metrics(np.zeros((3, 2)), np.full((3, 2), 0.1))
    undefined = {name for name, value in found.items() if math.isnan(value)}
    assert undefined == {"micro_f1", "macro_f1", "auroc", "mean_average_precision"}
    assert found["subset_accuracy"] == 1
    named = {
        m for gap in gaps("multilabel", np.zeros((3, 2)), np.full((3, 2), 0.1)) for m in gap.metrics
    }
    assert undefined == named


def test_refusals():
    labels, p = draw()
    with pytest.raises(InputError, match="do not fit"):
        multilabel_scorer(labels[:, 1:], p)
    with pytest.raises(InputError, match="neither 0 nor 1"):
        multilabel_scorer(labels * 2, p)
