"""Law: suffix(prefix(x)) equals forward(x), in eval and in gradients, at every cut of every net."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from graft.engine.cut import find_cut
from graft.engine.groups import locate, resolve, set_trainable
from graft.engine.modes import set_modes
from graft.engine.probe import find_replay
from graft.engine.replay import capture
from graft.methods.plan import Rule
from graft.methods.select import blocks, everything, head, neck
from tests.engine.specimens import batch, model_of
from tests.zoo import WARNINGS, ZOO

pytestmark = [pytest.mark.filterwarnings(w) for w in WARNINGS]


def freeze_below(model: nn.Module, n_open: int) -> None:
    """Train the head, the neck and the top `n_open` blocks; the head alone for -1."""
    open_body = (Rule(neck(), 1e-3), Rule(blocks(-n_open), 1e-3)) if n_open > 0 else ()
    if n_open == 0:
        open_body = (Rule(neck(), 1e-3),)
    rules = (Rule(head(), 1e-3), *open_body, Rule(everything(), None))
    set_trainable(resolve(rules, locate(model)))


def replay_at(model, specimen, n_open):
    freeze_below(model, n_open)
    located = locate(model)
    cut = find_cut(model, [m for m in located if m.parameter.requires_grad])
    short, long = specimen.lengths
    probes = (batch(specimen, 2, short), batch(specimen, 3, long))
    if short * 3 == long * 2:
        probes = (probes[0], batch(specimen, 4, long))
    return cut, lambda b: model(b.inputs), probes


@pytest.mark.parametrize("name", ZOO)
def test_suffix_of_prefix_equals_forward(name):
    specimen = ZOO[name]
    model = model_of(specimen)
    n_blocks = min(c.n_blocks for c in model.backbone.chains)
    for n_open in sorted({-1, 0, 1, n_blocks - 1}):
        cut, run, probes = replay_at(model, specimen, n_open)
        assert cut, f"{n_open} open blocks: nothing lies below the cut"
        replay = find_replay(model, cut, run, probes, set_modes=lambda: set_modes(model))
        assert replay.taps
        # a third batch, not one of the two on which the replay was found
        third = batch(specimen, 5, specimen.lengths[1] - 1)
        model.eval()
        [state] = capture(model, [replay], run, third)
        assert not any(torch.isnan(t).any() for t in state if t.is_floating_point())
        with torch.no_grad():
            expected = run(third)
            with replay.from_state(model, state, third, run) as stubbed:
                found = run(stubbed)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
