"""The embedding task that a recipe and its data ask for."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
from torch import nn

from graft.data.split import Splits
from graft.data.table import Table
from graft.data.tuples import holds_relevance, relevant_of
from graft.engine.groups import locate
from graft.errors import InputError
from graft.methods.plan import Phase, Plan
from graft.recipe import Recipe
from graft.tasks.aims import DEFAULTS, KINDS, Kind, find_aim, kinds_of
from graft.tasks.embed import N_PER_CLASS, Embed
from graft.wording import flag

OBJECTIVE_OPTIONS = (
    *("margin", "temperature", "mining", "distance", "scale", "symmetric", "guard"),
    "center_weight",
)
"""Settings of objectives, by the names that they have there."""

COMPARING = ("info_nce", "n_pair", "cosent")
"""Objectives of pairs that compare each with the others of its batch, and learn nothing of one."""

OPTIONS = (*OBJECTIVE_OPTIONS, "objective", "learn_temperature", "items_per_class", "dims", "mine")
"""Fields of a recipe that only embeddings have."""


def without_options_of_labels(recipe: Recipe, table: Table) -> Recipe:
    """Refuse what has no meaning for embeddings; return the recipe with the head that they have.

    Raises:
        InputError: such an option is set.
    """
    given = {
        "--class-weights": recipe.class_weights,
        "--label-smoothing": recipe.label_smoothing,
        "--focal": recipe.focal,
        "--at": recipe.at,
        "--method auto": recipe.method == "auto",
    }
    odd = [name for name, value in given.items() if value]
    if odd:
        raise InputError(f"{odd[0]} has no meaning for embeddings; leave it out")
    if recipe.augment is not None and len(table.roles.inputs) > 1:
        raise InputError("--augment varies labelled pictures, and not those of pairs; leave it out")
    takes_pairs = kind_of(table, recipe.objective) == "pairs" and recipe.objective in (
        None,
        "info_nce",
    )
    if recipe.mine is not None and not takes_pairs:
        raise InputError("--mine goes with pairs and the objective info_nce alone; leave it out")
    head = "pooled" if recipe.head == "linear" else recipe.head
    return recipe.model_copy(update={"head": head})


def refuse_options_of_embeddings(recipe: Recipe) -> None:
    """Refuse what only has a meaning for embeddings.

    Raises:
        InputError: such an option is set.
    """
    odd = [name for name in OPTIONS if _is_set(recipe, name)]
    if odd:
        raise InputError(f"{flag(odd[0])} is for embeddings; add --task embed, or leave it out")


def _is_set(recipe: Recipe, name: str) -> bool:
    value = getattr(recipe, name)
    return value is not None and value is not False  # 0 is a setting, and equals False


def embed_task(recipe: Recipe, table: Table, splits: Splits) -> Embed:
    """Return the embedding task that the table's examples ask for.

    Raises:
        InputError: the objective takes other examples, or too few classes can be told apart.
    """
    kind, classes, n_classes = kind_of(table, recipe.objective), (), 0
    objective = recipe.objective or DEFAULTS[kind]
    _refuse_options_of_others(recipe, kind, objective)
    if kind == "labels":
        labels = table.labels() or []
        trained = sorted({labels[i] for i in splits.train.tolist()} - {""})
        rest = sorted({label for label in labels if label} - set(trained))
        classes, n_classes = (*trained, *rest), len(trained)
        if n_classes < 2:
            raise InputError(
                f"{recipe.data}: the training rows hold one class, and nothing to lie far from; "
                "add rows of another, or pass pairs"
            )
        n_items = Counter(labels[i] for i in splits.train.tolist())
        if not find_aim(objective, kind).knows_classes and max(n_items.values()) < 2:
            raise InputError(
                f"{recipe.data}: no class has two training rows, so no two items belong together; "
                "add rows of the same class, pass pairs, or choose --objective proxy_nca"
            )
    settings = {name: getattr(recipe, name) for name in OBJECTIVE_OPTIONS if _is_set(recipe, name)}
    return Embed(
        classes,
        recipe.head,
        kind=kind,
        objective=objective,
        options=settings,
        n_classes=n_classes,
        n_per_class=recipe.items_per_class or N_PER_CLASS,
        learns_temperature=recipe.learn_temperature,
        dims=widths(recipe.dims),
        score_span=_span(table, splits) if kind == "scores" else (0.0, 1.0),
        by_relevance=kind == "pairs" and holds_relevance(table.roles),
    )


def _refuse_options_of_others(recipe: Recipe, kind: Kind, objective: str) -> None:
    """Refuse what has no meaning for such examples.

    Raises:
        InputError: such an option is set.
    """
    given = {"--items-per-class": recipe.items_per_class, "--mining": recipe.mining}
    odd = [name for name, value in given.items() if value is not None]
    if kind != "labels" and odd:
        raise InputError(
            f"{odd[0]} is for {KINDS['labels']}, and the data holds {KINDS[kind]}; leave it out"
        )
    has_negatives = kind == "triplets" or recipe.mine is not None
    if recipe.batch_size == 1 and objective in COMPARING and not has_negatives:
        raise InputError(
            f"objective `{objective}` compares a pair with the others of its batch, and "
            "--batch-size 1 leaves none; raise it, to 32 for instance"
        )


def widths(spec: str | None) -> tuple[int, ...]:
    """Return the widths of `--dims 64,128,256`.

    Raises:
        InputError: they are not written so.
    """
    parts = [] if spec is None else spec.split(",")
    if not all(part.strip().isdecimal() and int(part) for part in parts):
        raise InputError(f"--dims {spec}: write widths with commas between, such as 64,128,256")
    return tuple(sorted(int(part) for part in parts))


def _span(table: Table, splits: Splits) -> tuple[float, float]:
    numbers = table.numbers()
    assert numbers is not None
    trained = numbers[splits.train]
    low, high = float(trained.min()), float(trained.max())
    if low == high:
        raise InputError(
            f"{table.name_of_source}: every training pair has the score {low:g}, and nothing tells "
            "alike from unlike; add pairs with other scores, or leave out --objective"
        )
    return low, high


def rows_that_count(recipe: Recipe, table: Table, splits: Splits) -> Splits:
    """Return the splits without judgements that a document is not relevant, where it is searched.

    Every document of a part that is not marked as relevant to a query is not relevant to it.
    """
    if not is_searched(table, recipe.objective):
        return splits
    return dataclasses.replace(
        splits,
        train=relevant_of(table, splits.train),
        validation=relevant_of(table, splits.validation),
        test=relevant_of(table, splits.test),
    )


def is_searched(table: Table, objective: str | None) -> bool:
    """Return whether judgements of relevance are searched for, and not taken as scores."""
    return holds_relevance(table.roles) and (
        objective is None or "pairs" in kinds_of(objective) or not kinds_of(objective)
    )


def judged(task: Embed, table: Table, objective: str | None) -> Embed:
    """Return an embedding task for what a table that is evaluated holds.

    Args:
        objective: that the run was trained by, where that is known.
    """
    kind = kind_of(table, objective)
    by_relevance = kind == "pairs" and is_searched(table, objective)
    return dataclasses.replace(
        task, kind=kind, objective=DEFAULTS[kind], options={}, by_relevance=by_relevance
    )


def kind_of(table: Table, objective: str | None = None) -> Kind:
    """Return what an example of a table is to an embedding.

    Relevance is searched for, unless the objective that is asked for takes it as a score.
    """
    n_roles = len(table.roles.inputs)
    if n_roles == 1:
        return "labels"
    if n_roles > 2:
        return "triplets"
    numbers = table.numbers()
    if numbers is None or is_searched(table, objective):
        return "pairs"
    return "binary" if np.isin(numbers, (0.0, 1.0)).all() else "scores"


def without_idle_phases(
    plan: Plan, model: nn.Module, state: nn.Module | None
) -> tuple[Plan, tuple[str, ...]]:
    """Return a plan without the phases that would train nothing, and a note on each.

    The head of an embedding may have no parameter, so a phase for the head alone has nothing to do.
    """
    located = locate(model, state)

    def works(phase: Phase) -> bool:
        firsts = [next((r for r in phase.rules if r.where(m.place)), None) for m in located]
        return any(rule is None or rule.lr for rule in firsts)

    kept = tuple(phase for phase in plan.phases if works(phase))
    if not kept or len(kept) == len(plan.phases):
        return plan, ()
    idle = [phase.name for phase in plan.phases if phase not in kept]
    notes = tuple(f"phase `{name}` is left out: the head has nothing to train" for name in idle)
    return dataclasses.replace(plan, phases=kept), notes
