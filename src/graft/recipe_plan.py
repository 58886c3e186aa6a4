"""From a recipe to the plan of its method: which options a method has, and which are set."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Sequence, Set
from importlib import import_module
from typing import Any

from graft.errors import RecipeError, UnknownName
from graft.methods import METHODS
from graft.methods.plan import Gradient, Plan
from graft.recipe import CUSTOM, Recipe
from graft.wording import flag

GRADIENT_OPTIONS = set(inspect.signature(Gradient).parameters)
NUMBERED = ("n", "rank", "size")
"""What the number after a method's colon may be."""
OPTIONS = (
    "epochs",
    "lr",
    "head_lr",
    "weight_decay",
    "l2_sp",
    "decay",
    "l2",
    "size",
    "rank",
    "alpha",
    "placement",
    "batch_size",
    "micro_batch_size",
    "schedule",
    "warmup",
    "clip",
    "patience",
    "ema",
)


def build_plan(recipe: Recipe, n_blocks: int) -> Plan:
    """Call the recipe's method with the options that the recipe sets.

    Raises:
        UnknownName: no such method.
        RecipeError: an option is set that the method does not have.
    """
    if recipe.method == CUSTOM:
        raise RecipeError("the run was made with a plan of its own: pass the same Plan as `method`")
    _, colon, number = recipe.method.partition(":")
    method, known = _method(recipe.method)
    asked = _set_options(recipe)
    if colon:
        meant = next((name for name in NUMBERED if name in known), None)
        if meant is None or not number.isdecimal() or int(number) < 1:
            raise RecipeError(
                f"method `{recipe.method}`: write `last:2` for the top two blocks, `lora:4` for "
                "rank 4, or `bottleneck:32` for 32 units"
            )
        if asked.get(meant, int(number)) != int(number):
            other = f"{_flags([meant])} {asked[meant]}"
            raise RecipeError(f"method `{recipe.method}` and {other}: leave out one of both")
        asked[meant] = int(number)
    _refuse_foreign(recipe, asked.keys() - known)
    return method(n_blocks, **asked)


def with_own_options(
    recipe: Recipe, among: Collection[str] = OPTIONS
) -> tuple[Recipe, tuple[str, ...]]:
    """Return the recipe without the options that its method does not have, and their flags.

    Args:
        recipe: what is asked.
        among: the options that may be left out.

    Raises:
        UnknownName: no such method.
    """
    odd = sorted((_set_options(recipe).keys() - _method(recipe.method)[1]) & set(among))
    return recipe.model_copy(update=dict.fromkeys(odd)), tuple(_flags([o]) for o in odd)


def _refuse_foreign(recipe: Recipe, odd: Set[str]) -> None:
    """Raise where options are set that the method does not have, those of the file by its name."""
    file, written = recipe.written
    faults = []
    if flags := sorted(odd - written):
        faults.append(f"method `{recipe.method}` has no {_flags(flags)}; leave it out")
    if keys := sorted(odd & written):
        shown = ", ".join(f"`{key}`" for key in keys)
        faults.append(f"{file}: method `{recipe.method}` has no {shown}; take it out of the recipe")
    if faults:
        raise RecipeError("\n".join(faults))


def defaults_of(spec: str) -> dict[str, Any]:
    """Return the options that a method itself declares, each with its default.

    Raises:
        UnknownName: no such method.
    """
    parameters = inspect.signature(_method(spec)[0]).parameters
    return {name: p.default for name, p in parameters.items() if name in OPTIONS}


def _method(spec: str) -> tuple[Callable[..., Plan], set[str]]:
    """Return the function of a method, and the options that it takes."""
    base = spec.partition(":")[0]
    if base not in METHODS:
        raise UnknownName("method", spec, METHODS)
    module, name = METHODS[base][0].split(":")
    method = getattr(import_module(module), name)
    takes = set(inspect.signature(method).parameters)
    return method, takes | (GRADIENT_OPTIONS if "options" in takes else set())


def _set_options(recipe: Recipe) -> dict[str, Any]:
    return {k: getattr(recipe, k) for k in OPTIONS if getattr(recipe, k) is not None}


def _flags(options: Sequence[str]) -> str:
    return ", ".join(map(flag, options))
