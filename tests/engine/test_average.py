"""The moving average of weights: its numbers, what it validates, and what the phase ends with."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch
from torch import nn

from graft.backbones.own import backbone
from graft.engine.average import begin_average
from graft.engine.run import run
from graft.engine.settings import Settings
from graft.methods.plan import Gradient, Phase, Plan, Rule
from graft.methods.select import blocks, everything, head
from graft.tasks.classify import Classify
from tests.engine.streams import ArrayStream

BY = Gradient(epochs=2, batch_size=8, schedule="constant", warmup=0.0)
TASK = Classify(tuple("abc"))


def stream(n=24, seed=0):
    source = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 5, generator=source)
    return {"train": ArrayStream({"input": x}, {"label": x[:, :3].argmax(1)}, key=f"{n}-{seed}")}


def model(seed=0):
    torch.manual_seed(seed)
    layers = [nn.Sequential(nn.Linear(i, 8), nn.BatchNorm1d(8), nn.Tanh()) for i in (5, 8)]
    return TASK.build(backbone(nn.Sequential(*layers), blocks="*", width=8))[0]


def train(net, by=BY, rules=None, validation=None, after=None):
    task = TASK
    if after is not None:
        task = Watched(TASK.classes)
        object.__setattr__(task, "after", after)
    splits = {"train": stream()}
    if validation is not None:
        splits["validation"] = validation
    phase = Phase("all", rules or (Rule(everything(), 1e-2),), by)
    return run(Plan((phase,)), net, task, splits, settings=Settings())


class Watched(Classify):
    """Call `after` with the model after each step."""

    def after_step(self, net, state, progress):
        self.after(net)


def test_average_equals_the_slow_loop():
    live = {"w": torch.tensor([1.0, 2.0]), "n": torch.tensor([3])}
    average = begin_average(live, 0.5, n_updates=0, saved={})
    expected = [1.0, 2.0]
    for t in range(12):
        live["w"].add_(1.0)
        average.update()
        decay = min(0.5, (1 + t) / (10 + t))
        expected = [decay * a + (1 - decay) * b for a, b in zip(expected, live["w"], strict=True)]
    assert average.shadow["w"].tolist() == pytest.approx([float(x) for x in expected])
    assert set(average.shadow) == {"w"}, "a whole number has no average"
    before = live["w"].clone()
    with average.in_place():
        assert torch.equal(live["w"], average.shadow["w"])
    assert torch.equal(live["w"], before)
    again = begin_average(live, 0.5, n_updates=12, saved=average.shadow)
    assert torch.equal(again.shadow["w"], average.shadow["w"]) and again.n_updates == 12


def test_phase_ends_with_the_average_of_weights_and_statistics():
    net, seen = model(), []
    train(copy.deepcopy(net), after=lambda m: seen.append(copy.deepcopy(m.state_dict())))
    start = net.state_dict()
    shadow = {k: t.clone() for k, t in start.items()}
    train(net, dataclasses.replace(BY, ema=0.8))
    for t, weights in enumerate(seen):
        decay = min(0.8, (1 + t) / (10 + t))
        shadow = {
            k: decay * shadow[k] + (1 - decay) * w if w.is_floating_point() else w
            for k, w in weights.items()
        }
    assert len(seen) == 6
    torch.testing.assert_close(dict(net.state_dict()), shadow)


def test_what_is_frozen_stays_and_minus_infinity_with_it():
    net = model()
    net.backbone.net.register_buffer("mask", torch.tensor([0.0, -torch.inf]))
    before = copy.deepcopy(net.state_dict())
    rules = (Rule(head(), 1e-2), Rule(blocks(-1), 1e-2), Rule(everything(), None))
    train(net, dataclasses.replace(BY, ema=0.9), rules)
    same = {k for k, t in net.state_dict().items() if torch.equal(t, before[k])}
    assert same == {k for k in before if k.startswith("backbone.net.0.") or "mask" in k}


def test_validation_sees_the_averaged_weights():
    held_out = stream(24, seed=1)
    net = model()
    [record] = train(net, dataclasses.replace(BY, ema=0.99), validation=held_out)
    batch = held_out["train"].batch(torch.arange(24).numpy())
    with torch.no_grad():
        loss = nn.functional.cross_entropy(net(batch.inputs), batch.targets["label"])
    assert record.epochs[-1].validation_loss == pytest.approx(float(loss), rel=1e-5)


def test_patience_keeps_the_best_average():
    wrong = stream(24, seed=1)
    wrong["train"].targets["label"] = (wrong["train"].targets["label"] + 1) % 3
    net, other = model(), model()
    by = dataclasses.replace(BY, epochs=6, patience=1, ema=0.9)
    [record] = train(net, by, validation=wrong)
    assert record.stopped_early
    train(other, dataclasses.replace(BY, epochs=record.best_epoch + 1, ema=0.9))
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), other.parameters(), strict=True))
