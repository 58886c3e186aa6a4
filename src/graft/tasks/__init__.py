"""Tasks: what is predicted, and what a step of training consumes and minimises."""

from __future__ import annotations

TASKS: dict[str, tuple[str, str]] = {
    "classify": ("graft.tasks.classify:Classify", "one label of several for each example"),
}
"""name → (where the class is, one-line summary)."""
