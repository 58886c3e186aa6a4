"""Prove that a replay equals the network itself, on one batch.

Results and gradients in eval mode, where nothing is random; then in training mode, from one random
state, gradients with and without the poison.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from graft.batch import Batch
from graft.engine.replay import (
    Replay,
    Run,
    Unsound,
    capture,
    copied,
    evaluating,
    record_stubs,
    submodules,
)
from graft.engine.stubs import Player, replaced


def prove(
    model: nn.Module,
    replay: Replay,
    run: Run,
    batch: Batch,
    set_modes: Callable[[], None],
    tolerance: float,
) -> None:
    """Compare the replay with the network itself; raise Unsound where they differ."""
    with evaluating(model):
        [state] = capture(model, [replay], run, batch)

    def replayed(poison: bool) -> tuple[list[Tensor], list[Tensor]]:
        if poison:
            with replay.from_state(model, state, batch, run) as stubbed:
                return _results_and_gradients(model, run, stubbed)
        with torch.no_grad(), evaluating(model):
            record = record_stubs(model, replay.stubs, run, batch)
        player = Player(
            submodules(model, replay.stubs), lambda path, call: copied(record, path, call)
        )
        with replaced(player.forwards()):
            return _results_and_gradients(model, run, batch)

    with evaluating(model):
        _compare(_results_and_gradients(model, run, batch), replayed(True), tolerance, "eval")
    modes = [(module, module.training) for module in model.modules()]
    buffers = {name: b.clone() for name, b in model.named_buffers()}
    try:
        set_modes()
        expected = replayed(False)
        _restore(model, buffers)
        found = replayed(True)
    finally:
        _restore(model, buffers)
        for module, training in modes:
            module.training = training
    _compare(expected, found, tolerance, "training")


def _restore(model: nn.Module, buffers: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            buffer.copy_(buffers[name])


def _results_and_gradients(
    model: nn.Module, run: Run, batch: Batch
) -> tuple[list[Tensor], list[Tensor]]:
    parameters = [p for p in model.parameters() if p.requires_grad]
    with torch.enable_grad():
        result = [leaf for leaf in pytree.tree_leaves(run(batch)) if isinstance(leaf, Tensor)]
        total = sum(r.float().mean() for r in result if r.requires_grad)
        if not isinstance(total, Tensor) or not parameters:
            return [r.detach() for r in result], []
        gradients = torch.autograd.grad(total, parameters, allow_unused=True)
    zeros = (
        torch.zeros_like(p) if g is None else g for p, g in zip(parameters, gradients, strict=True)
    )
    return [r.detach() for r in result], list(zeros)


def _compare(
    expected: tuple[list[Tensor], list[Tensor]],
    found: tuple[list[Tensor], list[Tensor]],
    tolerance: float,
    mode: str,
) -> None:
    for what, xs, ys in zip(("results", "gradients"), expected, found, strict=True):
        # gradients are held to the largest of them: tiny ones are sums of float noise
        whole = max((float(x.abs().max()) for x in xs if x.numel()), default=0.0)
        for x, y in zip(xs, ys, strict=True):
            if not x.is_floating_point() or not x.numel():
                continue
            scale = max(whole if what == "gradients" else float(x.abs().max()), 1e-6)
            difference = float((x - y).abs().max())
            if not difference <= tolerance * scale:
                raise Unsound(
                    f"{what} in {mode} mode differ by {difference / scale:.1e} of the scale"
                )
