"""Numbers: whatever their unit, the same training; the head ends in the unit of the data."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from graft.errors import InputError
from graft.tasks.regress import Regress
from graft.tasks.task import Progress
from tests.data.makers import text_table
from tests.tasks.letters import backbone

TEXTS = ["one", "two words", "three words here", "four"]


def stream(numbers, task):
    return task.streams(text_table(TEXTS, numbers, target="number"), backbone())["train"]


def test_loss_is_the_squared_error_in_standard_deviations():
    task = Regress(("price",), mean=100.0, std=10.0)
    batch = stream([90.0, 100.0, 110.0, 130.0], task).batch(np.arange(4))
    outputs = torch.tensor([[0.0], [0.0], [2.0], [3.0]])
    loss = task.loss({"train": outputs}, {"train": batch}, None, Progress())
    assert float(loss.total) == pytest.approx(1 + 0 + 1 + 0)


def test_settling_writes_the_unit_into_the_head():
    task = Regress(("price",), mean=100.0, std=10.0)
    model, _ = task.build(backbone())
    model.eval()
    batch = stream([90.0, 100.0, 110.0, 130.0], task).batch(np.arange(4))
    with torch.no_grad():
        before = task.predict(model, batch)["predictions"]
        settled = task.settled(model)
        after = settled.predict(model, batch)["predictions"]
        bare = model(batch.inputs)[:, 0]
    torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(bare.double(), after)
    assert (settled.mean, settled.std) == (0.0, 1.0)


def test_a_head_in_the_unit_of_the_data_is_taken_up_again():
    task = Regress(("price",), mean=100.0, std=10.0)
    body = backbone()
    weight, bias = torch.randn(1, body.width), torch.tensor([95.0])
    body.origin = dataclasses.replace(
        body.origin, classes=("price",), old_head=(weight, bias), problem="regression"
    )
    model, _ = task.build(body)
    model.eval()
    batch = stream([90.0, 100.0, 110.0, 130.0], task).batch(np.arange(4))
    with torch.no_grad():
        expected = body(batch.inputs).pooled @ weight[0] + bias
        found = task.predict(model, batch)["predictions"]
    torch.testing.assert_close(found, expected.double(), rtol=1e-5, atol=1e-4)


def test_a_head_of_other_meaning_is_replaced():
    body = backbone()
    body.origin = dataclasses.replace(
        body.origin,
        classes=("price",),
        old_head=(torch.full((1, body.width), 9.0), torch.ones(1)),
        problem="multi_label_classification",
    )
    model, _ = Regress(("price",)).build(body)
    assert float(model.head.out.weight.detach().max()) < 1


def test_convex_form_is_ridge_on_standardised_numbers():
    task = Regress(("price",), mean=100.0, std=10.0)
    problem = task.convex(stream([90.0, 100.0, 110.0, 130.0], task))
    assert problem.loss == "squared"
    assert problem.targets.tolist() == [-1, 0, 1, 3]


def test_cosine_scores_have_no_unit():
    with pytest.raises(InputError, match="no unit"):
        Regress(("price",), head="cosine")


def test_numbers_are_written_out():
    assert Regress(("price",)).answers(np.array([12345755.0]))[0].label == "12345755"
    (found,) = Regress(("price",)).answers(np.array([3.25]))
    assert (found.label, found.value, found.probabilities) == ("3.25", 3.25, {})
