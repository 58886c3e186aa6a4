"""The weights that a run begins with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from graft.backbones.backbone import Backbone, towers
from graft.engine.fingerprint import fingerprint
from graft.engine.groups import locate
from graft.errors import InputError, ModelError
from graft.methods.plan import Plan
from graft.surgery.inserting import Surgery, insert, inserted
from graft.tasks.task import Progress, Stream, Task


def reset(model: nn.Module, seed: int) -> None:
    """Give every backbone random weights of its own kind.

    Raises:
        ModelError: the source cannot make such a network anew.
    """
    for tower in towers(model):
        backbone = model.get_submodule(tower.path)
        fresh = backbone.origin.fresh  # type: ignore[union-attr]
        if fresh is None:
            raise ModelError(
                f"{backbone.origin.name}: cannot be made anew with random weights; declare "  # type: ignore[union-attr]
                "`fresh=` with graft.backbone to train it from scratch"
            )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            net = fresh()
        backbone.net.load_state_dict(net.state_dict())  # type: ignore[union-attr]


def put_in(
    plan: Plan, model: nn.Module, task: Task, streams: Mapping[str, Stream], seed: int
) -> None:
    """Put what a plan inserts into every backbone of a model, unless it is there already.

    Where there are several, those that have no place for it stay as they are.

    Args:
        streams: of which two rows show where it belongs.

    Raises:
        InputError: no backbone has a place for it.
    """
    missing = [s for s in plan.insert if s not in surgeries(model)]
    if not missing:
        return
    device = next(model.parameters()).device
    batches = [
        stream.batch(np.arange(min(2, len(stream)))).to(device) for stream in streams.values()
    ]

    def run() -> None:
        for batch in batches:
            task.encode(model, batch, Progress())

    for surgery in missing:
        faults = []
        backbones = [model.get_submodule(tower.path) for tower in towers(model)]
        for backbone in backbones:
            assert isinstance(backbone, Backbone)
            try:
                _insert(backbone, surgery, run, seed)
            except InputError as fault:
                faults.append(fault)
        if len(faults) == len(backbones):
            raise faults[0]


def _insert(backbone: Backbone, surgery: Surgery, run: Callable[[], Any], seed: int) -> None:
    parts = [part for chain in backbone.chains for part in chain.parts[1:-1]]
    sites = surgery.sites(backbone.net, [path for part in parts for path in part], run)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        insert(backbone.net, surgery, sites)


def surgeries(model: nn.Module) -> tuple[Surgery, ...]:
    """Return what has been put into a model, each kind once."""
    return tuple(dict.fromkeys(child.surgery for _, child in inserted(model)))


def backbone_fingerprint(model: nn.Module) -> str:
    """Fingerprint the backbones' weights: checkpoints hold of them only what has trained."""
    own = ((m.place.name, m.parameter) for m in locate(model) if m.place.role == "backbone")
    return fingerprint(own)
