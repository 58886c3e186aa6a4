"""Training and eval mode, module by module: what does not train does not move.

A part of the backbone without a parameter that trains stands in eval mode: its dropout is off and
its running statistics stay. So does, inside a part that trains, a normalisation layer all of whose
own parameters are frozen.
"""

from __future__ import annotations

from torch import nn

from graft.backbones.backbone import towers


def set_modes(model: nn.Module) -> None:
    """Put each module of `model` into the mode that its `requires_grad` flags ask for."""
    model.train()
    for tower in towers(model):
        backbone = model.get_submodule(tower.path)
        if not _trains(backbone):
            backbone.eval()
            continue
        for chain in tower.chains:
            for part in chain.parts:
                modules = [model.get_submodule(path) for path in part]
                if not any(map(_trains, modules)):
                    for module in modules:
                        module.eval()
    for module in model.modules():
        own = list(module.parameters(recurse=False))
        is_frozen = own and not any(p.requires_grad for p in own)
        if is_frozen and "norm" in type(module).__name__.lower():
            module.eval()


def _trains(module: nn.Module) -> bool:
    return any(p.requires_grad for p in module.parameters())
