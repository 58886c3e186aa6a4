"""The task that a recipe and labelled rows ask for: classes, labels or numbers."""

from __future__ import annotations

from collections import Counter

from graft.data.split import Splits
from graft.data.table import Table
from graft.errors import InputError
from graft.recipe import Recipe
from graft.tasks.classify import Classify, balanced_weights
from graft.tasks.labelled import Labelled
from graft.tasks.multilabel import Multilabel
from graft.tasks.regress import Regress


def refuse_options_of_classes(recipe: Recipe, table: Table) -> None:
    """Refuse what only has a meaning where each row has one class.

    Raises:
        InputError: such an option is set.
    """
    if table.target_kind == "single":
        return
    kind = "numbers" if table.target_kind == "number" else "several labels a row"
    given = ["--class-weights"] if recipe.class_weights else []
    if table.target_kind == "number":
        given += ["--label-smoothing"] * bool(recipe.label_smoothing)
        given += ["--focal"] * (recipe.focal is not None)
    if given:
        raise InputError(
            f"{recipe.data}: column `{table.roles.label}` holds {kind}, for which {given[0]} has "
            "no meaning; leave it out, or pass --target-kind single if they are classes"
        )


def labelled_task(recipe: Recipe, table: Table, splits: Splits) -> Labelled:
    """Return the task that the table's targets ask for, as seen from its training rows."""
    if table.target_kind == "number":
        numbers = table.numbers()
        assert numbers is not None and table.roles.label is not None
        trained = numbers[splits.train]
        std = float(trained.std()) or 1.0
        return Regress((table.roles.label,), recipe.head, float(trained.mean()), std)
    lists = table.label_lists()
    assert lists is not None
    counts = Counter(label for row in splits.train for label in lists[row] or ())
    classes = tuple(sorted(counts))
    if table.target_kind == "multi":
        return Multilabel(classes, recipe.head, recipe.label_smoothing, focal=recipe.focal)
    weights = None
    if recipe.class_weights == "balanced":
        by_name = balanced_weights(counts)
        weights = tuple(by_name[c] for c in classes)
    return Classify(classes, recipe.head, weights, recipe.label_smoothing, focal=recipe.focal)
