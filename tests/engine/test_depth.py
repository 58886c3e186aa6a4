"""Which block knows most: the rule, the vectors, the stores."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from graft.backbones.own import backbone
from graft.data.split import folds
from graft.engine.depth import choose, probe_depths, with_choice
from graft.engine.settings import Settings
from graft.errors import InputError
from graft.tasks.classify import Classify
from tests.engine.streams import ArrayStream

TASK = Classify(("a", "b", "c"))


class Scrambled(nn.Module):
    """Keep what is asked for in the first block and lose most of it in the second."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList([nn.Linear(5, 8), nn.Linear(8, 8), nn.Linear(8, 6)])
        with torch.no_grad():
            self.layers[1].weight[1:] = 0

    def forward(self, input):
        for layer in self.layers:
            input = layer(input)
        return input


def make_stream(n: int, groups=None) -> ArrayStream:
    random = torch.Generator().manual_seed(0)
    x = torch.randn(n, 5, generator=random)
    label = (x[:, :3] + 0.3 * torch.randn(n, 3, generator=random)).argmax(1)
    stream = ArrayStream({"input": x}, {"label": label}, key=f"{n}")
    stream.groups = groups
    return stream


def make_model(net=None):
    torch.manual_seed(0)
    source = backbone(net or Scrambled(), blocks="layers.*", width=6)
    model, _ = TASK.build(source)
    return model


def test_a_lower_block_wins_beyond_the_standard_error_alone():
    end = [0.50, 0.52, 0.48, 0.51, 0.49]
    surely = [x - 0.1 for x in end]
    barely = [x + d for x, d in zip(end, (-0.3, 0.2, -0.3, 0.2, 0.15), strict=True)]
    assert choose([0.4, 0.5], [surely, end]) == 0
    assert choose([np.mean(barely), 0.5], [barely, end]) == 1
    assert choose([0.6, 0.5], [[x + 0.1 for x in end], end]) == 1
    assert choose([0.5, 0.5], [end, end]) == 1


def test_the_best_block_is_found_and_its_figures_are_those_of_its_vectors():
    model, stream = make_model(), make_stream(200)
    found = probe_depths(model, TASK, stream, Settings())
    assert [r.block for r in found.records] == ["block 0", "block 1", "features"]
    assert [r.width for r in found.records] == [8, 8, 6]
    assert (found.best, found.blocks) == (0, (0, 1, None))
    assert found.records[0].accuracy > found.records[2].accuracy + 0.1
    marked = with_choice(found, found.best)
    assert [r.chosen for r in marked] == [True, False, False]
    with torch.no_grad():
        x = model.backbone.net.layers[0](stream.inputs["input"]).numpy().astype(np.float64)
    y, record = stream.targets["label"].numpy(), found.records[0]
    fold, total = folds(y, 5, 0), 0.0
    for f in range(5):
        train = fold != f
        theirs = LogisticRegression(C=1 / (record.l2 * train.sum()), tol=1e-9, max_iter=5000)
        theirs.fit(x[train], y[train])
        held = theirs.predict_proba(x[~train])[np.arange((~train).sum()), y[~train]]
        total -= np.log(held).sum()
    assert record.loss == pytest.approx(total / len(y), abs=1e-3)


def test_stored_again_and_not_stored_give_the_same_figures(tmp_path, monkeypatch):
    model, stream = make_model(), make_stream(60)
    held = probe_depths(model, TASK, stream, Settings())
    stored = probe_depths(model, TASK, stream, Settings(cache=tmp_path))

    def run(*_):
        raise AssertionError("the second run computes nothing")

    monkeypatch.setattr("graft.engine.prefix.compute_group", run)
    again = probe_depths(model, TASK, stream, Settings(cache=tmp_path))
    assert held == stored == again


def test_groups_stay_together():
    stream = make_stream(60, groups=np.arange(60) // 20)
    assert probe_depths(make_model(), TASK, stream, Settings()).n_folds == 3


def test_what_cannot_be_pooled_is_left_out_and_said():
    class Deep(nn.Module):
        def forward(self, x):
            return x.reshape(len(x), 2, 2, 2, 1, 1)

    net = nn.Sequential(nn.Linear(5, 8), Deep(), nn.Flatten(), nn.Linear(8, 6))
    model, _ = TASK.build(backbone(net, blocks=["0", "1", "3"], width=6))
    found = probe_depths(model, TASK, make_stream(60), Settings())
    assert [r.block for r in found.records] == ["block 0", "features"]
    assert "block 1 was left out" in found.notes[0]


def test_weights_and_modes_stay():
    model = make_model().train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    probe_depths(model, TASK, make_stream(40), Settings())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(m.training for m in model.modules())


def test_a_head_without_convex_form_is_refused():
    task = dataclasses.replace(TASK, head="mlp:4")
    model, _ = task.build(make_model().backbone)
    with pytest.raises(InputError, match="linear head"):
        probe_depths(model, task, make_stream(40), Settings())
