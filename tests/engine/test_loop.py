"""The gradient loop: micro-batches add up, the best epoch is kept, class weights count."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from graft.backbones.own import backbone
from graft.engine.run import run
from graft.engine.settings import Listener, Settings
from graft.methods.plan import Gradient, Phase, Plan, Rule
from graft.methods.select import everything
from graft.tasks.classify import Classify
from tests.engine.streams import ArrayStream


def make_model(seed: int = 0):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh())
    model, _ = Classify(("a", "b", "c")).build(backbone(net, blocks=["0", "2"], width=16))
    return model


def make_stream(n: int, seed: int = 0) -> ArrayStream:
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 5, generator=random)
    label = (x[:, :3] + 0.3 * torch.randn(n, 3, generator=random)).argmax(1)
    return ArrayStream({"input": x}, {"label": label}, key=f"{n}-{seed}")


def train(model, by, *, task=None, n=37, validation=None, notes=None):
    splits = {"train": {"train": make_stream(n)}}
    if validation is not None:
        splits["validation"] = {"train": validation}
    plan = Plan((Phase("all", (Rule(everything(), 1e-2),), by),))
    listener = Listener() if notes is None else Listener(on_note=notes.append)
    task = task or Classify(("a", "b", "c"))
    return run(plan, model, task, splits, settings=Settings(), listener=listener)


@pytest.mark.parametrize("micro", [1, 3, 8])
def test_accumulation_equals_a_larger_batch(micro):
    whole, parts = make_model(), make_model()
    weighted = Classify(("a", "b", "c"), class_weights=(3.0, 1.0, 0.5))
    train(whole, Gradient(epochs=2, batch_size=8), task=weighted)
    train(parts, Gradient(epochs=2, batch_size=8, micro_batch_size=micro), task=weighted)
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=2e-6, rtol=1e-5)


def test_early_stopping_restores_the_best():
    validation = make_stream(24, seed=1)
    # labels of the validation rows are wrong, so that it gets worse with every epoch from the start
    validation.targets["label"] = (validation.targets["label"] + 1) % 3
    by = Gradient(epochs=12, batch_size=8, schedule="constant", warmup=0.0, patience=2)
    model = make_model()
    [record] = train(model, by, validation=validation)
    losses = [e.validation_loss for e in record.epochs]
    assert record.best_epoch == int(np.argmin(losses))
    assert record.stopped_early
    assert len(losses) == record.best_epoch + by.patience + 1
    shorter = make_model()
    train(
        shorter,
        Gradient(epochs=record.best_epoch + 1, batch_size=8, schedule="constant", warmup=0.0),
    )
    for a, b in zip(model.parameters(), shorter.parameters(), strict=True):
        assert torch.equal(a, b)


def test_patience_without_a_better_end_runs_all_epochs():
    by = Gradient(epochs=4, batch_size=8, patience=3)
    [record] = train(make_model(), by, validation=make_stream(24, seed=1))
    assert len(record.epochs) == 4
    assert not record.stopped_early


def test_class_weights_move_the_model_towards_the_class():
    def share_of_a(weights):
        model = make_model()
        task = Classify(("a", "b", "c"), class_weights=weights)
        train(model, Gradient(epochs=5, batch_size=8), task=task)
        with torch.no_grad():
            return float(model(make_stream(200, seed=2).inputs).softmax(-1)[:, 0].mean())

    assert share_of_a((10.0, 1.0, 1.0)) > share_of_a((1.0, 1.0, 1.0)) + 0.1


def test_clipping_bounds_a_step():
    moved = {}
    for clip in (None, 1e-3):
        model = make_model()
        before = copy.deepcopy(model)
        # plain rates, no moments: a clipped first step of AdamW is as long as any other
        by = Gradient(epochs=1, batch_size=37, clip=clip, schedule="constant", warmup=0.0, eps=1.0)
        train(model, by)
        pairs = zip(model.parameters(), before.parameters(), strict=True)
        moved[clip] = max(float((a - b).detach().abs().max()) for a, b in pairs)
    assert moved[1e-3] < 0.1 * moved[None]


def test_fewer_rows_than_a_batch_is_one_step():
    [record] = train(make_model(), Gradient(epochs=3, batch_size=64), n=5)
    assert record.n_steps == 3


def test_epochs_in_which_no_row_counts_are_no_divergence():
    silent = Classify(("a", "b", "c"), class_weights=(0.0, 0.0, 0.0))
    notes: list[str] = []
    [record] = train(make_model(), Gradient(epochs=2, batch_size=8), task=silent, notes=notes)
    assert [epoch.train_loss for epoch in record.epochs] == [0, 0]
    [note] = [note for note in notes if "nothing was learned" in note]
    assert "phase `all`: the loss was 0 in every epoch" in note
