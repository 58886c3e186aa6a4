"""Watch one pass through a network: which modules were called, and which branches join a stream.

A residual network adds what a branch computed to what it was given. In the graph that autograd
keeps, such a place is an addition one side of which is the output of a module that follows from the
block's input, while the other reaches that input without the module. So branches are found without
knowing how a family names its parts: after attention and after feed-forward, before norm or after
it, with layer scale, or in windows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.utils import _pytree as pytree

from graft.surgery.inserting import first_tensor, inserted


@dataclass(frozen=True, eq=False)
class Call:
    """Hold the first call of a module.

    Args:
        path: of the module.
        shape: of what it put out.
        node: where autograd noted its output, or None.
        is_leaf: whether it holds no other module.
    """

    path: str
    module: nn.Module
    shape: tuple[int, ...]
    node: Any
    is_leaf: bool


@dataclass(frozen=True)
class Branch:
    """A module whose output joins the stream, and the first layer of what leads there.

    Args:
        end: path of the module.
        start: path of the first module with a matrix of weights since the branch before.
        width: numbers that it puts out per token.
        block: path of the block that it lies in.
    """

    end: str
    start: str
    width: int
    block: str


def watch(net: nn.Module, paths: Sequence[str], run: Callable[[], Any]) -> list[Call]:
    """Return the first call of each module under `paths` that put out a tensor, in order."""
    calls: dict[str, Call] = {}
    hooks = []
    put_in = {id(module) for _, child in inserted(net) for module in child.modules()}
    for root in paths:
        for name, module in net.get_submodule(root).named_modules():
            path = f"{root}.{name}" if name else root
            if id(module) in put_in:  # nothing belongs into what surgery put in before
                continue

            def note(module: nn.Module, _args: Any, output: Any, path: str = path) -> None:
                found = _tensors(output)[:1]
                if found and path not in calls:
                    is_leaf = not any(True for _ in module.children())
                    shape = tuple(found[0].shape)
                    calls[path] = Call(path, module, shape, found[0].grad_fn, is_leaf)

            hooks.append(module.register_forward_hook(note))
    try:
        with _differentiable(net):
            run()
    finally:
        for hook in hooks:
            hook.remove()
    return list(calls.values())


def find_branches(net: nn.Module, paths: Sequence[str], run: Callable[[], Any]) -> list[Branch]:
    """Return the branches of transformer blocks at `paths`, in the order in which they join.

    A branch that ends in a convolution is none of these.
    """
    edges: dict[str, tuple[set[Any], Tensor]] = {}
    hooks = []
    for path in paths:

        def note(_module: nn.Module, args: Any, kwargs: Any, output: Any, path: str = path) -> None:
            if path not in edges:
                given = {t.grad_fn for t in _tensors((args, kwargs)) if t.grad_fn is not None}
                edges[path] = (given, first_tensor(pytree.tree_leaves(output), {}))

        module = net.get_submodule(path)
        hooks.append(module.register_forward_hook(note, with_kwargs=True))
    try:
        calls = watch(net, paths, run)
    finally:
        for hook in hooks:
            hook.remove()
    found = []
    for path in paths:
        if path in edges:
            inside = [call for call in calls if call.path.startswith(f"{path}.")]
            found += _of_block(path, inside, *edges[path])
    return found


def _of_block(block: str, calls: list[Call], given: set[Any], out: Tensor) -> Iterator[Branch]:
    """Yield the branches of one block, from the graph between its input and its output."""
    graph = _between(out.grad_fn, given)
    ends = {
        id(call.node): i  # the last of several that hand one tensor on, as dropout does here
        for i, call in enumerate(calls)
        if call.is_leaf and call.node is not None
    }
    joined = set()
    for node in graph:
        if not type(node).__name__.startswith("AddBackward"):
            continue
        sides = [parent for parent, _ in node.next_functions]
        for side, other in (sides, sides[::-1]):
            end = _followed(side, ends)
            if end is None or not _between(side, given) & given:
                continue
            behind = _between(other, given)
            if calls[end].node not in behind and behind & given:
                joined.add(end)
    begun = 0
    for end in sorted(joined):
        inside, begun = calls[begun : end + 1], end + 1
        layers = [c for c in inside if _has_matrix(c.module)]
        if not layers or isinstance(layers[-1].module, _ConvNd):
            continue
        last = layers[-1]
        # what only scales or drops comes before the addition too; where channels have become
        # another axis does not count
        ends = [c for c in inside if c.is_leaf and _scales(c.node, last.node)]
        if ends:
            first = next(c for c in layers if not isinstance(c.module, _ConvNd))
            yield Branch(ends[-1].path, first.path, last.shape[-1], block)


def _between(node: Any, given: set[Any]) -> set[Any]:
    """Return all nodes from which `node` was computed, as far as the inputs of the block."""
    seen: set[Any] = set()
    queue = [node]
    while queue:
        current = queue.pop()
        if current is None or current in seen:
            continue
        seen.add(current)
        if current not in given:
            queue += [parent for parent, _ in current.next_functions]
    return seen


SCALING = ("Mul", "Clone", "ToCopy")
RESHAPING = ("View", "Reshape", "Permute", "Transpose", "Roll", "Slice", *SCALING)
"""Operations that leave a branch what it is, by words in the names of their nodes."""


def _followed(node: Any, ends: dict[int, int]) -> int | None:
    """Return the module whose output a side of an addition is, seen through what only reshapes."""
    while node is not None and id(node) not in ends:
        node = _behind(node, RESHAPING)
    return None if node is None else ends[id(node)]


def _scales(node: Any, layer: Any) -> bool:
    """Return whether a tensor is what a layer put out, scaled at most."""
    while node is not None and node is not layer:
        node = _behind(node, SCALING)
    return node is not None


def _behind(node: Any, passing: tuple[str, ...]) -> Any:
    """Return the node before one of the operations named, or None."""
    if not any(word in type(node).__name__ for word in passing):
        return None
    return next((parent for parent, _ in node.next_functions if parent is not None), None)


def _has_matrix(module: nn.Module) -> bool:
    return any(p.ndim > 1 for p in module.parameters(recurse=False))


def _tensors(structure: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(structure) if isinstance(leaf, Tensor)]


@contextmanager
def _differentiable(net: nn.Module) -> Iterator[None]:
    """Let autograd note everything inside, in eval mode; then give every flag back."""
    flags = [(p, p.requires_grad) for p in net.parameters()]
    trained = [module for module in net.modules() if module.training]
    net.eval()
    for parameter, _ in flags:
        parameter.requires_grad_(True)
    try:
        with torch.enable_grad():
            yield
    finally:
        for parameter, flag in flags:
            parameter.requires_grad_(flag)
        for module in trained:
            module.training = True
