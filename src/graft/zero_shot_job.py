"""A classifier of pictures that begins at the names of its classes: `--init-head zero-shot`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from graft.backbones import shown
from graft.backbones.backbone import Backbone
from graft.backbones.pair import BackbonePair, folder_of_both, open_pair
from graft.data.split import Splits
from graft.data.table import Table
from graft.errors import InputError
from graft.heads import Projection, ZeroShot
from graft.model import Model, Towers
from graft.prompts import TEMPLATES, ensembled, image_vectors, prompt_vectors, wordings_of
from graft.prompts import write_zero_shot as write_into
from graft.recipe import Recipe
from graft.records import Wording
from graft.tasks.classify import Classify
from graft.tasks.match import Match


@dataclass(frozen=True, eq=False)
class Names:
    """Hold the towers that a head begins from.

    Args:
        pair: as they were opened.
        towers: the same as one model.
        templates: wordings of the prompts.
    """

    pair: BackbonePair
    towers: Towers
    templates: tuple[str, ...]

    @property
    def head(self) -> str:
        """Return the head that can hold the class vectors, as `graft.heads.head` takes it."""
        is_projected = isinstance(self.towers.image_head, Projection)
        return f"zero-shot:{self.towers.width}" if is_projected else "zero-shot"


def names_of(recipe: Recipe, table: Table) -> Names | None:
    """Open the towers where the head shall begin at the names of the classes; None where not.

    Raises:
        InputError: the data has no classes of pictures, or the model holds no two towers.
    """
    if not recipe.begins_at_names:
        if recipe.template:
            raise InputError("--template needs --init-head zero-shot; leave it out, or add that")
        return None
    what = "--init-head zero-shot" if recipe.init_head else f"method `{recipe.method}`"
    is_fit = table.roles.modality == "image" and table.roles.target == "single"
    if not is_fit or recipe.task is not None or recipe.head != "linear":
        raise InputError(
            f"{what} is for classes of pictures, with no other head; `{recipe.data}` holds "
            f"{table.roles.modality}"
        )
    model = recipe.place("model")
    if model is None or folder_of_both(model) is None:
        raise InputError(
            f"{what} needs a --model of two towers: a run on pictures with captions, or a folder "
            "of CLIP's family"
        )
    pair = open_pair(model)
    towers, _ = Match().build(pair)
    return Names(pair, towers.eval(), tuple(recipe.template or TEMPLATES))


def begin_at_names(
    names: Names, model: Model, task: Classify, table: Table, splits: Splits
) -> tuple[tuple[Wording, ...], str]:
    """Write the vectors of the class names into a model's head; return what they are worth.

    Returns:
        Accuracy by wording, on validation rows or else training rows, and a note on their spread.
    """
    prompts = prompt_vectors(names.towers, task.classes, names.templates)
    assert isinstance(model.head, ZeroShot)
    write_into(model.head, names.towers, ensembled(prompts))
    part = "validation" if len(splits.validation) else "training"
    rows = splits.validation if len(splits.validation) else splits.train
    held = table.take(rows)
    number = {name: i for i, name in enumerate(task.classes)}
    labels = np.asarray([number.get(x, -1) for x in held.labels() or []], np.int64)
    found = wordings_of(image_vectors(names.towers, held), labels, prompts, names.templates)
    return found, spread_of(found, f"{len(rows):,} {part} rows")


def spread_of(found: tuple[Wording, ...], where: str) -> str:
    """Return a note on how far the wordings of a prompt lie apart.

    >>> found = Wording("a {}.", 0.5), Wording("one {}", 0.7), Wording("all together", 0.75)
    >>> spread_of(found, "40 rows").partition("; ")[2]
    'single wordings 0.500 (a {}.) to 0.700 (one {})'
    """
    note = f"the head begins at the class names, accuracy {found[-1].accuracy:.3f} on {where}"
    if len(found) == 1:
        return note
    single = sorted(found[:-1], key=lambda w: w.accuracy)
    low, high = single[0], single[-1]
    return (
        f"{note}; single wordings {low.accuracy:.3f} ({low.template}) to {high.accuracy:.3f} "
        f"({high.template})"
    )


def tower_for(name: str | Path, table: Table) -> Backbone | None:
    """Return the tower that serves a table, where a name means two of them; else None.

    Raises:
        InputError: that tower has no form in which its library saves it alone.
    """
    if folder_of_both(name) is None:
        return None
    tower: Backbone = getattr(open_pair(name), table.roles.modality)
    if tower.origin.save is None:
        raise InputError(
            f"{shown(name)}: its tower of {table.roles.modality}s cannot be saved alone; choose "
            "another --model"
        )
    return tower
