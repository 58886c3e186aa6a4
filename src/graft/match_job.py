"""The image–text task that a recipe asks for: which towers, which locks, which settings."""

from __future__ import annotations

import dataclasses
from typing import Any

from graft.backbones.pair import SIDES, BackbonePair, folder_of_both, open_pair
from graft.data.captions import IMAGE_TEXT
from graft.data.table import Table
from graft.errors import InputError
from graft.heads import Pooled
from graft.methods.plan import Convex, Gradient, Plan, Rule
from graft.methods.select import tower
from graft.recipe import Recipe
from graft.recipe_plan import build_plan
from graft.tasks.match import NEW_HEAD, OWN, Match
from graft.wording import flag

BATCH_SIZE = 128
"""Pairs of a step unless said: what a picture is told from are the other pictures of its batch."""
PROJECTION_EPOCHS, PATIENCE = 20, 3
"""Of projections on frozen towers; a few hundred pictures are known by heart within ten epochs."""
OPTIONS = ("text_model", "lock")
"""Fields of a recipe that only two towers have."""


def matches(table: Table) -> bool:
    """Return whether a table holds pictures with captions."""
    return table.roles.modality == IMAGE_TEXT


def refuse_options_of_towers(recipe: Recipe) -> None:
    """Refuse what only has a meaning for pictures with captions.

    Raises:
        InputError: such an option is set.
    """
    odd = [name for name in OPTIONS if getattr(recipe, name) is not None]
    if odd:
        raise InputError(f"{flag(odd[0])} is for pictures with captions; leave it out")


def refuse_options_without_meaning(recipe: Recipe) -> None:
    """Refuse what has no meaning for pictures with captions.

    Raises:
        InputError: such an option is set, or batches hold one pair.
    """
    given: dict[str, Any] = {
        "--task embed": recipe.task == "embed",
        "--objective": recipe.objective,
        "--margin": recipe.margin,
        "--mining": recipe.mining,
        "--scale": recipe.scale,
        "--distance": recipe.distance,
        "--guard": recipe.guard,
        "--center-weight": recipe.center_weight,
        "--dims": recipe.dims,
        "--mine": recipe.mine,
        "--items-per-class": recipe.items_per_class,
        "--augment": recipe.augment,
        "--channels": recipe.channels,
        "--teacher": recipe.teacher,
        "--remember": recipe.remember,
    }
    odd = [name for name, value in given.items() if value is not None and value is not False]
    if odd:
        raise InputError(f"{odd[0]} has no meaning for pictures with captions; leave it out")
    if recipe.batch_size == 1:
        raise InputError(
            "a picture is told from the others of its batch, and --batch-size 1 leaves none; raise "
            "it, or leave it out"
        )


def pair_of(recipe: Recipe) -> BackbonePair:
    """Open the towers that a recipe names.

    Raises:
        InputError: no tower of pictures is named, or a name cannot be opened.
    """
    model = recipe.place("model")
    if model is None:
        raise InputError(
            f"{recipe.data}: pictures with captions need a backbone of pictures; pass --model with "
            "a folder or a name such as timm:mobilenetv3_small_100"
        )
    return open_pair(model, recipe.place("text_model"), random=recipe.method == "scratch")


def match_task(recipe: Recipe, pair: BackbonePair) -> Match:
    """Return the task.

    Raises:
        InputError: the towers have no place for new projections.
    """
    if recipe.head in ("linear", "pooled", OWN):
        return Match(head=OWN, temperature=recipe.temperature)
    if pair.heads is not None and isinstance(pair.heads[0], Pooled):
        raise InputError(
            f"{pair.origin.family} has no projections, so --head {recipe.head} has no place in it; "
            "leave it out"
        )
    return Match(head=recipe.head, temperature=recipe.temperature)


def match_plan(recipe: Recipe, pair: BackbonePair, plan: Plan | None = None) -> Plan:
    """Return the recipe's plan for two towers: a locked one keeps its weights, not its projection.

    Args:
        plan: made in Python, instead of the method that the recipe names; only locked here.

    Raises:
        InputError: the method trains nothing.
    """
    open_chains = [c for c in pair.chains if c.name.partition(".")[0] != recipe.lock]
    made = plan or _with_batches(build_plan(recipe, max(c.n_blocks for c in open_chains)), recipe)
    if not made.phases:
        raise InputError(
            f"method `{recipe.method}` trains nothing, and is judged on classes of pictures; "
            "choose another --method"
        )
    if recipe.lock is None:
        return made
    locked = Rule(tower(recipe.lock), None)
    phases = tuple(dataclasses.replace(p, rules=(locked, *p.rules)) for p in made.phases)
    return dataclasses.replace(made, phases=phases)


def _with_batches(plan: Plan, recipe: Recipe) -> Plan:
    """Return a plan whose phases take as many pairs a step as a contrast needs."""
    phases = []
    for phase in plan.phases:
        by = phase.by
        if isinstance(by, Convex):
            size = recipe.batch_size or BATCH_SIZE
            by = Gradient(
                epochs=PROJECTION_EPOCHS,
                batch_size=size,
                patience=PATIENCE,
            )
        elif recipe.batch_size is None:
            by = dataclasses.replace(by, batch_size=BATCH_SIZE)
        phases.append(dataclasses.replace(phase, by=by))
    return dataclasses.replace(plan, phases=tuple(phases))


__all__ = [
    "NEW_HEAD",
    "SIDES",
    "folder_of_both",
    "match_plan",
    "match_task",
    "matches",
    "pair_of",
    "refuse_options_of_towers",
    "refuse_options_without_meaning",
]
