"""Let a network trained on colour pictures read grey ones, or pictures of n channels.

Source: timm, `adapt_input_conv` in `timm/models/_manipulate.py`: for one channel the weights of
the colours are summed, so that a grey picture gives what it gave when repeated three times; for n
channels they are repeated in order and scaled by 3 / n, which keeps the size of the output.

Shapes: weight of the first convolution (O, I, h, w), I input channels.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from graft.backbones.backbone import Backbone
from graft.backbones.image_processor import ImageProcessor, with_n_channels
from graft.errors import ModelError


def with_channels(backbone: Backbone, n_channels: int) -> Backbone:
    """Return a copy of an image backbone that reads pictures of `n_channels` channels.

    Args:
        backbone: its processor must be an `ImageProcessor`.
        n_channels: 1 for grey.

    Raises:
        ModelError: the network does not begin with a plain convolution.
    """
    processor = backbone.processor
    if not isinstance(processor, ImageProcessor):
        raise ModelError(f"{backbone.origin.name}: reads no pictures; channels cannot be changed")
    if n_channels == processor.n_channels:
        return backbone
    net = copy.deepcopy(backbone.net)
    adapt_input_channels(net, n_channels)
    note = f"first convolution adapted from {processor.n_channels} to {n_channels} channels"
    origin = replace(
        backbone.origin,
        fresh=_adapted(backbone.origin.fresh, n_channels),
        notes=(*backbone.origin.notes, note),
    )
    processor = with_n_channels(processor, n_channels)
    adapted = backbone.around(net, processor=processor, origin=origin)
    _check(adapted)
    return adapted


def adapt_input_channels(net: nn.Module, n_channels: int) -> None:
    """Change the first convolution of a network in place to read `n_channels` channels.

    Raises:
        ModelError: there is no such convolution, or it is grouped.
    """
    path, conv = _first_convolution(net)
    old = conv.in_channels
    if conv.groups != 1:
        raise ModelError(f"`{path}` is a grouped convolution; its channels cannot be changed")
    if n_channels == old:
        return
    weight = adapt_weight(conv.weight.detach(), n_channels)
    conv.weight = nn.Parameter(weight, requires_grad=conv.weight.requires_grad)
    conv.in_channels = n_channels
    # transformers' embeddings hold the number themselves, to check pictures against it
    segments = path.split(".")
    for i in range(len(segments)):
        holder: Any = net.get_submodule(".".join(segments[:i]))
        if getattr(holder, "num_channels", None) == old:
            holder.num_channels = n_channels
        if getattr(getattr(holder, "config", None), "num_channels", None) == old:
            holder.config.num_channels = n_channels


def adapt_weight(weight: Tensor, n_channels: int) -> Tensor:
    """Return the weight (O, n_channels, h, w) that serves best in place of (O, I, h, w).

    >>> adapt_weight(torch.ones(1, 3, 1, 1), 1).item()
    3.0
    """
    n_old = weight.shape[1]
    if n_channels == n_old:
        return weight.clone()
    if n_channels == 1:
        return weight.sum(1, keepdim=True)
    n_times = math.ceil(n_channels / n_old)
    return weight.repeat(1, n_times, 1, 1)[:, :n_channels] * (n_old / n_channels)


def _first_convolution(net: nn.Module) -> tuple[str, nn.Conv2d]:
    for path, module in net.named_modules():
        if isinstance(module, nn.Conv2d):
            return path, module
    raise ModelError(f"{type(net).__name__}: has no convolution; its channels cannot be changed")


def _adapted(
    fresh: Callable[[], nn.Module] | None, n_channels: int
) -> Callable[[], nn.Module] | None:
    if fresh is None:
        return None

    def adapted() -> nn.Module:
        net = fresh()
        adapt_input_channels(net, n_channels)
        return net

    return adapted


def _check(backbone: Backbone) -> None:
    """Refuse networks in which more than the first convolution reads the picture."""
    processor: Any = backbone.processor
    inputs = {processor.input_name: torch.zeros(2, processor.n_channels, *processor.size)}
    was_training = {module for module in backbone.modules() if module.training}
    backbone.eval()
    try:
        with torch.no_grad():
            backbone(inputs)
    except (RuntimeError, ValueError, AssertionError) as error:
        why = " ".join(str(error).split())[:80]
        raise ModelError(f"{backbone.origin.name}: cannot read other channels ({why})") from error
    finally:
        for module in backbone.modules():
            module.training = module in was_training
