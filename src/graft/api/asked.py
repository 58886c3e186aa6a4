"""From a verb's keywords to a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from graft.backbones.backbone import Backbone
from graft.recipe import Recipe, read_recipe


def asked_for(
    data: str | Path,
    model: str | Path | Backbone | None,
    recipe: str | Path | None,
    options: Mapping[str, Any],
) -> tuple[Recipe, Backbone | None]:
    """Return the recipe that keywords over a YAML file ask for, and a backbone that was declared."""
    backbone = None if model is None or isinstance(model, str | Path) else model
    name = model if backbone is None else backbone.origin.name
    values = {"data": str(data), "model": None if name is None else str(name), **options}
    return read_recipe(values, recipe), backbone
