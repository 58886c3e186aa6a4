"""Read transformers' own descriptions of image processors, each with its habits.

Some crop and some stretch, ConvNeXt does either depending on the size, EfficientNet divides by the
standard deviation twice. What comes out acts on a picture as the library's processor does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graft.backbones.image_processor import INTERPOLATIONS, ImageProcessor

RESAMPLE = {number: name for name, number in INTERPOLATIONS.items()}


def described(own: Mapping[str, Any], n_channels: int, default_side: int = 224) -> ImageProcessor:
    """Return the processor that acts as the library's does, given its own description.

    Args:
        own: what `to_dict` of an image processor returns.
        n_channels: of the network.
        default_side: pixels, where the description names no size.
    """
    size, resize = _sizes(own, default_side)
    mean, std = _scales(own, n_channels)
    return ImageProcessor(
        size=size,
        resize=resize,
        mean=mean,
        std=std,
        interpolation=RESAMPLE.get(own.get("resample", 2), "bilinear"),
        input_name="pixel_values",
        odd_margin="floor",
    )


def _sizes(
    own: Mapping[str, Any], default_side: int
) -> tuple[tuple[int, int], int | tuple[int, int]]:
    """Return the size of the input, and how to resize before the crop."""
    given = own.get("size") or {}
    side = given.get("shortest_edge") or given.get("height") or default_side
    size = (given.get("height", side), given.get("width", side))
    crop_pct = own.get("crop_pct")
    if crop_pct and "shortest_edge" in given:
        # ConvNeXt's own rule: crop below 384 pixels, stretch from there on
        return size, int(side / crop_pct) if side < 384 else size
    resize = given.get("shortest_edge", size)
    if own.get("do_center_crop"):
        crop = own.get("crop_size") or {"height": side, "width": side}
        return (crop["height"], crop["width"]), resize
    if isinstance(resize, int):
        # No crop: pictures of one batch must still have one shape.
        return size, resize
    return size, size


def _scales(own: Mapping[str, Any], n_channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and std as they act on pixels scaled to 0..1."""
    normalises = own.get("do_normalize", True)
    mean = list(own.get("image_mean") or [0.5]) if normalises else [0.0]
    std = list(own.get("image_std") or [0.5]) if normalises else [1.0]
    if own.get("include_top"):
        std = [s * s for s in std]  # EfficientNet divides twice
    factor = 255 * own.get("rescale_factor", 1 / 255) if own.get("do_rescale", True) else 255.0
    if abs(factor - 1) < 1e-6:
        factor = 1.0
    if len(mean) != n_channels:
        mean, std = [sum(mean) / len(mean)] * n_channels, [sum(std) / len(std)] * n_channels
    return tuple(m / factor for m in mean), tuple(s / factor for s in std)
