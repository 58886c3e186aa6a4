"""Examples that already lie in memory as arrays, for a network of the user's own."""

from __future__ import annotations

import hashlib

import numpy as np

from graft.backbones.backbone import Backbone
from graft.errors import DataError
from graft.tasks.streams import TableStream


def array_streams(
    values: np.ndarray, labels: np.ndarray, backbone: Backbone
) -> dict[str, TableStream]:
    """Feed arrays to the engine, as `Classify.streams` feeds a table.

    Args:
        values: (N, …) one array per example, as the backbone's processor takes them.
        labels: (N,) class numbers.
        backbone: its processor encodes and collates.

    Returns:
        The one stream of a step, `train`; the same name holds for every split.

    Raises:
        DataError: there are not as many labels as examples, or they are no class numbers.

    >>> from torch import nn
    >>> import graft
    >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8))
    >>> own = graft.backbone(net, blocks="*", width=8)
    >>> len(array_streams(np.zeros((6, 4)), np.arange(6) % 2, own)["train"])
    6
    """
    values, labels = np.asarray(values), np.asarray(labels)
    if labels.shape != (len(values),) or labels.dtype.kind not in "iu":
        raise DataError(
            f"{len(values)} examples came with labels of shape {labels.shape} and type "
            f"{labels.dtype}; pass one whole number per example"
        )
    digest = hashlib.sha256(f"{values.shape} {values.dtype}".encode())
    digest.update(np.ascontiguousarray(values).view(np.uint8).data)
    stream = TableStream(
        values,
        backbone.processor,
        targets={"label": labels.astype(np.int64)},
        key=digest.hexdigest(),
    )
    return {"train": stream}
