"""Fingerprints of weights: equal if, and only if, the bytes are equal."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from graft.engine.processes import whole

_known = WeakIdKeyDictionary()
"""tensor → (its version when it was hashed, hash)"""


def fingerprint(tensors: Iterable[tuple[str, Tensor]]) -> str:
    """Hash names, shapes, dtypes and bytes; unchanged parameters are not read again."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors, key=lambda item: item[0]):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype} ".encode())
        digest.update(_hash(tensor).encode())
    return digest.hexdigest()


def _hash(tensor: Tensor) -> str:
    # torch counts in-place changes of each tensor, but not what batch norm does to its buffers
    is_counted = isinstance(tensor, nn.Parameter)
    known = _known.get(tensor) if is_counted else None
    if known is not None and known[0] == tensor._version:
        return known[1]
    data = whole(tensor.detach()).cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    found = hashlib.sha256(data.data).hexdigest()
    if is_counted:
        _known[tensor] = (tensor._version, found)
    return found
