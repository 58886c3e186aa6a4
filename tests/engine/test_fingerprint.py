"""Fingerprints must notice whatever training does to a tensor, however fast it is done."""

from __future__ import annotations

import copy

import pytest
import torch

from graft.engine.fingerprint import fingerprint
from graft.engine.run import run
from graft.methods.plan import Gradient, Phase, Plan, Rule
from graft.methods.select import everything
from tests.engine.enemies import detector


def of(tensors) -> str:
    return fingerprint(tensors)


def test_equal_bytes_have_equal_fingerprints():
    model = detector().model
    again = copy.deepcopy(model)
    assert of(model.state_dict().items()) == of(again.state_dict().items())
    assert of(model.named_parameters()) == of(list(again.named_parameters())[::-1])


def test_training_changes_every_fingerprint():
    scene = detector()
    tensors = [*scene.model.named_parameters(), *scene.model.named_buffers()]
    before = {name: of([(name, tensor)]) for name, tensor in tensors}
    plan = Plan((Phase("all", (Rule(everything(), 1e-2),), Gradient(epochs=1, batch_size=6)),))
    run(plan, scene.model, scene.task, {"train": scene.streams})
    after = {name: of([(name, tensor)]) for name, tensor in tensors}
    assert not [name for name in before if before[name] == after[name]]


@pytest.mark.parametrize("change", ["load", "init", "value", "shape", "dtype", "name"])
def test_any_change_changes_it(change):
    weight = torch.nn.Parameter(torch.zeros(2, 3))
    before = of([("w", weight)])
    name = "w"
    with torch.no_grad():
        if change == "load":
            torch.nn.ParameterDict({"w": weight}).load_state_dict({"w": torch.ones(2, 3)})
        elif change == "init":
            torch.nn.init.ones_(weight)
        elif change == "value":
            weight[0, 0] = 1e-30
        elif change == "shape":
            weight = weight.reshape(3, 2)
        elif change == "dtype":
            weight = weight.view(torch.int32)
        else:
            name = "v"
    assert of([(name, weight)]) != before
