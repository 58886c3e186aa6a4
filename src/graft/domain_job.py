"""What a recipe asks of a second domain: its rows, and the task and plan that see them.

recipe ─read_target→ Target         rows without labels, with a split of their own
task, plan ─adapted_…→ task, plan   with the target beside
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from torch import nn

from graft.data.split import Splits, split
from graft.data.table import Table
from graft.data.unlabelled import Unlabelled
from graft.engine.precision import trains_backbone
from graft.errors import InputError
from graft.methods.plan import Convex, Phase, Plan
from graft.methods.select import state
from graft.prepare import read_beside
from graft.recipe import Recipe
from graft.tasks.adapted import Adapted
from graft.tasks.classify import Classify
from graft.tasks.labelled import Labelled
from graft.wording import counted

FEWEST_ROWS = 3
CLASSIFIER_LR = 1e-3
"""Rate of the domain classifier, which begins at random whatever the head begins at."""


@dataclass(frozen=True, eq=False)
class Target:
    """Hold the rows of the domain that is adapted to.

    Args:
        read: N rows whose labels, if there are any, no role names.
        splits: which of them train, validate and test; drawn without a look at labels.
        n_of_source: rows that are rows of the source, too.
    """

    read: Unlabelled
    splits: Splits
    n_of_source: int = 0

    @property
    def table(self) -> Table:
        """Return the rows, without labels."""
        return self.read.table

    @property
    def note(self) -> str:
        """Say what was read, and how it was split."""
        told = f"target {self.read.note}; split {self.splits.how}"
        if not self.n_of_source:
            return told
        return f"{told}; {self.n_of_source:,} of them are rows of the source, too"


def refuse_target(recipe: Recipe, table: Table) -> None:
    """Refuse a target that the recipe has no use for, and its options where there is none.

    Raises:
        InputError: as said.
    """
    if recipe.target is None:
        odd = "--adapt" if recipe.adapt else "--adapt-weight" if recipe.adapt_weight else ""
        if odd:
            raise InputError(f"{odd} needs --target, the rows to adapt to; add it or leave it out")
        return
    is_classes = len(table.roles.inputs) == 1 and table.target_kind == "single"
    if not is_classes or recipe.task is not None:
        raise InputError(f"{recipe.data}: --target goes with one class a row alone; leave it out")
    if recipe.adapt == "none":
        return
    if recipe.method == "auto":
        raise InputError(
            "--target needs a method that trains the body, and `auto` may choose another; pass "
            "--method lp-ft or full"
        )


def read_target(recipe: Recipe, table: Table) -> Target | None:
    """Return the rows that a recipe adapts to; None where it adapts to none.

    Args:
        table: the training table, whose roles the rows have.

    Raises:
        InputError: they cannot be used, or are too few.
    """
    place = recipe.place("target")
    if place is None:
        return None
    read = read_beside(recipe, table, place)
    splits = split(read.table, seed=recipe.seed, validation=recipe.validation, test=recipe.test)
    if len(splits.train) < FEWEST_ROWS:
        raise InputError(
            f"{place}: holds {counted(len(read.table), 'row')}, too few to adapt to; add some, or "
            "lower --validation and --test"
        )
    of_source = set(zip(*table.identities(), strict=True))
    n_of_source = sum(row in of_source for row in zip(*read.table.identities(), strict=True))
    return Target(read, splits, n_of_source)


def adapted_task(recipe: Recipe, task: Labelled) -> Adapted:
    """Return the task with the target beside it."""
    assert isinstance(task, Classify)
    return Adapted(task, recipe.adapt or "dann", recipe.adapt_weight or 1.0)


def refuse_frozen_body(recipe: Recipe, plan: Plan, model: nn.Module) -> None:
    """Refuse a plan that moves no feature, and so cannot bring two domains together.

    Raises:
        InputError: no phase trains the body.
    """
    if recipe.adapt != "none" and not trains_backbone(plan, model):
        raise InputError(
            f"method `{recipe.method}` leaves the body frozen: the features of both domains stay "
            "as they are and --target changes nothing; choose lp-ft or full, or leave it out"
        )


def adapted_plan(recipe: Recipe, plan: Plan) -> Plan:
    """Return the plan of a method with a rate of its own for the domain classifier.

    Where a head is solved it has nothing to do yet.
    """
    if recipe.target is None:
        return plan
    rate = recipe.head_lr or CLASSIFIER_LR

    def adapted(phase: Phase) -> Phase:
        lr = None if isinstance(phase.by, Convex) else rate
        rules = (dataclasses.replace(r, lr=lr) if r.where == state() else r for r in phase.rules)
        return dataclasses.replace(phase, rules=tuple(rules))

    return dataclasses.replace(plan, phases=tuple(map(adapted, plan.phases)))
