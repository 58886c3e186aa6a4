"""What a sweep looks for: of each option of a method, between which values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graft.errors import RecipeError
from graft.recipe import Recipe
from graft.recipe_plan import defaults_of


@dataclass(frozen=True)
class Range:
    """Bound an option; `is_log` where its ratios count, not its differences."""

    low: float
    high: float
    is_log: bool = True


AROUND = {"lr": 20.0, "head_lr": 20.0}
"""option → how many times larger or smaller than the method's own it may be."""
BETWEEN = {
    "weight_decay": Range(1e-4, 0.3),
    "decay": Range(0.5, 1.0, is_log=False),
    "l2": Range(1e-6, 10.0),
}
"""option → its bounds, whatever the method."""


def space_of(recipe: Recipe, only: Sequence[str] = ()) -> dict[str, Range]:
    """Return the options of the recipe's method that are looked for, each with its bounds.

    An option that the recipe sets stays as it is.

    Args:
        only: names of the options to look for; all that are left open unless given.

    Raises:
        RecipeError: nothing is left to look for, or the method has no such option, or it is set.
    """
    found = {}
    for name, default in defaults_of(recipe.method).items():
        if getattr(recipe, name) is not None:
            continue
        if name in BETWEEN:
            found[name] = BETWEEN[name]
        elif name in AROUND and isinstance(default, float) and default > 0:
            found[name] = Range(default / AROUND[name], default * AROUND[name])
    odd = [name for name in only if name not in found]
    known = ", ".join(found) or "none"
    if odd:
        raise RecipeError(
            f"method `{recipe.method}` leaves no `{odd[0]}` to look for (open are: {known}); "
            "correct --over"
        )
    if not found:
        raise RecipeError(
            f"method `{recipe.method}` leaves no rate, decay or l2 open; leave some out, or choose "
            "another --method"
        )
    return {name: found[name] for name in only} if only else found
