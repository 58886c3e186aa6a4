"""What a sweep looks for follows from the method and from what is set."""

from __future__ import annotations

import pytest

from graft.errors import RecipeError, UnknownName
from graft.methods import METHODS
from graft.recipe import Recipe
from graft.recipe_plan import build_plan
from graft.selection.space import BETWEEN, Range, space_of


def test_a_methods_own_rates_are_looked_for_around_their_defaults():
    found = space_of(Recipe(method="full"))
    assert found.keys() == {"lr", "head_lr", "weight_decay"}
    assert found["lr"] == Range(5e-5 / 20, 5e-5 * 20)
    assert found["weight_decay"] == BETWEEN["weight_decay"]
    assert space_of(Recipe(method="layerwise")).keys() == found.keys() | {"decay"}
    assert space_of(Recipe(method="probe")).keys() == {"l2"}
    assert space_of(Recipe(method="last:2")).keys() == found.keys()


def test_what_is_set_stays_and_what_is_named_is_looked_for_alone():
    assert space_of(Recipe(method="full", lr=1e-3)).keys() == {"head_lr", "weight_decay"}
    assert space_of(Recipe(method="full"), ["weight_decay"]).keys() == {"weight_decay"}


@pytest.mark.parametrize(
    "method", [name for name in METHODS if name not in ("auto", "last", "zero-shot")]
)
def test_every_option_that_is_looked_for_is_one_of_the_method(method):
    for name, bounds in space_of(Recipe(method=method)).items():
        for value in (bounds.low, bounds.high):
            build_plan(Recipe(method=method, **{name: value}), 4)


def test_nothing_to_look_for_is_an_error():
    with pytest.raises(RecipeError, match="leaves no `decay` to look for"):
        space_of(Recipe(method="full"), ["decay"])
    with pytest.raises(RecipeError, match="leaves no rate, decay or l2 open"):
        space_of(Recipe(method="probe", l2=1.0))
    with pytest.raises(UnknownName):
        space_of(Recipe(method="prob"))
