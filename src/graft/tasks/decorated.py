"""A task around another: what it does not say otherwise is as the task inside says it.

    Distilled ─ task: Classify, Multilabel, Regress, Embed

The engine asks a task for what it *may* have (`convex`, `measure`, `epoch_batches`) by looking
whether it is there, and people read its names, so all of that is looked up inside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn


@dataclass(frozen=True)
class Decorated:
    """Be the task inside, in all that is not defined here."""

    task: Any

    def __getattr__(self, name: str) -> Any:
        if name == "task" or name.startswith("__"):  # asked while the object is being made
            raise AttributeError(name)
        return getattr(self.task, name)

    @property
    def encodes_as(self) -> str:
        """Name the task whose way to encode this is: both read the same feature stores."""
        return type(self.task).__qualname__


class Beside(nn.Module):
    """Hold what a decoration learns beside the model, and what the task inside does.

    Args:
        own: of the task inside, or None.
        added: of the decoration, or None.
    """

    def __init__(self, own: nn.Module | None, added: nn.Module | None) -> None:
        super().__init__()
        self.own, self.added = own, added


def beside(own: nn.Module | None, added: nn.Module | None) -> Beside | None:
    """Return what is kept beside the model, or None where there is nothing."""
    return None if own is None and added is None else Beside(own, added)
