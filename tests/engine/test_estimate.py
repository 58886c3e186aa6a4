"""Estimates: the arithmetic by a clock of our own, and that nothing is changed."""

from __future__ import annotations

import gc
import itertools
import weakref

import pytest
import torch
from torch import nn

from graft.backbones import open_backbone
from graft.backbones.own import backbone
from graft.engine import order
from graft.engine.estimate import estimate
from graft.engine.fingerprint import fingerprint
from graft.engine.measuring import kept_bytes, untouched
from graft.engine.run import run
from graft.engine.settings import Settings
from graft.engine.trial import STAND_IN
from graft.methods.body import full, last
from graft.methods.heads import probe
from graft.methods.plan import Gradient, Phase, Plan, Rule
from graft.methods.select import everything, head, state
from graft.tasks.classify import Classify
from graft.tasks.embed import Embed
from tests.data.makers import text_table
from tests.engine.enemies import pair_streams
from tests.engine.streams import ArrayStream
from tests.tiny import write_checkpoint

TASK = Classify(("a", "b", "c"))
TRAIN_GROUPS, VALIDATION_GROUPS = 6, 2
"""Of 16 and 20 rows: 96 and 40 rows leave no place to be filled up."""


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(5, 16), nn.Linear(16, 16), nn.Linear(16, 16)])
        self.norm = nn.BatchNorm1d(16)
        self.dropout = nn.Dropout(0.5)

    def forward(self, input):
        for layer in self.layers:
            input = torch.tanh(layer(input))
        return self.dropout(self.norm(input))


def make_model():
    torch.manual_seed(0)
    example = {"input": torch.randn(2, 5)}
    source = backbone(Net(), blocks="layers.*", width=16, example=example)
    model, _ = TASK.build(source)
    return model


def make_splits(n_train=96, n_validation=40):
    def stream(n, seed):
        x = torch.randn(n, 5, generator=torch.Generator().manual_seed(seed))
        return {"train": ArrayStream({"input": x}, {"label": x[:, :3].argmax(1)}, key=str(seed))}

    return {"train": stream(n_train, 0), "validation": stream(n_validation, 1)}


def ticking():
    """Return a clock that is a second later at each look: whatever is timed takes one second."""
    count = itertools.count()
    return lambda: float(next(count))


UPDATE = 1 / STAND_IN  # seconds that a number's update takes by that clock


def n_numbers(*modules):
    return sum(p.numel() for m in modules for p in m.parameters())


def test_steps_and_validation_add_up():
    model = make_model()
    plan = full(3, epochs=4, batch_size=32)
    found = estimate(plan, model, TASK, make_splits(), clock=ticking())
    [cost] = found.phases
    assert cost.n_steps == 4 * 3
    # three steps an epoch of a second each, and one validation batch of 40 rows
    expected = 4 * (3 * (1 + UPDATE * n_numbers(model)) + 1)
    assert cost.seconds == pytest.approx(expected)
    # one second for finding the cuts
    assert found.before_seconds == pytest.approx(1 + TRAIN_GROUPS + VALIDATION_GROUPS)
    assert found.after_seconds == pytest.approx(VALIDATION_GROUPS)
    total = found.before_seconds + expected + found.after_seconds
    assert found.seconds == pytest.approx(total)
    assert found.store_bytes == 0


@pytest.mark.parametrize("is_stored", [False, True])
def test_a_pass_counts_once_where_it_is_stored(is_stored, tmp_path):
    settings = Settings(cache=tmp_path if is_stored else None)
    model = make_model()
    plan = last(3, n=1, epochs=5, batch_size=32)
    found = estimate(plan, model, TASK, make_splits(), settings=settings, clock=ticking())
    [cost] = found.phases
    net = model.backbone.net
    trained = n_numbers(net.layers[2], net.norm, model.head)
    a_pass = TRAIN_GROUPS + VALIDATION_GROUPS
    passes = a_pass if is_stored else 5 * a_pass
    expected = passes + 5 * (3 * (1 + UPDATE * trained) + 1)
    assert cost.seconds == pytest.approx(expected)
    rows = 96 + 40
    assert cost.store_bytes == (rows * 16 * 4 if is_stored else 0)
    assert found.before_bytes == (rows * 16 * 4 if is_stored else 0)
    assert not list(tmp_path.iterdir())


def test_rows_that_are_not_looked_at_count_as_well():
    plan = full(3, epochs=1, batch_size=32)
    n_rows = {"train": 960, "validation": 400}
    found = estimate(plan, make_model(), TASK, make_splits(), n_rows=n_rows, clock=ticking())
    assert found.phases[0].n_steps == 30
    seconds = 30 * (1 + UPDATE * n_numbers(make_model())) + 10
    assert found.phases[0].seconds == pytest.approx(seconds)


