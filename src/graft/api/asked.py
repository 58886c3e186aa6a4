"""From a verb's keywords to what is asked: a recipe, and what only Python can declare.

What goes on is asked again, and must be asked the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graft.backbones.backbone import Backbone
from graft.data.faults import shorten
from graft.errors import RecipeError
from graft.methods.plan import Plan
from graft.recipe import CUSTOM, NO_RESULT, Recipe, read_recipe
from graft.recipe_plan import with_own_options


@dataclass(frozen=True)
class Asked:
    """What a verb was asked to do.

    Args:
        recipe: everything that can be written down.
        backbone: a network declared in Python, instead of the one that the recipe names.
        plan: a plan made in Python, instead of the method that the recipe names.
        notes: on what of a recipe's file does not count.
    """

    recipe: Recipe
    backbone: Backbone | None = None
    plan: Plan | None = None
    notes: tuple[str, ...] = ()


def asked_for(
    data: str | Path | None,
    model: str | Path | Backbone | None,
    recipe: str | Path | None,
    options: Mapping[str, Any],
) -> Asked:
    """Join keywords over a YAML file.

    A method among the keywords leaves out what the file says for the method of its own.

    Raises:
        RecipeError: a key is unknown, a value is wrong, or no data is named.
    """
    values = dict(options)
    plan = values.get("method")
    if isinstance(plan, Plan):
        values |= {"method": CUSTOM, "plan": repr(plan)}
    else:
        plan = None
    backbone = None if model is None or isinstance(model, str | Path) else model
    name = model if backbone is None else backbone.origin.name
    values |= {
        "data": None if data is None else str(data),
        "model": None if name is None else str(name),
    }
    asked = read_recipe(values, recipe)
    if not asked.data:
        raise RecipeError("no data is named: give a file or folder, or a recipe that holds `data`")
    notes: tuple[str, ...] = ()
    if plan is None and values.get("method") is not None:
        file, written = asked.written
        asked, odd = with_own_options(asked, written)
        if odd:
            notes = (f"{file}: method {asked.method} has no {', '.join(odd)}, which is left out",)
    return Asked(asked, backbone, plan, notes)


def refuse_other_settings(asked: Recipe, path: Path, what: str) -> Recipe:
    """Refuse to go on with what was asked to do something else.

    Args:
        path: of its recipe.
        what: it is, as the message calls it.

    Returns:
        What is asked, with what was measured when the run began.

    Raises:
        RecipeError: a setting that changes the result differs.
    """
    before = read_recipe({}, path)
    resolved = asked.model_copy(
        update={
            "model": asked.model or before.model,
            "threads": asked.threads or before.threads,
            "precision": before.precision if asked.precision == "auto" else asked.precision,
            "method": before.method if asked.method == "auto" else asked.method,
        }
    )
    if asked.method == "auto":
        resolved, _ = with_own_options(resolved)
    if resolved.digest() == before.digest():
        return resolved
    was, now = before.model_dump(), resolved.model_dump()
    odd = [f"{k} was {was[k]}, is {now[k]}" for k in was if was[k] != now[k] and k not in NO_RESULT]
    shown = ", ".join(shorten(change, 40) for change in odd[:2])
    shown += f" and {len(odd) - 2} more" if len(odd) > 2 else ""
    raise RecipeError(
        f"{path.parent}: is a {what} with other settings ({shown}); "
        "leave them out to resume it, or choose another --out"
    )
