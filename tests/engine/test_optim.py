"""Rates against points computed by hand, and what decays."""

from __future__ import annotations

import math

import pytest
import torch

from graft.engine.groups import locate, resolve
from graft.engine.optim import build_optimizer, rate_scale, set_rates
from graft.errors import InputError
from graft.methods.plan import Gradient, Rule
from graft.methods.select import everything, head
from tests.engine.enemies import tied
from tests.engine.specimens import model_of
from tests.zoo import ZOO


def scales(n_steps: int, **options) -> list[float]:
    by = Gradient(**options)
    return [rate_scale(by, step, n_steps) for step in range(n_steps)]


@pytest.mark.parametrize(
    "options, expected",
    [
        ({"schedule": "constant", "warmup": 0.0}, [1, 1, 1, 1, 1]),
        ({"schedule": "constant", "warmup": 0.4}, [1 / 2, 1, 1, 1, 1]),
        ({"schedule": "linear", "warmup": 0.0}, [1, 0.8, 0.6, 0.4, 0.2]),
        ({"schedule": "linear", "warmup": 0.2}, [1, 1, 3 / 4, 2 / 4, 1 / 4]),
        (
            {"schedule": "cosine", "warmup": 0.2},
            [1, 1, (1 + math.sqrt(0.5)) / 2, 1 / 2, (1 - math.sqrt(0.5)) / 2],
        ),
        # warm-up is a share of the steps, rounded up
        ({"schedule": "linear", "warmup": 0.1}, [1, 1, 3 / 4, 2 / 4, 1 / 4]),
    ],
)
def test_rates_at_steps(options, expected):
    assert scales(5, **options) == pytest.approx(expected)


def test_slanted_rises_over_a_tenth_and_falls_to_a_32nd():
    found = scales(20, schedule="slanted")
    # Howard and Ruder, equation 3 at t = 1..20: cut = 2, ratio 32
    p = [1 / 2, 1, *(1 - (t - 2) / 18 for t in range(3, 21))]
    assert found == pytest.approx([(1 + 31 * share) / 32 for share in p])
    assert found[1] == 1
    assert found[-1] == 1 / 32


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine", "slanted"])
@pytest.mark.parametrize("n_steps", [1, 2, 3, 7, 100])
def test_no_rate_is_negative_or_over_its_peak_and_some_step_moves(schedule, n_steps):
    found = scales(n_steps, schedule=schedule)
    assert all(0 <= s <= 1 for s in found)
    assert max(found) > 0


def test_an_unknown_schedule_is_refused():
    with pytest.raises(InputError, match="linear, cosine or slanted"):
        rate_scale(Gradient(schedule="cosin"), 5, 10)  # type: ignore[arg-type]


def test_each_rule_keeps_its_own_peak():
    model, _ = tied()
    rules = [Rule(head(), 0.1), Rule(everything(), 0.01)]
    by = Gradient(schedule="linear", warmup=0.0)
    optimizer = build_optimizer(resolve(rules, locate(model)), by)
    set_rates(optimizer, by, 5, 10)
    assert sorted({entry["lr"] for entry in optimizer.param_groups}) == pytest.approx([0.005, 0.05])


def test_norms_and_biases_do_not_decay():
    model = model_of(ZOO["bert"])
    rules = [Rule(head(), 0.1, weight_decay=0.5), Rule(everything(), 0.1, weight_decay=0.25)]
    groups = resolve(rules, locate(model))
    optimizer = build_optimizer(groups, Gradient())
    kinds = {m.place.name: m.place.kind for g in groups for m in g.members}
    seen = []
    for entry in optimizer.param_groups:
        for name in entry["names"]:
            seen.append(name)
            decay = 0.5 if name.startswith("head.") else 0.25
            assert entry["weight_decay"] == (decay if kinds[name] == "weight" else 0.0), name
            if "LayerNorm" in name or name.endswith("bias"):
                assert entry["weight_decay"] == 0.0
    assert sorted(seen) == sorted(kinds)


def test_frozen_and_tied_parameters_are_in_no_or_one_entry():
    model, _ = tied()
    optimizer = build_optimizer(resolve([Rule(everything(), 0.1)], locate(model)), Gradient())
    listed = [id(p) for entry in optimizer.param_groups for p in entry["params"]]
    assert sorted(listed) == sorted(id(p) for p in model.parameters())
    rules = [Rule(head(), 0.1), Rule(everything(), None)]
    optimizer = build_optimizer(resolve(rules, locate(model)), Gradient())
    listed = [p for entry in optimizer.param_groups for p in entry["params"]]
    assert {id(p) for p in listed} == {id(p) for p in model.head.parameters()}


def test_one_step_is_adamw_by_hand():
    model, _ = tied()
    weight = model.head.out.weight
    before = weight.detach().clone()
    optimizer = build_optimizer(
        resolve([Rule(head(), 0.1, weight_decay=0.5), Rule(everything(), None)], locate(model)),
        Gradient(eps=1e-8),
    )
    weight.grad = torch.full_like(weight, 0.3)
    optimizer.step()
    # the first step moves by the rate times the gradient's sign, after decay
    torch.testing.assert_close(weight.detach(), before * (1 - 0.1 * 0.5) - 0.1)
