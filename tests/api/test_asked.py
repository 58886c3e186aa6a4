"""Keywords over a recipe: what of the file still counts."""

from __future__ import annotations

import pytest

from graft.api.asked import asked_for
from graft.errors import RecipeError, UnknownName
from graft.recipe_plan import build_plan


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "rec.yaml"
    path.write_text("data: a.csv\nmethod: full\nepochs: 3\nlr: 1e-4\nlabel_smoothing: 0.1\n")
    return path


def test_another_method_leaves_out_what_the_file_says_for_its_own(path):
    asked = asked_for(None, None, path, {"method": "probe"})
    assert (asked.recipe.epochs, asked.recipe.lr, asked.recipe.label_smoothing) == (None, None, 0.1)
    assert asked.notes == ("rec.yaml: method probe has no --epochs, --lr, which is left out",)
    build_plan(asked.recipe, 4)


def test_what_the_other_method_has_is_kept(path):
    asked = asked_for(None, None, path, {"method": "head"})
    assert (asked.recipe.epochs, asked.recipe.lr, asked.notes) == (3, 1e-4, ())


def test_a_flag_is_still_refused(path):
    asked = asked_for(None, None, path, {"method": "probe", "epochs": 2})
    assert asked.notes == ("rec.yaml: method probe has no --lr, which is left out",)
    with pytest.raises(RecipeError, match="method `probe` has no --epochs; leave it out"):
        build_plan(asked.recipe, 4)


def test_without_another_method_the_file_answers_for_itself(path):
    path.write_text("data: a.csv\nmethod: probe\nepochs: 3\n")
    with pytest.raises(RecipeError, match=r"rec.yaml: method `probe` has no `epochs`"):
        build_plan(asked_for(None, None, path, {}).recipe, 4)


def test_an_unknown_method_is_named(path):
    with pytest.raises(UnknownName, match="did you mean 'probe'"):
        asked_for(None, None, path, {"method": "prob"})
