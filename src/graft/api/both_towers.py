"""What two towers give for pictures and captions together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from graft.engine.predict import predict_rows
from graft.engine.views import items


def is_paired(streams: Mapping[str, Any]) -> bool:
    """Return whether a split feeds two towers."""
    return len(streams) > 1


def vectors_of_both(
    model: Any, task: Any, streams: Mapping[str, Any], n_workers: int | None
) -> np.ndarray:
    """Return the vectors (U + V, E) of a split's different pictures, then of its captions."""
    parts = [
        predict_rows(model, task, items(stream), n_workers=n_workers)[task.output]
        for stream in streams.values()
    ]
    return np.concatenate(parts)


def first_of(streams: Mapping[str, Any]) -> Any:
    """Return the stream that an epoch counts."""
    return next(iter(streams.values()))
