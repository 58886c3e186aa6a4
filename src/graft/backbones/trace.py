"""Find the chains of a network by watching one forward pass.

The source says which modules are blocks (a glob such as `encoder.layer.*`). Every other module is
placed by when it is first called: before the first block it is stem, between two blocks it goes
with the upper one, after the last it is neck. What is never called goes to the stem. A module
without parameters that is called several times (T5's dropout) is glue and belongs to no part.
Registration order would be wrong for DeBERTa and MPNet, which register after the blocks what they
use before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from graft.backbones.backbone import Chain
from graft.errors import ModelError


def match_modules(net: nn.Module, pattern: str) -> list[str]:
    """Return the paths of modules that match a glob, `*` standing for one path segment.

    >>> match_modules(nn.Sequential(nn.ReLU(), nn.ReLU()), "*")
    ['0', '1']
    """
    wanted = pattern.split(".")
    found = []
    for path, _ in net.named_modules():
        segments = path.split(".")
        if path and len(segments) == len(wanted) and all(map(_segment_fits, segments, wanted)):
            found.append(path)
    return found


def find_modules(net: nn.Module, patterns: Sequence[str]) -> list[str]:
    """Return the paths that match any of several globs, each once.

    Raises:
        ModelError: a glob matches nothing, or one match lies inside another.
    """
    found: dict[str, None] = {}
    for pattern in patterns:
        matches = match_modules(net, pattern)
        if not matches:
            raise ModelError(
                f"no module of {type(net).__name__} matches `{pattern}`; its children are "
                f"{', '.join(name for name, _ in net.named_children())[:80]}"
            )
        found |= dict.fromkeys(matches)
    for path in found:
        outer = next((other for other in found if path.startswith(f"{other}.")), None)
        if outer is not None:
            raise ModelError(f"block `{path}` lies inside block `{outer}`; name one of them")
    return list(found)


def trace_chains(
    net: nn.Module,
    forward: Callable[[], Any],
    blocks: Sequence[Sequence[str]],
    *,
    names: Sequence[str] = ("main",),
    after: Sequence[Sequence[str]] | None = None,
) -> tuple[Chain, ...]:
    """Run `forward` once in eval mode and return one chain for each entry of `blocks`.

    Args:
        net: the network.
        forward: runs `net` on a small example.
        blocks: for each chain, globs that name its blocks.
        names: a name for each chain.
        after: for each chain, names of the chains that it reads.

    Raises:
        ModelError: a glob matches nothing.
    """
    paths = [find_modules(net, patterns) for patterns in blocks]
    every_block = [path for chain in paths for path in chain]
    loose = _outside(net, every_block)
    order, n_calls = _watch(net, forward, [*every_block, *loose])
    loose = [path for path in loose if n_calls[path] < 2 or _has_parameters(net, path)]
    after = after or [()] * len(paths)
    ordered = [sorted(chain, key=lambda path: order.get(path, len(order))) for chain in paths]
    parts: list[list[list[str]]] = [[[] for _ in range(len(chain) + 2)] for chain in ordered]
    for chain, part in zip(ordered, parts, strict=True):
        for i, path in enumerate(chain):
            part[i + 1].append(path)
    for path in loose:
        index = _chain_of(path, ordered, order)
        parts[index][_height(path, ordered[index], order)].append(path)
    return tuple(
        Chain(name, tuple(tuple(p) for p in part), tuple(reads))
        for name, part, reads in zip(names, parts, after, strict=True)
    )


def _segment_fits(segment: str, wanted: str) -> bool:
    if wanted.endswith("*"):
        return segment.startswith(wanted[:-1])
    return segment == wanted


def _outside(net: nn.Module, blocks: Sequence[str]) -> list[str]:
    """Return the topmost modules that are neither a block nor hold or lie in one."""
    inside = set(blocks)
    holders = {path.rsplit(".", n)[0] for path in blocks for n in range(1, path.count(".") + 1)}
    found: list[str] = []

    def walk(module: nn.Module, prefix: str) -> None:
        for name, child in module.named_children():
            path = f"{prefix}{name}"
            if path in holders:
                walk(child, f"{path}.")
            elif path not in inside:
                found.append(path)

    walk(net, "")
    return found


def _has_parameters(net: nn.Module, path: str) -> bool:
    return any(True for _ in net.get_submodule(path).parameters())


def _watch(
    net: nn.Module, forward: Callable[[], Any], paths: list[str]
) -> tuple[dict[str, int], Counter[str]]:
    """Return the order in which the modules were first called, and how often each was."""
    order: dict[str, int] = {}
    n_calls: Counter[str] = Counter()
    modules = dict(net.named_modules(remove_duplicate=False))
    hooks = []
    for path in paths:
        # containers such as ModuleList are never called themselves: watch what they hold
        for module in modules[path].modules():

            def note(called: nn.Module, _args: Any, path: str = path) -> None:
                order.setdefault(path, len(order))
                n_calls[path] += called is modules[path]

            hooks.append(module.register_forward_pre_hook(note))
    was_training = {module for module in net.modules() if module.training}
    net.eval()
    try:
        with torch.no_grad():
            forward()
    finally:
        for hook in hooks:
            hook.remove()
        for module in net.modules():
            module.training = module in was_training
    return order, n_calls


def _chain_of(path: str, chains: Sequence[Sequence[str]], order: dict[str, int]) -> int:
    """Choose the chain that shares the longest path, or else the one that was called last."""
    shared = [max(_common(path, block) for block in chain) for chain in chains]
    close = [i for i, n in enumerate(shared) if n == max(shared)]
    if len(close) == 1 or path not in order:
        return close[0]

    def last_call_before(i: int) -> int:
        return max(
            (order[b] for b in chains[i] if order.get(b, len(order)) < order[path]), default=-1
        )

    return max(close, key=last_call_before)


def _height(path: str, blocks: Sequence[str], order: dict[str, int]) -> int:
    if path not in order:
        return 0
    begun = sum(order.get(block, len(order)) < order[path] for block in blocks)
    return 0 if begun == 0 else begun + 1


def _common(a: str, b: str) -> int:
    n = 0
    for x, y in zip(a.split("."), b.split("."), strict=False):
        if x != y:
            break
        n += 1
    return n
