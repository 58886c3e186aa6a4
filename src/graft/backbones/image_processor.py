"""Turn decoded pictures into the tensors an image network was trained on.

The first step, resize and crop to uint8, is what is remembered between epochs; the second, to
floats of the network's scale, is done per batch.

Shapes: N examples, C channels, H × W pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from graft.errors import InputError

INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "lanczos": Image.Resampling.LANCZOS,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "box": Image.Resampling.BOX,
    "hamming": Image.Resampling.HAMMING,
}
LONGEST_RATIO = 32
"""Of longer pictures only the middle is resized: the crop takes no more, and memory is finite."""
PLAIN_MODES = ("1", "L", "P", "RGB")
TRANSPARENT_MODES = ("RGBA", "LA", "PA")


@dataclass(frozen=True)
class ImageProcessor:
    """Resize, crop in the centre, and normalise as the checkpoint was trained.

    Args:
        size: height and width of what the network sees, in pixels.
        resize: length of the shortest side before the crop, or a height and width to which the
            picture is stretched.
        mean: one per channel, for pixels scaled to 0..1. Its length is the number of channels.
        std: one per channel.
        interpolation: a name in `INTERPOLATIONS`.
        input_name: keyword under which the network takes its input.
        odd_margin: what half of an odd margin becomes: torchvision and timm `round` it, half to
            even, transformers has the `floor` of it.
    """

    size: tuple[int, int]
    resize: int | tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str = "bilinear"
    input_name: str = "x"
    odd_margin: Literal["round", "floor"] = "round"

    @property
    def n_channels(self) -> int:
        return len(self.mean)

    @property
    def key(self) -> str:
        return repr(self)

    def __str__(self) -> str:
        """Say what becomes of a picture.

        >>> colour = (0.5, 0.5, 0.5)
        >>> print(ImageProcessor((224, 224), 256, colour, colour))
        pictures in colour, shorter side scaled to 256, the middle 224 × 224
        """
        height, width = self.size
        kinds = {1: "grey", 3: "in colour"}
        channels = kinds.get(self.n_channels, f"of {self.n_channels} channels")
        if isinstance(self.resize, int):
            how = f"shorter side scaled to {self.resize}, the middle {height} × {width}"
        else:
            how = f"stretched to {self.resize[0]} × {self.resize[1]}"
            if self.resize != self.size:
                how += f", the middle {height} × {width}"
        return f"pictures {channels}, {how}"

    def encode(self, values: Sequence[Any]) -> list[Mapping[str, np.ndarray]]:
        """Resize and crop decoded pictures.

        Args:
            values: uint8 arrays (H, W) or (H, W, C), or Pillow images; no paths.

        Returns:
            For each a row with `pixels`, uint8 (C, H, W).

        Raises:
            InputError: a value is no such picture, or has another number of channels.
        """
        return [{"pixels": self._encode_one(value)} for value in values]

    def collate(
        self,
        rows: Sequence[Mapping[str, np.ndarray]],
        *,
        length: int | None = None,
        without: frozenset[str] = frozenset(),
    ) -> dict[str, Tensor]:
        """Stack rows to one normalised float32 tensor (N, C, H, W) under `input_name`."""
        if self.input_name in without:
            return {}
        mean = torch.tensor(self.mean).view(-1, 1, 1)
        std = torch.tensor(self.std).view(-1, 1, 1)
        pixels = torch.from_numpy(np.stack([row["pixels"] for row in rows]))
        return {self.input_name: pixels.float().div_(255).sub_(mean).div_(std)}

    def length(self, row: Mapping[str, np.ndarray]) -> int:
        return 0

    def bucket(self, length: int) -> int:
        return length

    def frame(self, value: Any, box: tuple[int, int, int, int]) -> list[Image.Image]:
        """Scale a part of a decoded picture to what the network sees.

        Args:
            value: as for `encode`.
            box: left, top, right and bottom of the part, in pixels.

        Returns:
            Pillow planes of `size`, which together hold the channels.
        """
        how = INTERPOLATIONS[self.interpolation]
        planes = _planes(value, self.n_channels)
        return [plane.resize(self.size[::-1], how, box=box) for plane in planes]

    def pack(self, planes: Sequence[Image.Image]) -> dict[str, np.ndarray]:
        """Return the row, as from `encode`, of planes that have their size already."""
        pixels = np.concatenate([np.atleast_3d(np.asarray(plane)) for plane in planes], axis=2)
        return {"pixels": np.ascontiguousarray(pixels.transpose(2, 0, 1))}

    def unpack(self, row: Mapping[str, np.ndarray]) -> list[Image.Image]:
        """Return a row as Pillow planes again."""
        return _planes(row["pixels"].transpose(1, 2, 0), self.n_channels)

    def _encode_one(self, value: Any) -> np.ndarray:
        # Pillow's own resampling, one plane at a time where it has no mode for the channels.
        planes = [self._resized(plane) for plane in _planes(value, self.n_channels)]
        return self.pack(planes)["pixels"]

    def _resized(self, image: Image.Image) -> Image.Image:
        if isinstance(self.resize, int):
            shortest = min(image.size)
            if max(image.size) > LONGEST_RATIO * shortest:
                image = _middle(image, LONGEST_RATIO * shortest)
            width, height = image.size
            target = (self.resize * width // shortest, self.resize * height // shortest)
        else:
            target = (self.resize[1], self.resize[0])
        if target != image.size:
            image = image.resize(target, INTERPOLATIONS[self.interpolation])
        left = self._half(image.width - self.size[1])
        top = self._half(image.height - self.size[0])
        if image.size != self.size[::-1]:
            # Where the picture is smaller than the crop, Pillow fills with black.
            image = image.crop((left, top, left + self.size[1], top + self.size[0]))
        return image

    def _half(self, margin: int) -> int:
        # Where the picture is smaller than the crop, all libraries pad less before than after.
        return round(margin / 2) if self.odd_margin == "round" and margin > 0 else int(margin / 2)


def with_n_channels(processor: ImageProcessor, n_channels: int) -> ImageProcessor:
    """Return a processor for grey (1) or any number of channels.

    What the new channels hold is not known, so each takes the average mean and std of the old.
    """
    if n_channels == processor.n_channels:
        return processor
    mean = sum(processor.mean) / processor.n_channels
    std = sum(processor.std) / processor.n_channels
    return replace(processor, mean=(mean,) * n_channels, std=(std,) * n_channels)


def _planes(value: Any, n_channels: int) -> list[Image.Image]:
    """Return Pillow images that together hold `n_channels` channels."""
    image = value if isinstance(value, Image.Image) else _from_array(value, n_channels)
    if isinstance(image, list):
        return image
    if n_channels not in (1, 3):
        raise InputError(
            f"a picture in mode {image.mode} where {n_channels} channels are needed; "
            "give an array (H, W, channels)"
        )
    if image.mode in TRANSPARENT_MODES or "transparency" in image.info:
        picture = image.convert("RGBA")
        paper = Image.new("RGBA", picture.size, (255, 255, 255, 255))
        image = Image.alpha_composite(paper, picture).convert("RGB")
    elif image.mode not in PLAIN_MODES:
        raise InputError(
            f"a picture in mode {image.mode}; scale it to 8 bits and convert it to RGB or L"
        )
    elif image.mode in ("1", "P"):
        image = image.convert("RGB")
    return [image.convert("L" if n_channels == 1 else "RGB")]


def _middle(image: Image.Image, longest: int) -> Image.Image:
    """Cut a picture's longer side down to `longest` pixels around its centre."""
    width, height = (min(side, longest) for side in image.size)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _from_array(value: Any, n_channels: int) -> Image.Image | list[Image.Image]:
    pixels = np.asarray(value)
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or not pixels.size:
        raise InputError(
            f"a picture must be a uint8 array (H, W) or (H, W, channels) or a Pillow image, not "
            f"{type(value).__name__} of {pixels.dtype} {pixels.shape}; decode it first"
        )
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    found = pixels.shape[2]
    if found == n_channels and n_channels not in (1, 3):
        return [Image.fromarray(np.ascontiguousarray(pixels[:, :, c])) for c in range(found)]
    if found not in (1, 3) or n_channels not in (1, 3):
        raise InputError(
            f"a picture has {found} channels where {n_channels} are needed; choose the channels"
        )
    return Image.fromarray(np.ascontiguousarray(pixels[:, :, 0] if found == 1 else pixels))
