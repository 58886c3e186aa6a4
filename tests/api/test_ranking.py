"""`graft.rank`, all the way: which candidates are ranked, by what, and what is said of them."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch
from torch import nn

import graft
from graft.errors import InputError, ModelError
from graft.selection.ranking import Ranking
from graft.serial import from_json
from tests.backbones.images import given
from tests.data.makers import picture
from tests.tiny import FILLERS, WORDS, write_checkpoint, write_table

N_PICTURES = 60


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("place")
    for n_layers in (1, 2):
        write_checkpoint(folder / "models" / f"bert{n_layers}", n_layers=n_layers)
    write_table(folder / "things.csv", n_per_class=30)
    random = np.random.default_rng(0)
    for i in range(N_PICTURES):
        # the two kinds are equally bright, so that a grey picture shows nothing
        hue = (200, 60, int(random.integers(0, 80))) if i % 2 else (40, 142, 40)
        picture(folder / "pictures" / ("red" if i % 2 else "green") / f"{i}.png", color=hue)
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "cache"))


def models(place, *names):
    return [str(place / "models" / name) for name in names]


class Colours(nn.Module):
    """Tell colours apart by their means, or see nothing where the weights are zero."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.block = nn.Linear(3, 4)
        nn.init.constant_(self.block.bias, 0.0)
        with torch.no_grad():
            self.block.weight.copy_(weight * torch.eye(4, 3))

    def forward(self, x):
        return self.block(x.mean((2, 3)))


def colours(weight=1.0, name="colours"):
    return graft.backbone(
        Colours(weight),
        blocks=["block"],
        width=4,
        image_size=16,
        name=name,
        fresh=lambda: Colours(0.0),
    )


def test_candidates_are_ranked_and_one_that_fails_stops_no_other(place, tmp_path):
    (tmp_path / "broken").mkdir()
    vision = given("timm:resnet")[0]
    named = [*models(place, "bert1", "bert2"), str(tmp_path / "broken"), str(vision)]
    found = graft.rank(place / "things.csv", named, out=tmp_path / "out")
    assert {m.model for m in found.models} == set(named[:2])
    values = [m.probe.value for m in found.models]
    assert values == sorted(values, reverse=True)
    assert found.metric == "accuracy"
    assert found.best.behind.value == 0
    assert found.models[1].behind.value == pytest.approx(values[1] - values[0])
    for model in found.models:
        assert model.scores.keys() == {"logme", "h_score"}
        assert 0.3 < model.knn <= 1
        assert model.cost.weights_bytes > 4 * model.cost.n_parameters - 1
        assert model.cost.pass_seconds > 0
        assert model.probe.low <= model.probe.value <= model.probe.high
    assert [n.model for n in found.not_ranked] == named[2:]
    broken, wrong = (n.why for n in found.not_ranked)
    assert "config.json" in broken
    assert "takes image" in wrong
    assert str(vision) in wrong
    assert from_json(Ranking, (tmp_path / "out" / "rank.json").read_text()) == found


@pytest.mark.slow
def test_a_training_reads_the_store_that_the_ranking_filled(place, tmp_path):
    [model] = models(place, "bert2")
    first = graft.rank(place / "things.csv", [model])
    assert first.best.cost.n_computed == first.n_rows
    again = graft.rank(place / "things.csv", [model])
    assert again.best.cost.n_computed == 0
    assert again.best.cost.pass_seconds > 0
    assert again.best.probe == first.best.probe
    run = graft.train(place / "things.csv", model=model, method="probe", out=tmp_path / "run")
    assert run.record.untouched.n_computed == 0
    assert run.record.phases[0].cache.n_computed == 0
    again = graft.rank(place / "things.csv", [str(run.folder)])
    assert any("was trained on these rows" in warning for warning in again.warnings)
    # the head of the ranking is the head that the training solves
    assert run.record.phases[0].convex.l2 == pytest.approx(first.best.l2)


@pytest.mark.slow
def test_the_same_without_a_store(place):
    stored = graft.rank(place / "things.csv", models(place, "bert1"))
    loose = graft.rank(place / "things.csv", models(place, "bert1"), cache="off")
    assert loose.best.probe == stored.best.probe
    assert loose.best.scores == stored.best.scores
    assert (loose.best.cost.store_bytes, loose.best.cost.n_computed) == (0, loose.n_rows)


@pytest.mark.slow
def test_random_networks_know_little_and_that_is_said(place):
    found = graft.rank(place / "things.csv", models(place, "bert1", "bert2"))
    assert [b.name for b in found.baselines] == ["bags of words", "its network, random weights"]
    (warning,) = found.warnings
    assert warning.startswith("no candidate is clearly ahead of")
    assert "know little about your data" in warning
    (alone,) = graft.rank(place / "things.csv", models(place, "bert1")).warnings
    assert "this backbone knows little" in alone


