"""How long a method by gradient trains, unless told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graft.methods.plan import Gradient


def gradient(
    epochs: int | None, options: Mapping[str, Any], *, default: int = 3, min_steps: int = 100
) -> Gradient:
    """Return the settings of a phase; epochs that are given are kept, the default makes enough."""
    if epochs is not None:
        return Gradient(epochs=epochs, **options)
    settings: dict[str, Any] = {"epochs": default, "min_steps": min_steps, **options}
    return Gradient(**settings)
