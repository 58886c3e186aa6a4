"""The user's own network as a backbone, declared in one call."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from graft.backbones.backbone import (
    Backbone,
    Chain,
    Modality,
    Origin,
    Processor,
    Row,
    of_width,
)
from graft.backbones.image_processor import ImageProcessor
from graft.backbones.trace import find_modules, trace_chains
from graft.errors import InputError, ModelError
from graft.features import Features

DEFAULT_IMAGE_SIZE = 224


@dataclass(frozen=True)
class Arrays:
    """Take examples that are numeric arrays of one shape, and feed them as input `name`.

    Args:
        name: keyword of the network's forward.
        scale: factor applied to every value.
    """

    name: str = "x"
    scale: float = 1.0

    @property
    def key(self) -> str:
        return f"arrays-{self.name}-{self.scale!r}"

    def encode(self, values: Sequence[Any]) -> list[Row]:
        """Take each value as float32."""
        return [{self.name: torch.as_tensor(v).numpy().astype("float32")} for v in values]

    def collate(
        self,
        rows: Sequence[Row],
        *,
        length: int | None = None,
        without: frozenset[str] = frozenset(),
    ) -> dict[str, Tensor]:
        """Stack to (N, …)."""
        if self.name in without:
            return {}
        return {self.name: torch.stack([torch.from_numpy(r[self.name]) for r in rows]) * self.scale}

    def length(self, row: Row) -> int:
        return 0

    def bucket(self, length: int) -> int:
        return length


@dataclass(frozen=True)
class PicturesOrArrays:
    """Treat decoded pictures with one processor, and all other examples as arrays.

    A picture is a Pillow image or a uint8 array (H, W, 1) or (H, W, 3): what files of images
    become. All examples must be of one kind.
    """

    pictures: ImageProcessor
    arrays: Arrays

    @property
    def key(self) -> str:
        return f"{self.pictures.key} or {self.arrays.key}"

    def encode(self, values: Sequence[Any]) -> list[Row]:
        kinds = [self.pictures if _is_picture(v) else self.arrays for v in values]
        return [kind.encode([v])[0] for kind, v in zip(kinds, values, strict=True)]

    def collate(
        self,
        rows: Sequence[Row],
        *,
        length: int | None = None,
        without: frozenset[str] = frozenset(),
    ) -> dict[str, Tensor]:
        """Stack to (N, …)."""
        kinds = {"pixels" in row for row in rows}
        if len(kinds) > 1:
            raise InputError("pictures and other arrays in one batch; give examples of one kind")
        kind = self.pictures if kinds == {True} else self.arrays
        return kind.collate(rows, length=length, without=without)

    def length(self, row: Row) -> int:
        return 0

    def bucket(self, length: int) -> int:
        return length


def _is_picture(value: Any) -> bool:
    if isinstance(value, Image.Image):
        return True
    is_bytes = isinstance(value, np.ndarray) and value.dtype == np.uint8
    return is_bytes and value.ndim == 3 and value.shape[2] in (1, 3)


@dataclass(frozen=True)
class ReadPooled:
    """Run the network on its inputs and take what it returns, (N, D), as pooled features."""

    def __call__(self, net: nn.Module, inputs: Mapping[str, Tensor]) -> Features:
        output = net(**inputs)
        return output if isinstance(output, Features) else Features(pooled=output)


def backbone(
    net: nn.Module,
    *,
    blocks: str | Sequence[str],
    width: int,
    neck: Sequence[str] = (),
    processor: Processor | None = None,
    image_size: int | tuple[int, int] | None = None,
    read: Callable[[nn.Module, Mapping[str, Tensor]], Features] | None = None,
    example: Mapping[str, Tensor] | None = None,
    modality: Modality = "image",
    name: str | None = None,
    fresh: Callable[[], nn.Module] | None = None,
) -> Backbone:
    """Declare any `nn.Module` as a backbone.

    Args:
        net: its forward takes the processor's inputs by keyword and returns features (N, D).
        blocks: glob or globs of its blocks' paths, `*` for one path segment: `"layers.*"`; or the
            paths themselves, in the order in which they run.
        width: D.
        neck: globs or paths of modules after the last block; leave it out with `example`.
        processor: turns raw examples into inputs. Of image files, decoded uint8 arrays (H, W, C)
            arrive here. Unless given, pictures are resized to `image_size` and scaled to -1..1
            (mean and std 0.5), as many channels as the network's first convolution reads if that
            is 1 or 3, else 3; other arrays, all of one shape, are taken as they are. The input has
            the name of the first argument of the network's forward.
        image_size: pixels of a picture's shortest side, of which the middle square is taken; or a
            height and width to which it is stretched. With it, every example must be a picture.
            Unless given, 224 where pictures come.
        read: reads `Features` off the network, where its output is not (N, D).
        example: inputs of a small batch; with it every module's place is found by one forward pass.
        modality: what goes in.
        name: what to call it; the class's name unless given.
        fresh: makes the same network with random weights, for `scratch`.

    Raises:
        ModelError: a glob or path matches no module, the example does not give (N, D), or
            arguments exclude each other.

    >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8))
    >>> backbone(net, blocks="*", width=8).chains[0].n_blocks
    3
    """
    patterns = [blocks] if isinstance(blocks, str) else list(blocks)
    read = read or ReadPooled()
    if processor is None:
        processor = _default_processor(net, image_size)
    elif image_size is not None:
        raise ModelError("the processor sets the size of pictures; leave out image_size=")
    if example is None:
        found = find_modules(net, patterns)
        after = [path for path in find_modules(net, neck) if path not in found]
        rest = _outside(net, [*found, *after])
        chains = (Chain("main", (tuple(rest), *((path,) for path in found), tuple(after))),)
    elif neck:
        raise ModelError("with an example the neck is found by running it; leave out neck=")
    else:
        chains = trace_chains(net, lambda: of_width(read(net, example), width), [patterns])
    return Backbone(
        net,
        chains=chains,
        read=read,
        width=width,
        processor=processor,
        modality=modality,
        origin=Origin("own", name or type(net).__name__, type(net).__name__, fresh=fresh),
    )


def _default_processor(net: nn.Module, image_size: int | tuple[int, int] | None) -> Processor:
    name = _first_argument(net)
    resize = DEFAULT_IMAGE_SIZE if image_size is None else image_size
    size = (resize, resize) if isinstance(resize, int) else resize
    first = next((m for m in net.modules() if isinstance(m, nn.Conv2d)), None)
    half = (0.5,) * (1 if first is not None and first.in_channels == 1 else 3)
    pictures = ImageProcessor(size, resize, half, half, input_name=name)
    return pictures if image_size is not None else PicturesOrArrays(pictures, Arrays(name))


def _first_argument(net: nn.Module) -> str:
    """Return the name of the first argument of forward; `x` where it takes any."""
    for name, parameter in inspect.signature(net.forward).parameters.items():
        if parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD:
            return name
    return "x"


def _outside(net: nn.Module, paths: Sequence[str]) -> list[str]:
    """Return the topmost modules that are, hold and lie in none of `paths`."""
    found = []
    for path, _ in net.named_modules():
        related = any(
            path == p or p.startswith(f"{path}.") or path.startswith(f"{p}.") for p in paths
        )
        inside = any(path.startswith(f"{f}.") for f in found)
        if path and not related and not inside:
            found.append(path)
    return found