def test_a_network_that_sees_what_pixels_and_random_weights_do_not_draws_no_warning(place):
    own = colours()
    before = {name: tensor.clone() for name, tensor in own.state_dict().items()}
    found = graft.rank(place / "pictures", [own, colours(0.0, "blind")])
    assert [m.model for m in found.models] == ["colours", "blind"]
    assert found.best.probe.value == 1
    pixels, random = found.baselines
    assert pixels.is_beaten
    assert random.is_beaten
    assert found.warnings == ()
    # what the user declared is left as it was
    for name, tensor in own.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert all(p.requires_grad for p in own.parameters())


@pytest.mark.slow
def test_a_checkpoint_with_its_head_has_leep(place):
    found = graft.rank(place / "pictures", [str(given("timm:resnet")[0])])
    assert -1 < found.best.scores["leep"] < 0
    assert found.how_read


@pytest.mark.slow
def test_several_labels_and_numbers(place, tmp_path):
    random = np.random.default_rng(0)
    rows = []
    for _ in range(90):
        kinds = [k for k in WORDS if random.random() < 0.5]
        text = [str(w) for w in random.choice(FILLERS, 2)]
        text += [str(random.choice(WORDS[k])) for k in kinds]
        rows.append((" ".join(text), ";".join(kinds) or "[]", len(kinds) + random.normal() / 10))
    with (tmp_path / "t.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label", "price"), *rows])
    several = graft.rank(tmp_path / "t.csv", models(place, "bert1"), target_kind="multi")
    assert (several.task, several.metric, several.n_classes) == ("multilabel", "micro_f1", 3)
    assert several.best.scores.keys() == {"logme", "h_score"}
    numbers = graft.rank(
        tmp_path / "t.csv", models(place, "bert1"), label="price", target_kind="number"
    )
    assert (numbers.task, numbers.metric, numbers.n_classes) == ("regress", "r2", 0)
    assert numbers.best.scores.keys() == {"logme"}
    for found in (several, numbers):
        assert found.best.probe.value > 0.5
        assert np.isfinite(found.best.knn)


def test_no_candidate_that_works_is_an_error_with_every_reason(place, tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(ModelError) as caught:
        graft.rank(place / "things.csv", [str(tmp_path / "a"), "timm:no_such_network"])
    first, second = str(caught.value).splitlines()
    assert "config.json" in first
    assert first.count(str(tmp_path / "a")) == 1
    assert "no_such_network" in second


@pytest.mark.slow
def test_whatever_a_library_throws_at_one_candidate_the_others_go_on(place, monkeypatch):
    from graft.selection import looking

    real = looking.open_job

    def odd(recipe, *more, **options):
        if "bert1" in recipe.model:
            raise RuntimeError("size mismatch\nfor layer 3")
        return real(recipe, *more, **options)

    monkeypatch.setattr(looking, "open_job", odd)
    found = graft.rank(place / "things.csv", models(place, "bert1", "bert2"))
    assert [n.why for n in found.not_ranked] == ["RuntimeError: size mismatch"]
    assert len(found.models) == 1


@pytest.mark.slow
def test_many_rows_are_thinned_and_that_is_recorded(place, monkeypatch):
    from graft.selection import baselines, rank

    monkeypatch.setattr(rank, "MOST_ROWS", 40)
    monkeypatch.setattr(baselines, "MOST_RANDOM_ROWS", 20)
    monkeypatch.setattr(baselines, "ROWS_PER_CLASS", 8)
    found = graft.rank(place / "things.csv", models(place, "bert1"))
    assert found.n_rows == 40 < found.n_train
    inputs, random = (b.n_rows for b in found.baselines)
    assert inputs == 40 and random in (12, 24)  # half of the rows where these tell already
    assert found.best.cost.n_computed == found.n_train


def test_what_has_no_meaning_is_refused(place, tmp_path):
    with pytest.raises(InputError, match="leave `model` out"):
        graft.rank(place / "things.csv", ["minilm"], model="minilm")
    (tmp_path / "pairs.csv").write_text("anchor,positive\n" + "a,b\nc,d\ne,f\n" * 5)
    with pytest.raises(InputError, match="one label or number a row"):
        graft.rank(tmp_path / "pairs.csv", ["minilm"])


@pytest.mark.slow
def test_what_cannot_be_compared_costs_no_ranking(place):
    own = graft.backbone(Colours(1.0), blocks=["block"], width=4, image_size=16, name="no fresh")
    found = graft.rank(place / "pictures", [own])
    assert len(found.baselines) == 1
    (warning,) = found.warnings
    assert "cannot be made anew with random weights" in warning


def test_random_weights_are_asked_whatever_the_order_of_rows(place, tmp_path):
    rows = [(f"{WORDS[y][0]} {FILLERS[i % 7]}", y) for i in range(40) for y in list(WORDS)[:2]]
    with (tmp_path / "alternating.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    found = graft.rank(
        tmp_path / "alternating.csv", models(place, "bert1"), validation=0, test=0, threads=1
    )
    assert "its network, random weights" in [b.name for b in found.baselines]
    assert not [w for w in found.warnings if "not compared" in w]
