"""What a run was allowed to read: its model reads new data under the same limits.

They stand in the run's recipe, which lies beside `model/`, and not in the model's folder: that may
come from anybody, and nobody else may lift the limits here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from graft.data.images import MAX_PIXELS
from graft.errors import RecipeError
from graft.recipe import read_recipe

RECIPE, RECORD = "recipe.yaml", "record.json"
"""What only the folder of a run has beside each other."""


@dataclass(frozen=True)
class RunLimits:
    """Say which pictures are read.

    Args:
        max_pixels: of the largest.
        follow_links: also those whose file is a link that leads out of the data.
    """

    max_pixels: int = MAX_PIXELS
    follow_links: bool = False


def limits_of(folder: str | Path) -> RunLimits:
    """Return the limits of a run; the usual ones where there is no recipe of a run.

    Args:
        folder: of the run, or its `model/`.
    """
    for place in (Path(folder), Path(folder).absolute().parent):
        if (place / RECIPE).is_file() and (place / RECORD).is_file():
            try:
                recipe = read_recipe({}, place / RECIPE)
            except RecipeError:  # of another version; predicting does not need it
                break
            return RunLimits(recipe.max_pixels, recipe.follow_links)
    return RunLimits()
