"""A student of fewer blocks: the lowest of its teacher's, under what follows them.

A text encoder ends above one of its blocks, as in `truncate.py`. A transformer of pictures loses
its upper blocks alone: its final norm and its pooling stay and read what the last block that is
left puts out. Its own library builds the shorter network, so that it opens what is saved of it; and
it must give what the whole one gives while its upper blocks are skipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from graft.backbones.backbone import Backbone
from graft.backbones.image_network import blank, evaluated
from graft.backbones.image_processor import ImageProcessor
from graft.backbones.outlets import first_tensor, main_chain
from graft.surgery.truncate import cannot_end, n_blocks_of, of_lowest, truncated


def shortened(backbone: Backbone, n_blocks: int) -> Backbone:
    """Return a copy of a network with its lowest `n_blocks` blocks and what follows the blocks.

    Raises:
        ModelError: it has no such blocks; they change the shape of what they are given; or its
            library could not open what would be left.
    """
    if backbone.modality == "text":
        return truncated(backbone, n_blocks)
    if n_blocks == n_blocks_of(backbone, n_blocks):
        return backbone
    shorter, processor = backbone.origin.shorter, backbone.processor
    if shorter is None or not isinstance(processor, ImageProcessor):
        raise cannot_end(backbone, n_blocks, "its library has no number for its blocks")
    student = of_lowest(backbone, n_blocks, shorter(n_blocks))
    device = next(backbone.net.parameters()).device
    inputs = {name: x.to(device) for name, x in blank(processor).items()}
    paths = [path for part in main_chain(backbone).parts[n_blocks + 1 : -1] for path in part]
    with skipped(backbone.net, paths):
        expected = evaluated(backbone.net, lambda: backbone(inputs)).pooled
    found = evaluated(student.net, lambda: student(inputs)).pooled
    if not torch.allclose(found, expected, atol=1e-4, rtol=1e-4):
        raise cannot_end(backbone, n_blocks, "its blocks do more than follow each other")
    return student


@contextmanager
def skipped(net: nn.Module, paths: list[str]) -> Iterator[None]:
    """Let modules put out what they are given, inside the context."""

    def hook(_module: nn.Module, args: tuple, kwargs: dict[str, Any], output: Any) -> Any:
        given = args[0] if args else next(iter(kwargs.values()))
        if first_tensor(output) is output:
            return given
        return (given, *output[1:])

    hooks = [net.get_submodule(p).register_forward_hook(hook, with_kwargs=True) for p in paths]
    try:
        yield
    finally:
        for each in hooks:
            each.remove()