def test_a_solved_head_takes_a_search():
    found = estimate(probe(), make_model(), TASK, make_splits(), clock=ticking())
    assert found.phases[0].n_steps == 0
    # nothing is stored: another pass over both splits, and the search
    assert found.phases[0].seconds == pytest.approx(TRAIN_GROUPS + VALIDATION_GROUPS + 1)


def test_memory_is_weights_gradients_moments_and_activations():
    model = make_model()
    splits = make_splits()
    costs = {
        name: estimate(plan, model, TASK, splits).phases[0].memory_bytes
        for name, plan in {
            "full": full(3, epochs=1, batch_size=32),
            "small": full(3, epochs=1, batch_size=32, micro_batch_size=8),
            "last": last(3, n=1, epochs=1, batch_size=32),
        }.items()
    }
    tensors = (*model.parameters(), *model.buffers())
    weights = sum(t.numel() * t.element_size() for t in tensors)
    assert costs["full"] > weights + 3 * 4 * n_numbers(model)
    assert costs["small"] < costs["full"]
    assert costs["last"] < costs["full"]


def test_kept_bytes_are_counted_once_and_without_weights():
    layer = nn.Linear(4, 4)
    x = torch.randn(8, 4, requires_grad=True)
    # the layer keeps its input, tanh its output
    assert kept_bytes(layer, lambda: torch.tanh(layer(x))) == 2 * 8 * 4 * 4
    assert kept_bytes(layer, lambda: layer(x) + layer(x)) == 8 * 4 * 4


@pytest.mark.parametrize("plan", [probe(), last(3, n=1), full(3)])
def test_nothing_is_changed(plan):
    model = make_model()
    model.backbone.net.layers[0].weight.requires_grad_(False)
    before = fingerprint(model.state_dict().items())
    buffers = {name: b.clone() for name, b in model.named_buffers()}
    flags = [(p.requires_grad, p._version) for p in model.parameters()]
    modes = [m.training for m in model.modules()]
    random = torch.get_rng_state()
    estimate(plan, model, TASK, make_splits())
    assert fingerprint(model.state_dict().items()) == before
    assert all(torch.equal(b, buffers[name]) for name, b in model.named_buffers())
    assert [(p.requires_grad, p._version) for p in model.parameters()] == flags
    assert [m.training for m in model.modules()] == modes
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), random)


def test_statistics_are_put_back_after_an_error():
    model = make_model().train()
    before = model.backbone.net.norm.running_mean.clone()
    with pytest.raises(ValueError), untouched(model):
        model({"input": torch.randn(4, 5) + 3})
        assert not torch.equal(model.backbone.net.norm.running_mean, before)
        raise ValueError
    assert torch.equal(model.backbone.net.norm.running_mean, before)


def test_a_measured_graph_is_let_go():
    net, seen = nn.Linear(4, 4), []

    def run_once():
        result = net(torch.ones(2, 4)).exp()  # keeps its own result for the way back
        seen.append(weakref.ref(result))
        return result

    assert kept_bytes(net, run_once) > 0
    gc.collect()
    assert seen[0]() is None


def test_both_streams_of_a_pair_are_passed_and_stored(tmp_path):
    scene = pair_streams()
    rules = (Rule(head(), 1e-2), Rule(state(), 1e-2), Rule(everything(), None))
    plan = Plan((Phase("top", rules, Gradient(epochs=2, batch_size=4)),))
    splits, settings = {"train": scene.streams}, Settings(cache=tmp_path)
    found = estimate(
        plan, scene.model, scene.task, splits, state=scene.state, settings=settings, clock=ticking()
    )
    [record] = run(plan, scene.model, scene.task, splits, state=scene.state, settings=settings)
    assert record.cache.used
    stores = list(tmp_path.iterdir())
    assert len(stores) == 2
    leaves = [p.stat().st_size for store in stores for p in store.glob("*.bin")]
    assert found.store_bytes == sum(leaves)


def test_graphs_of_a_joint_loss_are_counted_together(tmp_path, monkeypatch):
    backbone = open_backbone(str(write_checkpoint(tmp_path / "bert")))
    texts = [f"the a my {'is here and very '[: 5 * (i % 7)]} {i}" * (1 + i % 3) for i in range(28)]
    task = Embed(classes=("a", "b"), n_classes=2)
    model, learned = task.build(backbone)
    splits = {"train": task.streams(text_table(texts, [*"aabb"] * 7), backbone)}

    def peak(tokens, micro=None):
        monkeypatch.setattr(order, "FEWEST_TOKENS", tokens)
        plan = full(2, epochs=1, batch_size=28, micro_batch_size=micro)
        [cost] = estimate(plan, model, task, splits, state=learned, clock=ticking()).phases
        return cost.memory_bytes

    one_pass, runs = peak(10**9), peak(100)
    assert 0.4 * one_pass < runs < one_pass  # nothing is padded to the longest
    assert peak(10**9, micro=4) < one_pass / 1.5
