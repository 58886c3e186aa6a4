"""End a text encoder above one of its blocks, so that its own library opens what is left.

The blocks of the families that can be cut are one `ModuleList` whose length is a number in the
configuration. The shorter network is built anew from the changed configuration, as the library will
build it, takes the weights that are left, and must give what the old one gave at that block.

What follows the blocks, the final norm of GPT-2 and its kind, stays: it belongs to the network.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from graft.backbones import shown
from graft.backbones.backbone import Backbone, Chain, Origin
from graft.backbones.image_network import evaluated
from graft.backbones.outlets import Outlet, find_outlets, main_chain, pool
from graft.backbones.pooling import POOLINGS
from graft.errors import ModelError

EXAMPLE = ("a short text", "and one that is longer")
COUNT = "num_hidden_layers"
"""Number of blocks in a configuration; families that call it otherwise know this name too."""
PER_BLOCK = ("layer_types", "mlp_layer_types")
"""Entries of a configuration that list something for each block."""


def _why_not(backbone: Backbone) -> str:
    """Return why a network cannot end above one of its blocks, or an empty string."""
    net: Any = backbone.net
    if not isinstance(backbone.read, tuple(POOLINGS.values())):
        return "only text encoders without a classifier of their own can end above a block"
    holder = _holder(backbone)
    config = getattr(net, "config", None)
    if holder is None or getattr(config, COUNT, None) != main_chain(backbone).n_blocks:
        return f"{type(net).__name__} has no list of blocks whose length its configuration names"
    return ""


def truncated(backbone: Backbone, n_blocks: int) -> Backbone:
    """Return a copy of a text encoder that has its lowest `n_blocks` blocks alone.

    Raises:
        ModelError: it has no such block, or its library could not open what would be left.
    """
    if n_blocks == n_blocks_of(backbone, n_blocks):
        return backbone
    why = _why_not(backbone)
    if why:
        raise cannot_end(backbone, n_blocks, why)
    origin = replace(
        backbone.origin,
        fresh=_builder(backbone.net, n_blocks),
        # a pooler that was made for the last block fits no other
        details={**backbone.origin.details, "unread": {}},
    )
    shorter = of_lowest(backbone, n_blocks, origin)
    _check(backbone, shorter, n_blocks)
    return shorter


def n_blocks_of(backbone: Backbone, n_blocks: int) -> int:
    """Return how many blocks a network has.

    Raises:
        ModelError: these are fewer than `n_blocks`, or that is none.
    """
    n = main_chain(backbone).n_blocks
    if not 1 <= n_blocks <= n:
        raise ModelError(
            f"model `{shown(backbone.origin.name)}` has blocks 0 to {n - 1}, not {n_blocks - 1}; "
            "see `graft plan`"
        )
    return n


def cannot_end(backbone: Backbone, n_blocks: int, why: str) -> ModelError:
    """Return the error of a network that cannot lose its upper blocks."""
    name = shown(backbone.origin.name)
    return ModelError(f"model `{name}` cannot end above block {n_blocks - 1}: {why}")


def of_lowest(backbone: Backbone, n_blocks: int, origin: Origin) -> Backbone:
    """Return a copy that has the lowest `n_blocks` blocks alone, with their weights.

    Args:
        origin: of such a network; its `fresh` builds it.

    Raises:
        ModelError: what it builds has other parts than those that are left.
    """
    chain = main_chain(backbone)
    gone = tuple(f"{path}." for part in chain.parts[n_blocks + 1 : -1] for path in part)
    kept = {k: t for k, t in backbone.net.state_dict().items() if not k.startswith(gone)}
    assert origin.fresh is not None
    try:
        with torch.random.fork_rng(devices=[]):
            net = origin.fresh()
        net.load_state_dict(kept)
    except (RuntimeError, TypeError, ModelError):
        raise cannot_end(
            backbone, n_blocks, "its library builds no network of the parts that are left"
        ) from None
    note = f"ends above block {n_blocks - 1}; it had blocks 0 to {chain.n_blocks - 1}"
    return backbone.around(
        net.to(next(iter(kept.values())).device).eval(),
        chains=(Chain(chain.name, (*chain.parts[: n_blocks + 1], chain.parts[-1])),),
        origin=replace(origin, classes=(), old_head=None, notes=(*origin.notes, note)),
    )


def _holder(backbone: Backbone) -> nn.ModuleList | None:
    """Return the list that holds exactly the blocks, if there is one."""
    blocks = [part[0] for part in main_chain(backbone).parts[1:-1]]
    path = blocks[0].rpartition(".")[0]
    holder = backbone.net.get_submodule(path)
    expected = [f"{path}.{i}" if path else str(i) for i in range(len(blocks))]
    if isinstance(holder, nn.ModuleList) and blocks == expected and len(holder) == len(blocks):
        return holder
    return None


def _builder(net: Any, n_blocks: int) -> Callable[[], nn.Module]:
    config = copy.deepcopy(net.config)
    setattr(config, COUNT, n_blocks)
    for entry in PER_BLOCK:
        listed = getattr(config, entry, None)
        if isinstance(listed, list):
            setattr(config, entry, listed[:n_blocks])
    build, options = type(net), {}
    if getattr(net, "pooler", True) is None:
        options = {"add_pooling_layer": False}

    def fresh() -> nn.Module:
        return build(copy.deepcopy(config), **options)

    return fresh


def _check(whole: Backbone, shorter: Backbone, n_blocks: int) -> None:
    """Refuse a network that does not give what the whole one gave at its new last block."""
    inputs = whole.processor.collate(whole.processor.encode(EXAMPLE))
    device = next(whole.net.parameters()).device
    inputs = {name: t.to(device) for name, t in inputs.items()}
    outlets = [o for o in find_outlets(whole, inputs).found if o.block == n_blocks - 1]
    expected = [_pooled_at(whole, outlet, inputs) for outlet in outlets]
    found = evaluated(shorter.net, lambda: shorter(inputs)).pooled
    if not (expected and torch.allclose(found, expected[0], atol=1e-4, rtol=1e-4)):
        raise cannot_end(whole, n_blocks, "what is left does not give what the block gave")


def _pooled_at(backbone: Backbone, outlet: Outlet, inputs: dict[str, Tensor]) -> Tensor:
    seen: list[Tensor] = []
    hook = backbone.net.get_submodule(outlet.path).register_forward_hook(
        lambda _m, _a, output: seen.append(pool(backbone, outlet, output, inputs))
    )
    try:
        evaluated(backbone.net, lambda: backbone(inputs))
    finally:
        hook.remove()
    return seen[0]
