"""The folder of a comparison: what was asked, and going on with it.

`recipe.yaml` holds what all trainings have in common, `compare.yaml` the methods, seeds and budget,
`progress.json` the hash of the data and which methods were left out; each training has a folder of
its own beside them. `compare.json` is there when all is done.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from graft.api.asked import refuse_other_settings
from graft.api.training import RECIPE
from graft.errors import InputError, RecipeError
from graft.recipe import Recipe
from graft.recipe_plan import build_plan
from graft.run_folder import write_recipe
from graft.serial import from_json, to_json
from graft.storage import storing, write_text

ASKED, PROGRESS = "compare.yaml", "progress.json"
MEND = "choose another --out"
ALL = (
    *("probe", "lp-ft", "head", "last:2", "layerwise", "unfreeze", "full"),
    *("bottleneck", "residual", "lora", "bias", "norms", "zero-shot", "scratch"),
)
"""Methods that are compared unless some are named; those that do not fit a network are left out."""


@dataclass(frozen=True)
class Question:
    """Say what a comparison beside its recipe was asked; None where nothing was said.

    Args:
        methods: names in the order in which they are trained.
        seeds: how many times each is trained.
        budget: seconds that each training may take.
    """

    methods: tuple[str, ...] | None = None
    seeds: int | None = None
    budget: float | None = None

    @classmethod
    def of(cls, methods: str | Sequence[str], seeds: int | None, budget: float | None) -> Question:
        """Read what a caller passed.

        Raises:
            InputError: a method is unknown, or there are no seeds.
        """
        names = methods.split(",") if isinstance(methods, str) else list(methods)
        names = list(dict.fromkeys(name.strip() for name in names if name.strip()))
        for name in names:
            build_plan(Recipe(method=name), 1_000)  # an unknown one is named, with the closest
        if "auto" in names:
            raise InputError("auto chooses one of the others; leave it out of --methods")
        if seeds is not None and seeds < 1:
            raise InputError(f"--seeds {seeds}: give 1 or more")
        return cls(tuple(names) or None, seeds, budget)

    def over(self, before: Question) -> Question:
        """Return this with what was not said taken from another."""
        return Question(
            self.methods or before.methods, self.seeds or before.seeds, self.budget or before.budget
        )


UNLESS_GIVEN = Question(ALL, 1)


def goes_on(out: str | Path | None, *, resume: bool, is_named: bool) -> bool:
    """Return whether a folder holds a comparison that is to go on.

    Args:
        is_named: data or a recipe are given, so that one could begin.

    Raises:
        InputError: it holds one that is not to go on, or other files, or none can begin there.
    """
    if out is None:
        if resume:
            raise InputError("--resume goes on with the comparison in --out; name its folder")
        return False
    folder = Path(out)
    if (folder / ASKED).is_file():
        if not resume:
            raise InputError(f"{folder}: holds a comparison; pass --resume or another --out")
        return True
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; {MEND}")
    names = {path.name for path in folder.iterdir()} if folder.exists() else set()
    if "record.json" in names:
        raise InputError(f"{folder}: is a run of one training; {MEND}")
    if names - {RECIPE, f".{RECIPE}.tmp"}:  # which a comparison writes first
        raise InputError(f"{folder}: holds other files; {MEND}")
    if resume and not is_named:
        raise InputError(
            f"{folder}: holds no comparison to resume; correct --out, or name the data"
        )
    return False


def begin(folder: Path, recipe: Recipe, question: Question) -> None:
    """Make the folder of a comparison and write down what it was asked.

    Raises:
        StorageError: it cannot be made or written.
    """
    with storing("the comparison", folder, MEND):
        folder.mkdir(parents=True, exist_ok=True)
        write_recipe(folder / RECIPE, recipe.model_dump(mode="json"))
        # last: where this lies the comparison has begun
        told = {"methods": list(question.methods or ()), "seeds": question.seeds}
        write_recipe(folder / ASKED, {**told, "budget": question.budget})


def resumed(folder: Path, recipe: Recipe, question: Question) -> tuple[Recipe, Question]:
    """Return what a comparison that goes on was asked.

    Args:
        recipe: what is asked now, over the recipe in the folder.
        question: what is asked now.

    Raises:
        RecipeError: it was asked something else when it began.
    """
    import yaml

    read = yaml.safe_load((folder / ASKED).read_text(encoding="utf-8"))
    before = Question(tuple(read["methods"]), read["seeds"], read.get("budget"))
    asked = question.over(before)
    odd = [
        f"{name} was {json.dumps(was)}, is {json.dumps(now)}"
        for name, was, now in (
            ("methods", before.methods, asked.methods),
            ("seeds", before.seeds, asked.seeds),
            ("budget", before.budget, asked.budget),
        )
        if was != now
    ]
    if odd:
        raise RecipeError(
            f"{folder}: is a comparison of other settings ({odd[0]}); leave them as they were, or "
            f"{MEND}"
        )
    return refuse_other_settings(recipe, folder / RECIPE, "comparison"), asked


@dataclass(frozen=True)
class Progress:
    """Hold what a comparison that goes on must know of its beginning.

    Args:
        data_hash: of its examples.
        left_out: method → why it has no result; a measured time would not be measured alike again.
    """

    data_hash: str
    left_out: dict[str, str]

    @classmethod
    def of(cls, folder: Path, data_hash: str) -> Progress:
        """Read it, or begin it.

        Raises:
            InputError: the data have changed since.
        """
        path = folder / PROGRESS
        if not path.is_file():
            made = cls(data_hash, {})
            made.keep(folder)
            return made
        known = from_json(cls, path.read_text(encoding="utf-8"))
        if known.data_hash != data_hash:
            raise InputError(
                f"{folder}: its data have changed since it began, so its trainings cannot be "
                f"compared; restore them, or {MEND}"
            )
        return known

    def keep(self, folder: Path) -> None:
        """Write it down."""
        write_text(folder / PROGRESS, to_json(self), mend=MEND)
