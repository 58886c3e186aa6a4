"""A step of texts of all lengths is computed in runs of similar length, and is the same step."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from graft.backbones import open_backbone
from graft.engine import order
from graft.engine.order import passes, runs_of_length
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


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_passes_hold_similar_lengths_and_every_row_once(device):
    lengths = np.random.default_rng(0).integers(4, 200, 300)
    rows = np.random.default_rng(1).permutation(300)[:250]
    found = passes(SimpleNamespace(lengths=lengths), rows, torch.device(device))
    assert sorted(np.concatenate(found)) == list(range(250))
    longest = [lengths[rows[places]].max() for places in found]
    assert longest == sorted(longest)
    units = [len(places) * length for places, length in zip(found, longest, strict=True)]
    if device == "cpu":
        assert max(units) <= order.TOKENS_OF_A_PASS
        # none could have taken the row that follows
        firsts = [lengths[rows[places]].min() for places in found[1:]]
        full = [
            (len(p) + 1) * first > order.TOKENS_OF_A_PASS
            for p, first in zip(found, firsts, strict=False)
        ]
        assert all(full)
    else:
        assert [len(places) for places in found] == [64, 64, 64, 58]


def test_passes_of_one_shape_of_none_and_of_a_text_longer_than_a_pass():
    cpu = torch.device("cpu")
    assert passes(SimpleNamespace(lengths=None), np.arange(0), cpu) == []
    of_pictures = passes(SimpleNamespace(lengths=None), np.arange(70), cpu)
    assert [len(places) for places in of_pictures] == [64, 6]
    long = SimpleNamespace(lengths=np.array([5_000, 4_000]))
    assert [places.tolist() for places in passes(long, np.arange(2), cpu)] == [[1], [0]]
