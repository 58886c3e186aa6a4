"""Recipes: strict, complete in their complaints, and what wins over what."""

from __future__ import annotations

import pytest

from graft.data.split import USUAL_SHARE
from graft.errors import InputError, RecipeError, UnknownName
from graft.methods import METHODS
from graft.recipe import Recipe, read_recipe
from graft.recipe_plan import OPTIONS, build_plan


def yaml(tmp_path, text):
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def faults(values, path=None):
    with pytest.raises(RecipeError) as caught:
        read_recipe(values, path)
    lines = str(caught.value).splitlines()
    assert all(len(line) <= 200 for line in lines if path is None)
    return lines


def test_unknown_key_names_the_closest():
    [line] = faults({"data": "a.csv", "epoch": 3})
    assert "`epoch`" in line
    assert "did you mean `epochs`?" in line
    [line] = faults({"data": "a.csv", "zzz": 3})
    assert "remove it" in line


def test_all_faults_at_once(tmp_path):
    path = yaml(tmp_path, "data: a.csv\nepochs: many\nlr: -1\nmehtod: probe\nseed: 1.5\n")
    lines = faults({"schedule": "wavy"}, path)
    assert len(lines) == 5
    for key in ("epochs", "lr", "mehtod", "seed", "schedule"):
        [line] = [x for x in lines if f"`{key}`" in x]
        assert str(path) in line
    assert any("found 'many'" in line for line in lines)


def test_a_recipe_that_is_not_there(tmp_path):
    assert faults({}, tmp_path / "rec.yaml") == [
        f"{tmp_path}/rec.yaml: no such file; correct --recipe"
    ]


def test_scientific_notation_in_yaml_is_a_number(tmp_path):
    found = read_recipe({}, yaml(tmp_path, "data: a.csv\nlr: 1e-4\nl2: 1.e+2\nweight_decay: 0\n"))
    assert found.lr == 1e-4
    assert found.l2 == 100
    assert found.weight_decay == 0


@pytest.mark.parametrize("line", ["lr: on", "epochs: true", "head: no", "seed: false"])
def test_switches_are_no_numbers_and_no_words(line, tmp_path):
    [fault] = faults({"data": "a.csv"}, yaml(tmp_path, line))
    assert f"`{line.split(':')[0]}`" in fault


def test_flags_win_over_yaml(tmp_path):
    path = yaml(tmp_path, "data: a.csv\nmethod: full\nepochs: 7\nhead: cosine\n")
    found = read_recipe({"data": "b.csv", "epochs": 2, "head": None}, path)
    assert (found.data, found.method, found.epochs, found.head) == ("b.csv", "full", 2, "cosine")


@pytest.mark.parametrize("text", ["- a\n- b\n", "just words", "", "a: [1\n", "a: !!python/name:x"])
def test_what_is_no_recipe_is_refused(text, tmp_path):
    [line] = faults({"data": "a.csv"}, yaml(tmp_path, text))
    assert "recipe.yaml" in line


def test_absent_file_is_refused(tmp_path):
    [line] = faults({"data": "a.csv"}, tmp_path / "none.yaml")
    assert "none.yaml" in line


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("validation", 1.0),
        ("test", -0.1),
        ("epochs", 0),
        ("lr", 0),
        ("warmup", 1),
        ("clip", 0),
        ("decay", 1.1),
        ("seed", -1),
        ("precision", "fp16"),
        ("label_smoothing", 1),
        ("focal", 0),
        ("ema", 1),
        ("views", 0),
        ("workers", -1),
        ("class_weights", "loud"),
        ("lr", float("nan")),
    ],
)
def test_values_out_of_range_are_refused(key, value):
    [line] = faults({"data": "a.csv", key: value})
    assert f"`{key}`" in line


# --- plans ------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_every_method_takes_the_common_options(method):
    plan = build_plan(Recipe(data="a.csv", method=method), 4)
    assert bool(plan.phases) == (method != "zero-shot")


def test_unknown_method_names_the_closest():
    with pytest.raises(UnknownName, match="did you mean 'probe'"):
        build_plan(Recipe(data="a.csv", method="prob"), 4)


def test_option_that_the_method_lacks_is_refused():
    with pytest.raises(RecipeError) as caught:
        build_plan(Recipe(data="a.csv", method="full", l2=1.0, decay=0.5), 4)
    assert "--decay, --l2" in str(caught.value)
    assert "`full`" in str(caught.value)


def test_an_option_of_the_file_is_refused_by_the_files_name(tmp_path):
    path = yaml(tmp_path, "data: a.csv\nmethod: probe\nepochs: 3\nlr: 1e-4\n")
    with pytest.raises(RecipeError) as caught:
        build_plan(read_recipe({"warmup": 0.1, "lr": 1e-3}, path), 4)
    assert str(caught.value).splitlines() == [
        "method `probe` has no --lr, --warmup; leave it out",
        "recipe.yaml: method `probe` has no `epochs`; take it out of the recipe",
    ]


def test_options_reach_the_plan():
    recipe = Recipe(data="a.csv", method="full", lr=3e-5, epochs=2, batch_size=8, clip=0.5)
    [phase] = build_plan(recipe, 4).phases
    assert (phase.by.epochs, phase.by.batch_size, phase.by.clip) == (2, 8, 0.5)
    assert phase.rules[-1].lr == 3e-5


def test_the_usual_shares_are_those_of_the_split():
    fields = Recipe.model_fields
    assert fields["validation"].default == fields["test"].default == USUAL_SHARE


def test_every_option_is_a_field_of_the_recipe():
    assert set(OPTIONS) <= set(Recipe.model_fields)


# --- digest -----------------------------------------------------------------------------------


def test_digest_is_stable():
    one = Recipe(data="a.csv", epochs=3, lr=1e-4)
    assert one.digest() == Recipe(lr=0.0001, epochs=3, data="a.csv").digest()
    again = Recipe.model_validate_json(one.model_dump_json())
    assert again == one
    assert again.digest() == one.digest()


def test_digest_follows_what_changes_the_result():
    base = Recipe(data="a.csv")
    others = [
        {"method": "full"},
        {"epochs": 1},
        {"seed": 1},
        {"head": "cosine"},
        {"precision": "bf16"},
        {"label_smoothing": 0.1},
        {"focal": 2.0},
        {"ema": 0.99},
        {"augment": "light"},
        {"augment": "light", "views": 4},
    ]
    digests = {base.model_copy(update=change).digest() for change in others}
    assert len(digests | {base.digest()}) == len(others) + 1
    for change in ({"cache": "off"}, {"checkpoint_every": 1}, {"workers": 0}):
        assert base.model_copy(update=change).digest() == base.digest()


def test_a_block_may_be_a_number_in_yaml(tmp_path):
    found = read_recipe({}, yaml(tmp_path, "data: a.csv\nmethod: probe\nat: 3\n"))
    assert found.at == "3"
    assert found.digest() != found.model_copy(update={"at": "any"}).digest()
    [line] = faults({"data": "a.csv", "at": "any"})
    assert "`at`" in line


def test_a_number_and_an_option_that_contradict_each_other_are_refused():
    with pytest.raises(RecipeError, match="--rank 8"):
        build_plan(Recipe(data="x.csv", method="lora:4", rank=8), 6)
    assert build_plan(Recipe(data="x.csv", method="lora:4", rank=4), 6).insert[0].rank == 4


def test_lora_has_nothing_to_stay_close_to():
    with pytest.raises(InputError, match="l2-sp"):
        build_plan(Recipe(data="x.csv", method="lora", l2_sp=1.0), 6)
