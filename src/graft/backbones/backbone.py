"""The backbone contract: what the engine must know of a pretrained network, and no more.

A backbone is a network, a processor that turns raw values into its inputs, a function that reads
`Features` off its output, and one or more *chains* that put an order on its parameters:

    stem → blocks[0] → … → blocks[K-1] → neck

Two chains for CLIP or an encoder-decoder, one for the rest. A chain names modules by their path;
a parameter that no part names belongs to the stem, the last place to be trained, so an oversight
costs speed and never correctness. Everything else in graft, freezing, rates per block, gradual
unfreezing, the feature store, works from the chains alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from torch import Tensor, nn

from graft.errors import ModelError
from graft.features import Features

Modality = Literal["text", "image"]

Problem = Literal[
    "single_label_classification", "multi_label_classification", "regression", "embedding"
]
"""What a head's outputs mean, in the words of transformers' configurations; `embedding` is ours."""

Row = Mapping[str, np.ndarray]
"""One encoded example: named arrays without a batch dimension."""


@dataclass(frozen=True)
class Chain:
    """Order the modules of a network from its input to its output.

    Args:
        name: `main`, or `encoder`, `decoder`, `text`, `image`.
        parts: paths of modules: `parts[0]` is the stem, `parts[1..K]` the blocks, `parts[-1]` the
            neck. A block may be several modules; stem and neck may be empty.
        after: names of the chains whose output this one reads (a decoder: its encoder). While one
            of those trains, nothing of this chain is constant.
    """

    name: str
    parts: tuple[tuple[str, ...], ...]
    after: tuple[str, ...] = ()

    @property
    def n_blocks(self) -> int:
        return len(self.parts) - 2

    def prefixed(self, prefix: str) -> Chain:
        """Return the same chain as seen from a module that holds the network at `prefix`."""
        parts = tuple(tuple(join(prefix, path) for path in part) for part in self.parts)
        return Chain(self.name, parts, self.after)

    def part_name(self, height: int) -> str:
        """Return `stem`, `block 3` or `neck` for a height of 0 to K+1."""
        if height == 0:
            return "stem"
        return "neck" if height == self.n_blocks + 1 else f"block {height - 1}"


class Processor(Protocol):
    """Turn raw values into network inputs, in two steps so that the first can be remembered."""

    @property
    def key(self) -> str:
        """Identity: equal keys mean equal outputs. Part of the key of every feature store."""
        ...

    def encode(self, values: Sequence[Any]) -> list[Row]:
        """Encode each value alone (tokenise; decode and resize)."""
        ...

    def collate(
        self,
        rows: Sequence[Row],
        *,
        length: int | None = None,
        without: frozenset[str] = frozenset(),
    ) -> dict[str, Tensor]:
        """Stack encoded rows to tensors (N, …), padded to `length` or to the longest row.

        Inputs named in `without` are left out, and what only they need is not computed.
        """
        ...

    def length(self, row: Row) -> int:
        """Return the number of tokens or samples of a row; 0 where all rows have one shape."""
        ...

    def bucket(self, length: int) -> int:
        """Round a length up to the shape at which frozen prefixes are computed."""
        ...


@dataclass(frozen=True)
class Origin:
    """Say where a network came from, and how to make or save one like it.

    Args:
        source: name in `SOURCES`.
        name: what the user asked for: hub name, folder, or a description.
        family: the source library's own name of the architecture.
        fresh: builds the same network with random weights (for `scratch`).
        shorter: takes a number of blocks; returns the origin of the same network with so many, for
            `graft.surgery.shorten`; None where its library has no number for them.
        save: writes network and head into a folder that the source library opens by itself; called
            with folder, backbone, head, the names of its outputs, and `problem=`.
        classes: label names of the head that the checkpoint carried, if any.
        old_head: that head's weight (C, D) and bias (C,), if it was linear on pooled features.
        problem: what that head's outputs mean.
        notes: what had to be changed or chosen while loading, for the user.
    """

    source: str
    name: str
    family: str
    fresh: Callable[[], nn.Module] | None = None
    shorter: Callable[[int], Origin] | None = None
    save: Callable[..., Any] | None = None
    classes: tuple[str, ...] = ()
    old_head: tuple[Tensor, Tensor] | None = None
    problem: Problem = "single_label_classification"
    notes: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)


class Backbone(nn.Module):
    """Join a network with its chains, its processor and the way to read features off it.

    Args:
        net: the network; its forward takes the processor's inputs by keyword.
        chains: order of its modules, paths relative to `net`.
        read: takes (net, inputs), runs the network and returns `Features`.
        width: D of `Features.pooled`.
        processor: turns raw values into inputs.
        modality: what goes in.
        origin: where it came from.
    """

    def __init__(
        self,
        net: nn.Module,
        *,
        chains: tuple[Chain, ...],
        read: Callable[[nn.Module, Mapping[str, Tensor]], Features],
        width: int,
        processor: Processor,
        modality: Modality,
        origin: Origin,
    ) -> None:
        super().__init__()
        self.net = net
        self.chains = chains
        self.read = read
        self.width = width
        self.processor = processor
        self.modality = modality
        self.origin = origin

    def forward(self, inputs: Mapping[str, Tensor]) -> Features:
        return of_width(self.read(self.net, inputs), self.width)

    def around(self, net: nn.Module, **changed: Any) -> Backbone:
        """Return a backbone like this one around another network.

        Args:
            net: its parts have the same names, unless `chains` says otherwise.
            changed: what else differs, as the constructor takes it.
        """
        own = {name: getattr(self, name) for name in CONTRACT}
        return Backbone(net, **(own | changed))


CONTRACT = ("chains", "read", "width", "processor", "modality", "origin")
"""What a backbone knows of its network."""


def of_width(features: Features, width: int) -> Features:
    """Return features as they are, if `pooled` is (N, width) or absent.

    Raises:
        ModelError: it has another shape.
    """
    pooled = features.pooled
    if pooled is not None and (pooled.ndim != 2 or pooled.shape[1] != width):
        raise ModelError(
            f"the network returned features of shape {tuple(pooled.shape)} where (N, {width}) was "
            "declared; correct width= or pass read="
        )
    return features


@dataclass(frozen=True)
class Tower:
    """A backbone found inside a model: its path there, and its chains as seen from the model."""

    path: str
    chains: tuple[Chain, ...]


def towers(model: nn.Module) -> tuple[Tower, ...]:
    """Return the backbones inside `model`, in the order in which the model registers them."""
    found = []
    for path, module in model.named_modules():
        if isinstance(module, Backbone):
            net = join(path, "net")
            found.append(Tower(path, tuple(chain.prefixed(net) for chain in module.chains)))
    return tuple(found)


def join(prefix: str, path: str) -> str:
    """Join two module paths; either may be empty."""
    return f"{prefix}.{path}" if prefix and path else prefix or path
