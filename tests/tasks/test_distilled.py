"""Distillation as a decoration: both losses added up, the task inside untouched."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch.nn import functional

from graft.data.table import Roles
from graft.features import Features
from graft.objectives.distillation import softmax_distillation
from graft.solvers import fit_logistic
from graft.tasks.classify import Classify
from graft.tasks.distilled import SAID, UNLABELLED, Distilled, say
from graft.tasks.embed import Embed
from graft.tasks.multilabel import Multilabel
from graft.tasks.regress import Regress
from graft.tasks.task import Progress
from tests.data.makers import text_table
from tests.tasks.letters import backbone

TEXTS = ("ab", "cd", "ef", "gh")
LABELS = ("a", "b", "c", "c")
CLASSES = ("a", "b", "c")
LOGITS = torch.tensor([[3.0, 0, -1], [0, 2, 1], [-1, 1, 0], [0, 0, 4]])


def step(task, model, state, streams, rows=(0, 1, 2, 3)):
    batches = {name: stream.batch(np.asarray(rows)) for name, stream in streams.items()}
    encoded = {name: task.encode(model, b, Progress()) for name, b in batches.items()}
    return encoded, task.loss(encoded, batches, state, Progress())


def made(task, table, said, unlabelled=None):
    torch.manual_seed(0)
    model, state = task.build(backbone())
    streams = task.streams(table, model.backbone)
    say(streams["train"], said)
    if unlabelled is not None:
        rest, answers = unlabelled
        streams[UNLABELLED] = task.unlabelled(rest, model.backbone)
        say(streams[UNLABELLED], answers)
    return model, state, streams


def test_loss_is_both_losses_by_their_weight():
    task = Distilled(Classify(CLASSES), weight=0.3, temperature=2.0, width=3)
    model, state, streams = made(task, text_table(TEXTS, LABELS), LOGITS.numpy())
    assert state is None
    encoded, loss = step(task, model, state, streams)
    logits, labels = encoded["train"]["own"], streams["train"].targets["label"]
    taught, _ = softmax_distillation(logits, LOGITS, temperature=2.0)
    expected = 0.7 * functional.cross_entropy(logits, labels) + 0.3 * taught.mean()
    assert loss.count.item() == pytest.approx(4)
    torch.testing.assert_close(loss.total / loss.count, expected)


@pytest.mark.parametrize("class_weights", [None, (1.0, 2.0, 4.0)])
def test_parts_of_a_step_add_up(class_weights):
    own = Classify(CLASSES, class_weights=class_weights)
    task = Distilled(own, weight=0.3, temperature=2.0, width=3)
    rest = text_table(("ij", "kl", "mn", "op")), LOGITS.numpy()[::-1]
    model, state, streams = made(task, text_table(TEXTS, LABELS), LOGITS.numpy(), rest)
    _, whole = step(task, model, state, streams)
    parts = [step(task, model, state, streams, rows)[1] for rows in ((0, 1, 2), (3,))]
    torch.testing.assert_close(sum(p.total for p in parts), whole.total)
    torch.testing.assert_close(sum(p.count for p in parts), whole.count)


def test_rows_without_labels_are_learned_from_the_teacher_alone():
    task = Distilled(Classify(CLASSES), weight=0.3, width=3)
    rest = text_table(("ij", "kl", "mn", "op")), LOGITS.numpy()[::-1]
    model, state, streams = made(task, text_table(TEXTS, LABELS), LOGITS.numpy(), rest)
    assert set(streams[UNLABELLED].targets) == {SAID}
    encoded, both = step(task, model, state, streams)
    _, alone = step(task, model, state, {"train": streams["train"]})
    rest_loss, _ = softmax_distillation(encoded[UNLABELLED]["own"], LOGITS.flip(0))
    torch.testing.assert_close(both.total, alone.total + rest_loss.sum())
    assert both.count.item() == pytest.approx(8)


def test_labels_that_may_hold_together_and_numbers():
    many = Distilled(Multilabel(CLASSES), weight=1.0, temperature=2.0, width=3)
    table = text_table(TEXTS, [["a"], ["a", "b"], ["c"], ["b"]], target="multi")
    model, state, streams = made(many, table, LOGITS.numpy())
    encoded, loss = step(many, model, state, streams)
    p, q = (torch.sigmoid(z / 2) for z in (encoded["train"]["own"], LOGITS))
    each = q * (q / p).log() + (1 - q) * ((1 - q) / (1 - p)).log()
    torch.testing.assert_close(loss.total, 4 * each.mean(1).sum())
    numbers = Distilled(Regress(("n",), mean=2.0, std=4.0), weight=0.25)
    table = text_table(TEXTS, [1.0, 2.0, 6.0, 10.0], target="number")
    model, state, streams = made(numbers, table, LOGITS.numpy()[:, :1])
    encoded, loss = step(numbers, model, state, streams)
    found = encoded["train"]["own"]
    target = (torch.tensor([1.0, 2, 6, 10]) - 2) / 4
    expected = (
        0.75 * (found[:, 0] - target).square() + 0.25 * (found - LOGITS[:, :1])[:, 0].square()
    )
    torch.testing.assert_close(loss.total, expected.sum())


def test_features_are_projected_beside_the_model_which_begins_as_without_a_teacher():
    plain = Classify(CLASSES)
    task = Distilled(plain, "features", 0.5, width=6, spread=2.0)
    said = np.random.default_rng(0).normal(size=(4, 6))
    model, state, streams = made(task, text_table(TEXTS, LABELS), said)
    torch.manual_seed(0)
    assert all(
        torch.equal(a, b)
        for a, b in zip(
            model.state_dict().values(),
            plain.build(backbone())[0].state_dict().values(),
            strict=True,
        )
    )
    assert [tuple(p.shape) for p in state.parameters()] == [(6, 4), (6,)]
    encoded, loss = step(task, model, state, streams)
    pooled = model.backbone(streams["train"].batch(np.arange(4)).inputs).pooled
    torch.testing.assert_close(encoded["train"]["pooled"], pooled)
    error = (state.projection(pooled) - torch.tensor(said, dtype=torch.float32)).square().mean(1)
    logits, labels = model.head(Features(pooled=pooled)), streams["train"].targets["label"]
    labelled = functional.cross_entropy(logits, labels)
    torch.testing.assert_close(loss.total / 4, 0.5 * labelled + 0.5 * error.mean() / 2)


def test_embeddings_of_one_width_need_no_projection_and_a_pair_counts_once():
    table = text_table(TEXTS, LABELS)
    task = Distilled(Embed(CLASSES, n_classes=3), "embedding", 1.0, width=4)
    said = np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32)
    model, state, streams = made(task, table, said)
    assert state is None
    encoded, loss = step(task, model, state, streams)
    cosines = functional.cosine_similarity(encoded["train"]["own"], torch.tensor(said))
    torch.testing.assert_close(loss.total, (1 - cosines).sum())
    wide = Distilled(Embed(CLASSES, n_classes=3), "embedding", 1.0, width=7)
    assert wide.build(backbone())[1].projection.out_features == 7


def test_pairs_are_taught_item_by_item():
    table = dataclasses.replace(
        text_table(["ab", "cd", "ef"]),
        data=pa.table({"one": ["ab", "cd", "ab"], "two": ["cd", "ef", "ef"]}),
        roles=Roles(("one", "two"), None),
    )
    task = Distilled(Embed(kind="pairs", objective="info_nce"), "embedding", 0.4, width=4)
    said = np.eye(4, dtype=np.float32)[:3]
    model, state, streams = made(task, table, said)
    batch = streams["train"].batch(np.arange(6))
    assert batch.targets[SAID].argmax(1).tolist() == [0, 1, 1, 2, 0, 2]
    _, loss = step(task, model, state, streams, range(6))
    assert loss.count.item() == pytest.approx(3), "a pair counts once in both losses"


def test_what_the_task_inside_has_is_had_and_no_more():
    task = Distilled(Classify(CLASSES, focal=2.0))
    assert (task.name, task.headline, task.classes) == ("classify", "accuracy", CLASSES)
    assert not hasattr(task, "measure") and hasattr(Distilled(Embed()), "measure")
    assert "focal" in task.why_not_convex
    assert "no convex form" in Distilled(Embed(), "embedding").why_not_convex
    assert task.encodes_as == "Classify"
    assert copy.deepcopy(task) == task
    assert task.settled(None) is task.task


@pytest.mark.parametrize("class_weights", [None, (1.0, 2.0, 4.0)])
def test_the_convex_problem_is_that_of_rows_given_twice(class_weights):
    own = Classify(CLASSES, class_weights=class_weights)
    task = Distilled(own, weight=0.3, width=3)
    rest = text_table(("ij", "kl")), LOGITS.numpy()[:2]
    _, _, streams = made(task, text_table(TEXTS, LABELS), LOGITS.numpy(), rest)
    problem = task.convex(streams["train"]).joined(task.convex(streams[UNLABELLED]))
    x = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
    found = fit_logistic(x, problem.targets, l2=0.1, sample_weights=problem.weights, n_classes=3)
    # every labelled row once by its label and once by the teacher, those without by the teacher
    labels = streams["train"].targets["label"].numpy()
    weights = np.ones(4) if class_weights is None else np.asarray(class_weights)[labels]
    targets = np.concatenate([np.eye(3)[labels], torch.softmax(LOGITS, 1).numpy()])
    targets = np.concatenate([targets, torch.softmax(LOGITS[:2], 1).numpy()])
    expected = fit_logistic(
        np.concatenate([x[:4], x[:4], x[4:]]),
        targets.astype(np.float32),
        l2=0.1,
        sample_weights=np.concatenate([0.7 * weights, np.full(4, 0.3), np.ones(2)]),
        n_classes=3,
    )
    np.testing.assert_allclose(found.weight, expected.weight, atol=1e-5)
    np.testing.assert_allclose(found.bias, expected.bias, atol=1e-5)


def test_convex_where_the_sum_of_losses_is_one_problem():
    assert Distilled(Classify(CLASSES), temperature=1.0).why_not_convex == ""
    assert "--distil-temperature 1" in Distilled(Classify(CLASSES), temperature=2.0).why_not_convex
    assert Distilled(Regress(("n",)), temperature=2.0).why_not_convex == ""
    task = Distilled(Classify(CLASSES), "features", temperature=2.0, width=6)
    assert task.why_not_convex == ""
    _, _, streams = made(task, text_table(TEXTS, LABELS), np.zeros((4, 6)))
    assert task.convex(streams["train"]).targets.tolist() == [0, 1, 2, 2]
    assert task.convex(task.unlabelled(text_table(TEXTS), backbone())) is None


def test_groups_of_two_problems_stay_apart():
    task = Distilled(Classify(CLASSES), width=3)
    grouped = text_table(TEXTS, LABELS, group=["0", "0", "1", "1"])
    _, _, streams = made(task, grouped, LOGITS.numpy(), (text_table(TEXTS), LOGITS.numpy()))
    joined = task.convex(streams["train"]).joined(task.convex(streams[UNLABELLED]))
    assert len(joined.targets) == 8 and len(set(joined.groups.tolist())) == 6
    assert joined.groups[0] == joined.groups[1] != joined.groups[2]
