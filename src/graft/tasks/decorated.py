"""A task around another: what it does not say otherwise is as the task inside says it.

    Distilled ─ task: Classify, Multilabel, Regress, Embed

The engine asks a task for what it *may* have (`convex`, `measure`, `epoch_batches`) by looking
whether it is there, and people read its names, so all of that is looked up inside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


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
