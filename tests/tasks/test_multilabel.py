"""Several labels a row: targets, loss, the convex form and what is answered."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from graft.batch import Batch
from graft.data.table import Table
from graft.errors import DataError
from graft.solvers import search_l2
from graft.tasks.multilabel import Multilabel
from graft.tasks.task import Progress
from tests.data.makers import text_table
from tests.tasks.letters import backbone

CLASSES = ("a", "b", "c")
TEXTS = ["one", "two words", "three words here", "four"]


def table(labels) -> Table:
    return text_table(TEXTS, labels, target="multi")


def test_targets_are_zeros_and_ones_and_no_label_is_a_row_of_zeros():
    stream = Multilabel(CLASSES).streams(table([["a"], ["c", "a"], [], ["b"]]), backbone())
    expected = [[1, 0, 0], [1, 0, 1], [0, 0, 0], [0, 1, 0]]
    assert stream["train"].targets["labels"].tolist() == expected


def test_an_unknown_label_names_its_row():
    with pytest.raises(DataError, match="row 2 column `label`: label 'x'"):
        Multilabel(CLASSES).streams(table([["a"], ["x"], [], ["b"]]), backbone())


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_loss_is_the_mean_over_labels_of_binary_cross_entropy(smoothing):
    task = Multilabel(CLASSES, label_smoothing=smoothing)
    logits = torch.tensor([[2.0, -1.0, 0.5], [0.0, 3.0, -2.0]])
    targets = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    batch = Batch({}, {"labels": targets}, np.arange(2))
    loss = task.loss({"train": logits}, {"train": batch}, None, Progress())
    slow = 0.0
    for row, truth in zip(logits, targets, strict=True):
        terms = []
        for z, t in zip(row.tolist(), truth.tolist(), strict=True):
            p = 1 / (1 + np.exp(-z))
            t = (1 - smoothing) * t + smoothing / 2
            terms.append(-(t * np.log(p) + (1 - t) * np.log(1 - p)))
        slow += np.mean(terms)
    assert float(loss.total) == pytest.approx(slow, rel=1e-6)
    assert float(loss.count) == 2


def test_a_label_that_every_row_has_cannot_be_learned():
    stream = Multilabel(CLASSES).streams(table([["a"], ["a", "b"], ["a"], ["a", "c"]]), backbone())
    with pytest.raises(DataError, match="every training row has the label 'a'"):
        Multilabel(CLASSES).convex(stream["train"])


def test_answers_join_the_labels_that_hold():
    found = Multilabel(CLASSES).answers(np.array([[0.9, 0.1, 0.5], [0.2, 0.3, 0.4]]))
    assert [f.label for f in found] == ["a;c", "[]"]
    assert found[0].labels == ("a", "c")
    assert found[1].probabilities == {"a": 0.2, "b": 0.3, "c": 0.4}


def test_labels_rarer_than_folds_do_not_stop_the_search():
    random = np.random.default_rng(0)
    x = random.normal(size=(100, 8)).astype(np.float32)
    targets = (x[:, :4] + random.normal(size=(100, 4)) > 0).astype(np.float32)
    targets[:, 2], targets[:, 3] = 0, 1
    targets[5, 2], targets[7, 3] = 1, 0
    found = search_l2(x, targets, folds=np.arange(100) % 5, loss="sigmoid")
    # the fold that holds the one row of a label out never saw it, so that row is not scored
    assert found.n_unscored == 2
    assert found.converged and found.solution.converged
    assert np.isfinite(found.losses).all()
