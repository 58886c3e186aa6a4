"""The weights that a run begins with."""

from __future__ import annotations

import torch
from torch import nn

from graft.backbones.backbone import towers
from graft.engine.fingerprint import fingerprint
from graft.engine.groups import locate
from graft.errors import ModelError


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


def backbone_fingerprint(model: nn.Module) -> str:
    """Fingerprint the backbones' weights: checkpoints hold of them only what has trained."""
    own = ((m.place.name, m.parameter) for m in locate(model) if m.place.role == "backbone")
    return fingerprint(own)
