"""Classification: targets, heads, loss."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from graft.batch import Batch
from graft.errors import DataError
from graft.objectives.focal import focal_loss
from graft.tasks.classify import Classify, balanced_weights
from graft.tasks.labelled import keeps_head
from graft.tasks.task import Progress
from tests.data.makers import text_table
from tests.tasks.letters import backbone

CLASSES = ("a", "b", "c")


TEXTS = ("ab", "cd", "ef", "gh")


def step(task, model, stream, rows=(0, 1, 2, 3)):
    batch = stream.batch(np.asarray(rows))
    logits = task.encode(model, batch, Progress())
    return logits, task.loss({"train": logits}, {"train": batch}, None, Progress())


def test_loss_is_the_weighted_sum():
    task = Classify(CLASSES, class_weights=(1.0, 2.0, 4.0), label_smoothing=0.1)
    model, beside = task.build(backbone())
    assert beside is None
    stream = task.streams(text_table(TEXTS, ["a", "b", "c", "c"]), model.backbone)["train"]
    logits, loss = step(task, model, stream)
    assert logits.shape == (4, 3)
    assert loss.count.item() == 11
    each = nn.functional.cross_entropy(
        logits, stream.targets["label"], reduction="none", label_smoothing=0.1
    )
    torch.testing.assert_close(loss.total, (each * torch.tensor([1.0, 2, 4, 4])).sum())
    parts = [step(task, model, stream, rows)[1] for rows in ((0, 1), (2, 3))]
    torch.testing.assert_close(sum(p.total for p in parts), loss.total)


def test_focal_loss_counts_certain_examples_less_and_is_not_convex():
    plain, focused = Classify(CLASSES), Classify(CLASSES, focal=2.0)
    model, _ = plain.build(backbone())
    stream = plain.streams(text_table(TEXTS, ["a", "b", "c", "c"]), model.backbone)["train"]
    logits, loss = step(focused, model, stream)
    expected, _ = focal_loss(logits, stream.targets["label"], gamma=2.0)
    torch.testing.assert_close(loss.total, expected.sum())
    assert loss.total < step(plain, model, stream)[1].total
    assert plain.why_not_convex == "" and "focal" in focused.why_not_convex


def test_predictions_are_probabilities():
    task = Classify(CLASSES)
    model, _ = task.build(backbone())
    stream = task.streams(text_table(TEXTS), model.backbone)["train"]
    assert stream.targets["label"].tolist() == [-1] * 4
    found = task.predict(model, stream.batch(np.arange(4)))["probabilities"]
    torch.testing.assert_close(found.sum(1), torch.ones(4))


def test_label_that_no_class_has_is_refused_with_its_row():
    with pytest.raises(DataError) as caught:
        Classify(CLASSES).streams(text_table(TEXTS, ["a", "b", "x", "c"]), backbone())
    assert (caught.value.row, caught.value.column) == (3, "label")
    assert "'x'" in str(caught.value)


def old_head():
    return torch.arange(12.0).reshape(3, 4), torch.tensor([0.0, 10, 20])


def test_head_is_kept_in_our_order_where_the_targets_are_the_same():
    made = backbone(classes=("c", "a", "b"), old_head=old_head())
    task = Classify(CLASSES)
    assert keeps_head(task, made)
    model, _ = task.build(made)
    assert model.head.out.bias.tolist() == [10, 20, 0]
    assert torch.equal(model.head.out.weight, old_head()[0][[1, 2, 0]])
    with torch.no_grad():
        model.head.out.weight.zero_()
    assert made.origin.old_head[0].any(), "the checkpoint's own head was changed"


@pytest.mark.parametrize(
    "task",
    [
        Classify(("a", "b")),
        Classify(("a", "b", "d")),
        Classify(CLASSES, head="cosine"),
        Classify(CLASSES, keep_head=False),
    ],
)
def test_head_is_replaced_otherwise(task):
    made = backbone(classes=CLASSES, old_head=old_head())
    assert not keeps_head(task, made)
    model, _ = task.build(made)
    assert not any(torch.equal(p, old_head()[0]) for p in model.head.parameters())


def test_head_is_replaced_where_the_checkpoint_has_none():
    assert not keeps_head(Classify(CLASSES), backbone(classes=CLASSES))


def test_convex_problem():
    task = Classify(CLASSES, class_weights=(1.0, 2.0, 3.0))
    table = text_table(TEXTS, ["a", "b", "c", "c"], group=["x", "x", "y", "z"])
    problem = task.convex(task.streams(table, backbone())["train"])
    assert (problem.loss, problem.n_classes) == ("softmax", 3)
    assert problem.targets.tolist() == [0, 1, 2, 2]
    assert problem.weights.tolist() == [[1, 2, 3][i] for i in problem.targets]
    assert problem.groups.tolist() == ["x", "x", "y", "z"]


def test_balanced_weights_give_every_class_the_same_sum():
    counts = {"a": 10, "b": 1, "c": 4}
    weights = balanced_weights(counts)
    sums = [weights[name] * n for name, n in counts.items()]
    assert sums == pytest.approx([5, 5, 5])
    compute = pytest.importorskip("sklearn.utils.class_weight", reason="needs scikit-learn")
    labels = [name for name, n in counts.items() for _ in range(n)]
    expected = compute.compute_class_weight("balanced", classes=np.array(list("abc")), y=labels)
    assert [weights[c] for c in "abc"] == pytest.approx(expected.tolist())


def test_batches_lie_together():
    task = Classify(CLASSES)
    stream = task.streams(text_table(TEXTS, ["a", "b", "c", "c"]), backbone())["train"]
    batch = stream.batch(np.array([3, 1]))
    assert isinstance(batch, Batch)
    assert batch.rows.tolist() == [3, 1]
    assert batch.targets["label"].tolist() == [2, 1]
    assert batch.inputs["input"].tolist() == [[7, 8], [3, 4]]
