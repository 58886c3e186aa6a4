"""Tasks: what is predicted, and what a step of training consumes and minimises."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from graft.errors import UnknownName

TASKS: dict[str, tuple[str, str]] = {
    "classify": ("graft.tasks.classify:Classify", "one label of several for each example"),
    "multilabel": (
        "graft.tasks.multilabel:Multilabel",
        "any number of several labels for each example",
    ),
    "regress": ("graft.tasks.regress:Regress", "a number for each example"),
    "embed": (
        "graft.tasks.embed:Embed",
        "a vector for each example, near those of what belongs together",
    ),
    "match": (
        "graft.tasks.match:Match",
        "vectors of pictures and texts in one space, near those of their captions",
    ),
}
"""name → (where the class is, one-line summary)."""

METRICS_OF = {
    "classify": "classification",
    "multilabel": "multilabel",
    "regress": "regression",
    "embed": "embedding",
    "match": "matching",
}
"""name → its row of the metrics, as the class says too: this one is read without torch."""


def find_task(name: str) -> Any:
    """Return the class of a task.

    Raises:
        UnknownName: there is no such task.
    """
    if name not in TASKS:
        raise UnknownName("task", name, TASKS)
    module, kind = TASKS[name][0].split(":")
    return getattr(import_module(module), kind)
