"""Outlets: how the output of each block of a backbone becomes one vector per example.

Texts are pooled as the backbone pools its last block, after the final norm where there is one: so
an outlet gives what the network would give if it ended there. A classification class reads its own
pooler, which knows the last block alone; its blocks are averaged over the tokens. Token sequences
of pictures are averaged as well, the class token among them: low blocks have not yet gathered
anything in it. Maps are averaged over height and width.

Which axis of a map holds the channels is told by the shape of the picture, which the other two
have, or else by what the block's weights are made for; where that leaves a doubt the block is left
out, and the reason is given.

Shapes: N examples, L tokens, D width, H and W of a map.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Literal

from torch import Tensor, nn

from graft.backbones.backbone import Backbone, Chain
from graft.backbones.image_network import evaluated
from graft.backbones.pooling import POOLINGS, MaskedMean

Layout = Literal["vectors", "texts", "tokens", "maps", "maps with channels last"]


@dataclass(frozen=True)
class Outlet:
    """Say how one block's output is pooled.

    Args:
        block: its number, from 0 at the bottom.
        path: of the module whose output it is, inside the network.
        layout: what its axes mean.
        width: D of what comes out.
        norms: paths of final norms that are applied before pooling.
    """

    block: int
    path: str
    layout: Layout
    width: int
    norms: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outlets:
    """Hold the outlets that were found, and why the other blocks have none."""

    found: tuple[Outlet, ...]
    left_out: tuple[str, ...] = ()


def main_chain(backbone: Backbone) -> Chain:
    """Return the chain called `main`, or else the first."""
    return next((c for c in backbone.chains if c.name == "main"), backbone.chains[0])


def find_outlets(backbone: Backbone, inputs: Mapping[str, Tensor]) -> Outlets:
    """Find an outlet for each block of the main chain by running a batch of two rows or more."""
    chain = main_chain(backbone)
    # modules that stand between two blocks belong to the upper one and come after it in its part
    paths = [part[0] for part in chain.parts[1:-1]]
    outputs: dict[str, list[Any]] = {path: [] for path in paths}
    hooks = [
        backbone.net.get_submodule(path).register_forward_hook(
            lambda _m, _a, output, path=path: outputs[path].append(first_tensor(output))
        )
        for path in paths
    ]
    try:
        evaluated(backbone.net, lambda: backbone(inputs))
    finally:
        for hook in hooks:
            hook.remove()
    n_rows = len(next(iter(inputs.values())))
    norms = _final_norms(backbone, chain)
    found, left_out = [], []
    for number, path in enumerate(paths):
        calls = outputs[path]
        layout: Layout | str
        if len(calls) != 1:
            layout = f"it runs {len(calls)} times"
        elif not isinstance(calls[0], Tensor) or len(calls[0]) != n_rows or calls[0].ndim < 2:
            layout = "its output holds no tensor with a row per example"
        else:
            layout = _layout(backbone, path, calls[0], inputs)
        if layout in ("vectors", "texts", "tokens", "maps", "maps with channels last"):
            axis = 1 if layout in ("vectors", "maps") else -1
            own = norms if layout == "texts" else ()
            found.append(Outlet(number, path, layout, calls[0].shape[axis], own))  # type: ignore[arg-type]
        else:
            left_out.append(f"block {number} was left out: {layout}")
    return Outlets(tuple(found), tuple(left_out))


def pool(backbone: Backbone, outlet: Outlet, output: Any, inputs: Mapping[str, Tensor]) -> Tensor:
    """Return one vector per example, (N, D) in float32, of what a block put out."""
    values = first_tensor(output)
    assert isinstance(values, Tensor)
    if outlet.layout == "texts":
        for path in outlet.norms:
            values = backbone.net.get_submodule(path)(values)
        read: Any = backbone.read if _pools_tokens(backbone) else MaskedMean()
        values = read(_Given(values), inputs).pooled
    elif outlet.layout == "tokens":
        values = values.mean(1)
    elif outlet.layout == "maps":
        values = values.mean((2, 3))
    elif outlet.layout == "maps with channels last":
        values = values.mean((1, 2))
    return values.float()


def first_tensor(output: Any) -> Any:
    """Return the hidden states of a block that returns more: its first tensor."""
    if isinstance(output, Tensor):
        return output
    values: Sequence[Any] = ()
    if isinstance(output, Mapping):
        values = list(output.values())
    elif isinstance(output, list | tuple):
        values = output
    return values[0] if values and isinstance(values[0], Tensor) else None


class _Given(nn.Module):
    """Stand for a network that has run already, so that a pooling can read any tokens."""

    def __init__(self, tokens: Tensor) -> None:
        super().__init__()
        self.tokens = tokens

    def forward(self, **_inputs: Any) -> Any:
        return SimpleNamespace(last_hidden_state=self.tokens)


def _pools_tokens(backbone: Backbone) -> bool:
    return isinstance(backbone.read, tuple(POOLINGS.values()))


def _final_norms(backbone: Backbone, chain: Chain) -> tuple[str, ...]:
    """Return the neck of a text body where it is nothing but norms, which take any tokens."""
    if not _pools_tokens(backbone):
        return ()
    neck = [path for path in chain.parts[-1] if any(_sizes(backbone.net.get_submodule(path)))]
    kinds = [type(backbone.net.get_submodule(path)).__name__.lower() for path in neck]
    return tuple(neck) if all("norm" in kind for kind in kinds) else ()


def _layout(
    backbone: Backbone, path: str, output: Tensor, inputs: Mapping[str, Tensor]
) -> Layout | str:
    """Return what the axes of a block's output mean, or why that is not known."""
    sizes = _sizes(backbone.net.get_submodule(path))
    if output.ndim == 2:
        return "vectors"
    if output.ndim == 3 and backbone.modality == "text":
        mask = inputs.get("attention_mask")
        if mask is None or mask.shape[:2] != output.shape[:2]:
            return "its tokens are not those of the attention mask"
        return "texts"
    if output.ndim == 3:
        is_last = output.shape[2] in sizes
        return "tokens" if is_last else "no axis of its output is known to hold the features"
    if output.ndim == 4:
        height, width = next((t.shape[-2:] for t in inputs.values() if t.ndim == 4), (1, 1))
        _, a, b, c = output.shape
        is_first, is_last = _alike(b, c, height, width), _alike(a, b, height, width)
        if is_first and is_last:  # as many channels as pixels: the weights may tell
            is_first, is_last = a in sizes, c in sizes
        if is_first != is_last:
            return "maps" if is_first else "maps with channels last"
        return "it is not clear which axis of its map holds the channels"
    return f"its output has {output.ndim} axes"


def _sizes(module: nn.Module) -> set[int]:
    """Return for how many features each weight of a module, or of what it holds, is made."""
    return {p.shape[0] for p in module.parameters() if p.ndim}


def _alike(a: int, b: int, height: int, width: int) -> bool:
    """Say whether a map of a × b has the shape of the picture, up to rounding of a side."""
    return abs(a * width - b * height) <= max(height, width)
