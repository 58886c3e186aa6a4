"""A classifier with a second domain beside it: its loss, and that it learns what both share."""

from __future__ import annotations

import copy
import math
from typing import get_args

import numpy as np
import pytest
import torch
from torch.nn import functional

from graft.errors import UnknownName
from graft.objectives.adversarial import reversal_scale
from graft.objectives.coral import coral
from graft.objectives.mmd import mmd
from graft.recipe import Recipe
from graft.tasks.adapted import ADAPTATIONS, SOURCE, TARGET, Adapted, DomainClassifier
from graft.tasks.classify import Classify
from graft.tasks.task import Progress
from tests.tasks.two_domains import learned, network, stream

LEARNING = [name for name, adaptation in ADAPTATIONS.items() if adaptation.loss is not None]
TASK = Classify(("a", "b"), class_weights=(1.0, 3.0))


def encoded(adapt, weight=1.0):
    """Return a task, its state, what a step encodes as leaves, and the batches."""
    own = network()
    task = Adapted(TASK, adapt, weight)
    model, state = task.build(own)
    batches = {
        SOURCE: stream(own, 0).batch(np.arange(6)),
        TARGET: stream(own, 1, is_target=True).batch(np.arange(6)),
    }
    with torch.no_grad():
        found = {name: task.encode(model, batch, Progress()) for name, batch in batches.items()}
    leaves = {n: {k: t.requires_grad_() for k, t in part.items()} for n, part in found.items()}
    return task, state, leaves, batches


def test_the_model_and_its_head_are_those_without_a_target():
    torch.manual_seed(0)
    plain, none = TASK.build(network())
    torch.manual_seed(0)
    model, state = Adapted(TASK).build(network())
    assert none is None and isinstance(state, DomainClassifier)
    for name, tensor in plain.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor)
    assert Adapted(TASK, "mmd").build(network())[1] is None


@pytest.mark.parametrize("done", [0, 30, 100])
@pytest.mark.parametrize("weight", [1.0, 0.3])
def test_the_adversarial_loss_and_its_gradients(weight, done):
    task, classifier, leaves, batches = encoded("dann", weight)
    loss = task.loss(leaves, batches, classifier, Progress(done, 100))
    own = TASK.loss({SOURCE: leaves[SOURCE]["logits"]}, batches, None, Progress())
    both = torch.cat([leaves[n]["pooled"] for n in (SOURCE, TARGET)]).detach().requires_grad_()
    same = copy.deepcopy(classifier)
    truth = torch.tensor([0.0] * 6 + [1.0] * 6)
    domains = functional.binary_cross_entropy_with_logits(same(both), truth, reduction="sum")
    torch.testing.assert_close(loss.total, own.total + domains)
    assert loss.count == own.count
    loss.total.backward()
    domains.backward()
    scale = -weight * reversal_scale(done / 100)
    for name, expected in zip((SOURCE, TARGET), both.grad.chunk(2), strict=True):
        torch.testing.assert_close(leaves[name]["pooled"].grad, scale * expected)
    for ours, theirs in zip(classifier.parameters(), same.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)  # it learns at its full rate
    assert leaves[TARGET]["logits"].grad is None


@pytest.mark.parametrize(("adapt", "objective"), [("coral", coral), ("mmd", mmd)])
def test_discrepancies_are_of_features_of_one_scale(adapt, objective):
    task, state, leaves, batches = encoded(adapt, 2.0)
    own = TASK.loss({SOURCE: leaves[SOURCE]["logits"]}, batches, None, Progress())
    pooled = [leaves[name]["pooled"] for name in (SOURCE, TARGET)]
    joined = torch.cat(pooled).detach()
    scale = math.sqrt(float(joined.var(0, correction=0).mean()))
    expected = 2.0 * 6 * objective(*(x / scale for x in pooled))[0][0]
    found = task.loss(leaves, batches, state, Progress())
    torch.testing.assert_close(found.total - own.total, expected)
    assert expected > 0 and found.count == own.count
    found.total.backward()
    assert all(x.grad.isfinite().all() and x.grad.abs().sum() > 0 for x in pooled)


def test_without_a_target_only_the_tasks_own_loss_is_left():
    task, state, leaves, batches = encoded("dann")
    own = TASK.loss({SOURCE: leaves[SOURCE]["logits"]}, batches, None, Progress())
    found = task.loss({SOURCE: leaves[SOURCE]}, batches, state, Progress())
    assert found.total == own.total and found.count == own.count


def test_the_rest_is_asked_of_the_task_itself():
    task = Adapted(TASK)
    assert (task.classes, task.head, task.output) == (TASK.classes, TASK.head, TASK.output)
    assert copy.deepcopy(task) == task and hash(task)
    with pytest.raises(AttributeError):
        task.nothing  # noqa: B018
    assert get_args(get_args(Recipe.model_fields["adapt"].annotation)[0]) == tuple(ADAPTATIONS)
    with pytest.raises(UnknownName, match="did you mean 'dann'"):
        Adapted(TASK, "dan")


@pytest.mark.parametrize("adapt", LEARNING)
def test_micro_batches_add_up_to_the_step(adapt):
    whole, parts = (
        learned(adapt, epochs=1, micro_batch_size=size, batch_size=40, clip=None)
        for size in (None, 13)
    )
    for name, tensor in whole.weights.items():
        torch.testing.assert_close(tensor, parts.weights[name], atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("adapt", LEARNING)
def test_what_both_domains_share_is_learned(adapt):
    alone, both = learned(None), learned(adapt)
    assert alone.source > 0.95 and alone.target < 0.6
    assert both.source > 0.95 and both.target > 0.85
    last = both.phase.epochs[-1].scores
    assert last["target_information"] > 0.4 and last["accuracy"] > 0.95


@pytest.mark.slow
def test_gradient_reversal_wins_on_every_seed():
    for seed in range(10, 60, 10):
        assert learned("dann", seed).target > learned(None, seed).target + 0.3


def test_the_best_epoch_is_that_of_the_criterion_and_not_of_the_loss():
    found = learned("dann", epochs=12, patience=12)
    task = Adapted(TASK)
    values = [task.criterion(0.0, epoch.scores) for epoch in found.phase.epochs]
    assert found.phase.best_epoch == int(np.argmin(values))
    losses = [epoch.validation_loss for epoch in found.phase.epochs]
    assert found.phase.best_epoch != int(np.argmin(losses)), "or this test says nothing"
