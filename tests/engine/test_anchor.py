"""The pull to the start: its numbers, whom it spares, and that nothing of it is in a checkpoint."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional

import graft
from graft.backbones.own import backbone
from graft.engine import loop
from graft.engine.run import run
from graft.engine.settings import Settings
from graft.errors import InputError, Stopped
from graft.methods.body import unfreeze
from graft.methods.plan import Gradient, Phase, Plan, Rule
from graft.methods.select import everything, head
from graft.tasks.classify import Classify
from tests.engine.streams import ArrayStream, same_bytes

TASK = Classify(tuple("abc"))
N, LR, DECAY = 24, 1e-2, 0.1


def stream():
    source = torch.Generator().manual_seed(0)
    x = torch.randn(N, 5, generator=source)
    return {"train": ArrayStream({"input": x}, {"label": x[:, :3].argmax(1)})}


def model():
    torch.manual_seed(0)
    layers = [nn.Sequential(nn.Linear(i, 8), nn.LayerNorm(8), nn.Tanh()) for i in (5, 8)]
    return TASK.build(backbone(nn.Sequential(*layers), blocks="*", width=8))[0]


def plan_of(l2_sp, lr=LR, epochs=6):
    by = Gradient(
        epochs=epochs, batch_size=N, schedule="constant", warmup=0.0, clip=None, l2_sp=l2_sp
    )
    rules = (Rule(head(), LR, DECAY), Rule(everything(), lr, DECAY))
    return Plan((Phase("all", rules, by),))


def slow(net, strength, n_steps=6):
    """Train by hand, one number at a time: AdamW, and a pull of the body to where it began."""
    start = {name: p.detach().clone() for name, p in net.named_parameters()}
    moments = {name: (torch.zeros_like(p), torch.zeros_like(p)) for name, p in start.items()}
    batch = stream()["train"]
    norms = {f"backbone.net.{i}.1.{kind}" for i in (0, 1) for kind in ("weight", "bias")}
    for t in range(1, n_steps + 1):
        net.train()
        loss = functional.cross_entropy(
            net({"input": batch.inputs["input"]}), batch.targets["label"]
        )
        gradients = torch.autograd.grad(loss, list(net.parameters()))
        with torch.no_grad():
            for (name, p), g in zip(net.named_parameters(), gradients, strict=True):
                first, second = moments[name]
                is_body = name.startswith("backbone.")
                decays = not name.endswith("bias") and name not in norms
                for i in range(p.numel()):
                    w, g_i = float(p.view(-1)[i]), float(g.reshape(-1)[i])
                    if is_body and strength is not None:
                        w -= LR * strength * (w - float(start[name].view(-1)[i]))
                    elif decays:
                        w -= LR * DECAY * w
                    m = 0.9 * float(first.view(-1)[i]) + 0.1 * g_i
                    v = 0.999 * float(second.view(-1)[i]) + 0.001 * g_i**2
                    first.view(-1)[i], second.view(-1)[i] = m, v
                    root = math.sqrt(v / (1 - 0.999**t)) + 1e-8
                    p.view(-1)[i] = w - LR * (m / (1 - 0.9**t)) / root


@pytest.mark.parametrize("strength", [None, 0.5, 20.0])
def test_equals_the_slow_loop(strength):
    net = model()
    by_hand = copy.deepcopy(net)
    run(plan_of(strength), net, TASK, {"train": stream()})
    slow(by_hand, strength)
    for (name, ours), theirs in zip(net.named_parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-4, msg=name)


def test_the_stronger_the_pull_the_nearer_the_start():
    distances = []
    for strength in (None, 5.0, 50.0, 100.0):
        net = model()
        start = copy.deepcopy(net.backbone)
        run(plan_of(strength), net, TASK, {"train": stream()})
        ends = (nn.utils.parameters_to_vector(b.parameters()) for b in (net.backbone, start))
        distances.append(math.dist(*(end.tolist() for end in ends)))
    assert distances == sorted(distances, reverse=True) and distances[-1] < 0.3 * distances[0]


def test_what_would_overshoot_or_has_no_start_is_refused():
    with pytest.raises(InputError, match="would pull beyond the start; pass at most 100"):
        run(plan_of(200.0), model(), TASK, {"train": stream()})
    for method in ("scratch", "head"):
        with pytest.raises(InputError, match="--l2-sp"):
            graft.plan("examples/tickets.csv", method=method, l2_sp=1.0)


def test_a_stopped_run_goes_on_to_the_same_bytes_and_keeps_no_start(tmp_path, monkeypatch):
    plan = unfreeze(2, lr=LR, epochs=2, batch_size=8, l2_sp=20.0)
    whole = model()
    run(plan, whole, TASK, {"train": stream()}, settings=Settings())
    sizes = []
    for strength, folder in ((20.0, "pulled"), (None, "plain")):
        signals = iter([0] * 10 + [15] + [0] * 1000)
        monkeypatch.setattr(loop, "asked", lambda signals=signals: next(signals))
        settings = Settings(checkpoints=tmp_path / folder)
        same = unfreeze(2, lr=LR, epochs=2, batch_size=8, l2_sp=strength)
        with pytest.raises(Stopped):
            run(same, model(), TASK, {"train": stream()}, settings=settings)
        newest = max((tmp_path / folder).iterdir())
        sizes.append((newest / "tensors.safetensors").stat().st_size)
    monkeypatch.undo()
    assert sizes[0] == sizes[1]
    again = model()
    settings = Settings(checkpoints=tmp_path / "pulled")
    run(plan, again, TASK, {"train": stream()}, settings=settings, resume=True)
    assert not same_bytes(whole.state_dict(), again.state_dict())
