"""From a verb's keywords to what is asked: a recipe, and what only Python can declare."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graft.backbones.backbone import Backbone
from graft.errors import RecipeError
from graft.methods.plan import Plan
from graft.recipe import CUSTOM, Recipe, read_recipe


@dataclass(frozen=True)
class Asked:
    """What a verb was asked to do.

    Args:
        recipe: everything that can be written down.
        backbone: a network declared in Python, instead of the one that the recipe names.
        plan: a plan made in Python, instead of the method that the recipe names.
    """

    recipe: Recipe
    backbone: Backbone | None = None
    plan: Plan | None = None


def asked_for(
    data: str | Path | None,
    model: str | Path | Backbone | None,
    recipe: str | Path | None,
    options: Mapping[str, Any],
) -> Asked:
    """Join keywords over a YAML file.

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
    return Asked(asked, backbone, plan)
