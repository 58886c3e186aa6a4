"""A step of texts of all lengths is computed in runs of similar length, and is the same step."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from graft.backbones import open_backbone
from graft.engine import order
from graft.engine.order import runs_of_length
from graft.engine.run import run
from graft.engine.settings import Settings
from graft.methods.plan import Gradient, Phase, Plan, Rule
from graft.methods.select import everything
from graft.tasks.embed import Embed
from tests.data.makers import text_table
from tests.tiny import write_checkpoint

RATE = 1e-3


@dataclass(frozen=True)
class Watched(Embed):
    gradients: dict[str, torch.Tensor] = field(default_factory=dict)

    def after_step(self, model, state, progress):
        super().after_step(model, state, progress)
        self.gradients.update(
            (n, p.grad.clone()) for n, p in model.named_parameters() if p.grad is not None
        )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return {
        p: write_checkpoint(tmp_path_factory.mktemp("bert") / "b", dropout=p) for p in (0.0, 0.3)
    }


def trained(folder, micro_batch_size=None):
    torch.manual_seed(0)
    backbone = open_backbone(str(folder))
    texts = [f"the a my {'is here and very '[: 5 * (i % 7)]} {i}" * (1 + i % 3) for i in range(28)]
    table = text_table(texts, [*"aabb"] * 7)
    task = Watched(classes=("a", "b"), n_classes=2)
    model, state = task.build(backbone)
    sizes, forward = [], model.forward
    model.forward = lambda inputs: sizes.append(inputs["input_ids"].shape) or forward(inputs)
    by = Gradient(epochs=1, batch_size=28, micro_batch_size=micro_batch_size)
    plan = Plan((Phase("all", (Rule(everything(), RATE),), by),))
    streams = {"train": task.streams(table, backbone)}
    run(plan, model, task, streams, state=state, settings=Settings(seed=3))
    return task.gradients, sizes


def test_runs_hold_enough_tokens_and_every_row_once():
    lengths = np.sort(np.random.default_rng(0).integers(4, 90, 64))
    runs = runs_of_length(lengths)
    assert np.concatenate(runs).tolist() == list(range(64))
    assert len(runs) > 3
    assert all(len(run) * lengths[run[-1]] >= order.FEWEST_TOKENS for run in runs[:-1])
    assert len(runs_of_length(np.full(8, 5))) == 1


def test_what_is_similar_in_length_is_padded_together(folder, monkeypatch):
    monkeypatch.setattr(order, "FEWEST_TOKENS", 100)
    ours, sizes = trained(folder[0.0])
    monkeypatch.setattr(order, "FEWEST_TOKENS", 10**9)
    whole, of_whole = trained(folder[0.0])
    assert sum(n * length for n, length in sizes) < 0.8 * sum(n * length for n, length in of_whole)
    assert len(whole) > 20
    for name, value in whole.items():
        torch.testing.assert_close(ours[name], value, atol=1e-5, rtol=1e-4, msg=name)


def test_micro_batches_draw_what_the_whole_step_draws(folder, monkeypatch):
    monkeypatch.setattr(order, "FEWEST_TOKENS", 100)
    ours, _ = trained(folder[0.3])
    parts, _ = trained(folder[0.3], micro_batch_size=3)
    for name, value in ours.items():
        torch.testing.assert_close(parts[name], value, atol=1e-5, rtol=1e-4, msg=name)
