"""Features: what a backbone hands to a head.

A record, not a tensor, because heads differ in what they read: a classifier takes `pooled`, a CTC
head `tokens`, a detector `maps`. It is a pytree, so the engine can store it at a frozen boundary
like any other output; fields that the head never reads are never stored.

Shapes: N examples, L tokens (after the network's own downsampling), D width.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor
from torch.utils import _pytree as pytree


@dataclass(frozen=True)
class Features:
    """Hold the outputs of a backbone for a batch.

    Args:
        pooled: (N, D), one vector per example.
        tokens: (N, L, D), one vector per position.
        mask: (N, L), true where `tokens` is no padding.
        maps: feature maps (N, D_i, H_i, W_i), finest first.
    """

    pooled: Tensor | None = None
    tokens: Tensor | None = None
    mask: Tensor | None = None
    maps: tuple[Tensor, ...] = ()


def _flatten(features: Features) -> tuple[list[Any], None]:
    return [getattr(features, f.name) for f in fields(Features)], None


def _unflatten(values: Any, _context: None) -> Features:
    return Features(*values)


pytree.register_pytree_node(
    Features, _flatten, _unflatten, serialized_type_name="graft.features.Features"
)
