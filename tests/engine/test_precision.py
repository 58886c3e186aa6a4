"""Precision: a gate that needs no clock, then a measurement that changes nothing."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from graft.backbones.own import backbone
from graft.engine import precision
from graft.engine.precision import choose_precision, multiplies_bf16, trains_backbone
from graft.methods.body import full, lp_ft
from graft.methods.heads import head_only, probe
from graft.tasks.classify import Classify
from tests.engine.streams import ArrayStream

CPU = torch.device("cpu")
TASK = Classify(tuple("abc"))


def model():
    torch.manual_seed(0)
    layers = [nn.Sequential(nn.Linear(i, 8), nn.BatchNorm1d(8), nn.Dropout(0.5)) for i in (5, 8)]
    return TASK.build(backbone(nn.Sequential(*layers), blocks="*", width=8))[0]


def stream(n=4_000):
    x = torch.randn(n, 5, generator=torch.Generator().manual_seed(0))
    return ArrayStream({"input": x}, {"label": torch.arange(n) % 3})


class Clock:
    """Say that runs take the given seconds, in turn fp32 and bf16; and count them."""

    def __init__(self, fp32: float, bf16: float) -> None:
        self.seconds, self.n = (fp32, bf16), 0

    def __call__(self, run):
        run()
        self.n += 1
        # a neighbour slows one turn of each down a hundredfold
        return self.seconds[(self.n - 1) % 2] * (100 if self.n <= 2 else 1)


def choose(clock, plan=None, net=None, rows=None, **options):
    return choose_precision(
        net or model(),
        TASK,
        rows or stream(),
        plan or full(2),
        device=CPU,
        measure=clock,
        **{"is_native": True, **options},
    )


@pytest.fixture
def small_is_enough(monkeypatch):
    monkeypatch.setattr(precision, "LEAST_PARAMETERS", 1)


def test_without_instructions_nothing_is_measured():
    clock = Clock(2.0, 1.0)
    found = choose(clock, is_native=False)
    assert (found.name, clock.n) == ("fp32", 0)
    assert "does not compute bf16" in found.because


def test_a_small_model_is_not_measured():
    clock = Clock(2.0, 1.0)
    assert (choose(clock).name, clock.n) == ("fp32", 0)


@pytest.mark.parametrize(
    ("seconds", "name", "n_turns"),
    [
        ((1.2, 1.0), "bf16", precision.N_RUNS),
        ((1.19, 1.0), "fp32", precision.N_RUNS),
        ((1.0, 1.8), "fp32", 2),
        ((2.0, 1.0), "bf16", 2),
    ],
)
def test_bf16_must_be_clearly_faster(seconds, name, n_turns, small_is_enough):
    clock = Clock(*seconds)
    found = choose(clock)
    assert found.name == name
    assert clock.n == 2 * n_turns
    assert f"{seconds[1] / seconds[0]:.2f} × as long" in found.because


@pytest.mark.parametrize(
    ("plan", "n_rows", "n_measured"),
    [
        (probe(), 60, None),  # each row passes once
        (probe(), 479, None),
        (probe(), 480, 4),
        (probe(), 4_000, 16),
        (full(2), 60, 25),  # a hundred steps are fifty epochs
    ],
)
def test_a_short_training_is_measured_with_few_rows_or_not_at_all(
    plan, n_rows, n_measured, small_is_enough, monkeypatch
):
    rows, sizes = stream(n_rows), []
    batch = ArrayStream.batch
    monkeypatch.setattr(
        ArrayStream, "batch", lambda self, rows: (sizes.append(len(rows)), batch(self, rows))[1]
    )
    found = choose(Clock(2.0, 1.0), plan, rows=rows)
    assert sizes == ([] if n_measured is None else [n_measured])
    if n_measured is None:
        assert found.name == "fp32"
        assert found.because == (
            f"training passes {n_rows} rows through the network, too few to measure for"
        )


@pytest.mark.parametrize("plan", [probe(), full(2)])
def test_measuring_changes_nothing(plan, small_is_enough):
    net = model().train()
    before, state = copy.deepcopy(net.state_dict()), torch.get_rng_state()
    choose(Clock(1.0, 1.0), plan, net)
    assert all(torch.equal(t, before[k]) for k, t in net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(p.grad is None and p.requires_grad for p in net.parameters())
    assert all(m.training for m in net.modules())


def test_backward_is_measured_only_where_a_backbone_trains(small_is_enough):
    net, seen = model(), []
    net.head.out.weight.register_hook(lambda g: seen.append(g.shape))
    choose(Clock(1.0, 1.0), head_only(), net)
    assert not seen and not trains_backbone(head_only(), net)
    choose(Clock(1.0, 1.0), lp_ft(2), net)
    assert len(seen) == 2 * (precision.N_RUNS + 1) and trains_backbone(lp_ft(2), net)


def test_the_device_is_asked(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False, raising=False)
    assert not multiplies_bf16(CPU)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True, raising=False)
    assert multiplies_bf16(CPU)
    # a torch without these questions is one whose answer is not known
    monkeypatch.setattr(torch, "cpu", SimpleNamespace())
    assert not multiplies_bf16(CPU)
    assert not multiplies_bf16(torch.device("meta"))
