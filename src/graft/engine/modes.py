"""Training and eval mode, module by module: what does not train does not move.

A part of the backbone without a parameter that trains stands in eval mode: its dropout is off and
its running statistics stay. So does, inside a part that trains, a normalisation layer all of whose
own parameters are frozen.

Running statistics follow what the kernels below them put out, so they move only where kernels train
that came with the network. Where nothing trains but scales, shifts or what was put in, a network
keeps its statistics: by those of small batches its frozen kernels would see other numbers than they
were made for. (MobileNetV2 on 200 pictures, scales and shifts trained: 71 % with moving statistics,
91 % without.)
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from graft.backbones.backbone import towers
from graft.surgery.inserting import inserted_parameters


def set_modes(model: nn.Module) -> None:
    """Put each module of `model` into the mode that its `requires_grad` flags ask for."""
    model.train()
    put_in = inserted_parameters(model)
    for tower in towers(model):
        backbone = model.get_submodule(tower.path)
        if not _trains([backbone]):
            backbone.eval()
            continue
        for chain in tower.chains:
            for part in chain.parts:
                modules = [model.get_submodule(path) for path in part]
                if not _trains(modules):
                    for module in modules:
                        module.eval()
        if not _trains_kernels(backbone, put_in):
            _keep_statistics(backbone)
    for module in model.modules():
        own = list(module.parameters(recurse=False))
        is_frozen = own and not any(p.requires_grad for p in own)
        if is_frozen and "norm" in type(module).__name__.lower():
            module.eval()


def _trains(modules: Iterable[nn.Module]) -> bool:
    return any(p.requires_grad for module in modules for p in module.parameters())


def _trains_kernels(module: nn.Module, put_in: set[int]) -> bool:
    """Whether a matrix or kernel trains that was not put in by surgery."""
    parameters = (p for p in module.parameters() if p.requires_grad and p.ndim > 1)
    return any(id(p) not in put_in for p in parameters)


def _keep_statistics(module: nn.Module) -> None:
    for child in module.modules():
        if getattr(child, "running_mean", None) is not None:
            child.eval()
