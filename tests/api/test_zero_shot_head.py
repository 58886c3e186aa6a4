"""A classifier that begins at the names of its classes, and what lies between it and its end."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import graft
from graft.api.interpolating import ALPHAS, interpolate, mixed
from graft.data.readers import read
from graft.errors import InputError
from graft.job import open_job
from graft.prompts import ensembled, probabilities_of, prompts_of, wordings_of
from graft.recipe import read_recipe
from tests.towers import COLOURS, write_pictures, write_towers

OPTIONS = {"threads": 1, "precision": "fp32", "workers": 0}
TEMPLATES = ("the {} is here", "a {} look")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("names")
    write_pictures(folder / "data")
    write_towers(folder)
    lines = [f"images/{c}{i}.png,{c}" for c in COLOURS for i in range(8)]
    table = "\n".join(["image,label", *lines]) + "\n"
    (folder / "data" / "classes.csv").write_text(table, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAFT_CACHE", str(folder / "cache"))
        graft.train(
            folder / "data" / "captions.jsonl", model=folder / "vit", batch_size=8,
            text_model=str(folder / "bert"), method="full", epochs=12, lr=2e-3, head_lr=5e-3,
            out=folder / "towers", **OPTIONS,
        )  # fmt: skip
        graft.train(
            folder / "data" / "classes.csv", model=folder / "towers", init_head="zero-shot",
            template=TEMPLATES, method="full", epochs=1, lr=1e-3, validation=0.3,
            out=folder / "run", **OPTIONS,
        )  # fmt: skip
        yield folder


def test_the_head_answers_as_the_two_towers_do(place):
    recipe = read_recipe({
        "data": str(place / "data" / "classes.csv"), "model": str(place / "towers"),
        "init_head": "zero-shot", "template": TEMPLATES, **OPTIONS,
    })  # fmt: skip
    job = open_job(recipe)
    stream = job.task.streams(job.table, job.backbone)["train"]
    with torch.no_grad():
        logits = job.model.eval()(stream.batch(np.arange(10)).inputs)
    theirs = graft.zero_shot(
        place / "towers", [str(v) for v in job.table.inputs()[:10]], job.task.classes,
        templates=TEMPLATES,
    )  # fmt: skip
    ours = logits.softmax(1).numpy()
    for row, answer in zip(ours, theirs.rows, strict=True):
        np.testing.assert_allclose(row, list(answer.probabilities.values()), atol=1e-4)


def test_the_spread_over_wordings_is_recorded_and_said(place):
    record = graft.load(place / "run").record
    assert [w.template for w in record.wordings] == [*TEMPLATES, "all together"]
    assert all(0 <= w.accuracy <= 1 for w in record.wordings)
    assert any("single wordings" in note for note in record.notes)


def test_the_trained_classifier_opens_and_predicts(place):
    run = graft.load(place / "run")
    paths = [str(place / "data" / "images" / f"{c}0.png") for c in COLOURS]
    assert [p.label for p in run.predict(paths)]
    assert run.metrics["accuracy"] >= 0.5


def test_the_ends_of_the_curve_are_before_and_after(place, tmp_path):
    found = interpolate(place / "run", alphas=(0, 0.5, 1), out=tmp_path / "between")
    assert [p.alpha for p in found.points] == [0, 0.5, 1]
    record = graft.load(place / "run").record
    assert found.points[-1].scores["test"] == pytest.approx(record.after["test"]["accuracy"])
    together = record.wordings[-1].accuracy
    assert found.points[0].scores["validation"] == pytest.approx(together)
    best = max(p.scores["validation"] for p in found.points)
    assert found.at_chosen.scores["validation"] == best
    kept = graft.load(place / "run").record.between
    assert kept == found.points
    assert [p.chosen for p in kept].count(True) == 1
    page = (place / "run" / "report.html").read_text(encoding="utf-8")
    assert "Between before and after" in page
    assert graft.predict(tmp_path / "between", [str(place / "data" / "images" / "red0.png")])


def test_it_needs_two_towers_and_classes_of_pictures(place):
    data = place / "data" / "classes.csv"
    with pytest.raises(InputError, match="two towers"):
        graft.train(data, model=place / "vit", init_head="zero-shot")
    with pytest.raises(InputError, match="--template needs"):
        graft.train(data, model=place / "vit", template=TEMPLATES)
    with pytest.raises(InputError, match="from 0"):
        interpolate(place / "run", alphas=(2,))


def test_the_names_alone_are_a_method(place, tmp_path):
    run = graft.train(
        place / "data" / "classes.csv", model=place / "towers", method="zero-shot",
        template=TEMPLATES, validation=0.3, out=tmp_path / "names", **OPTIONS,
    )  # fmt: skip
    assert run.record.phases == ()
    assert run.record.n_trained == 0
    page = (run.folder / "report.html").read_text(encoding="utf-8")
    assert "Nothing was trained" in page
    assert "solved exactly" not in page
    told = graft.evaluate(run.folder, place / "data" / "classes.csv")
    assert told.metrics["accuracy"] == pytest.approx(accuracy_of_names(place))
    with pytest.raises(InputError, match="trains nothing"):
        graft.train(
            place / "data" / "captions.jsonl", model=place / "towers", method="zero-shot",
            out=tmp_path / "none", **OPTIONS,
        )  # fmt: skip


def accuracy_of_names(place):
    table = read(place / "data" / "classes.csv")
    answers = graft.zero_shot(
        place / "towers", [str(v) for v in table.inputs()], COLOURS, templates=TEMPLATES
    )
    right = [a.label == label for a, label in zip(answers.rows, table.labels(), strict=True)]
    return sum(right) / len(right)


def test_names_are_compared_with_what_is_trained(place, tmp_path):
    found = graft.compare(
        place / "data" / "classes.csv", model=place / "towers", template=TEMPLATES,
        methods=("zero-shot", "probe", "full"), epochs=1, validation=0.3, out=tmp_path / "c",
        **OPTIONS,
    )  # fmt: skip
    rows = {m.method: m for m in found.methods}
    assert rows.keys() == {"zero-shot", "probe", "full"}
    assert rows["zero-shot"].n_trained == 0
    alone = graft.train(
        place / "data" / "classes.csv", model=place / "towers", method="zero-shot",
        template=TEMPLATES, validation=0.3, out=tmp_path / "alone", **OPTIONS,
    )  # fmt: skip
    accuracy = alone.record.after["validation"]["accuracy"]
    assert rows["zero-shot"].value.value == accuracy


def test_one_tower_serves_a_table_of_its_kind(place, tmp_path):
    run = graft.train(
        place / "data" / "classes.csv", model=place / "towers", method="probe",
        out=tmp_path / "probe", **OPTIONS,
    )  # fmt: skip
    assert run.record.phases[0].convex is not None


def test_weights_between_are_a_line():
    before = {"w": torch.zeros(3), "n": torch.tensor(1)}
    after = {"w": torch.ones(3), "n": torch.tensor(5)}
    assert mixed(before, after, 0.25)["w"].tolist() == [0.25] * 3
    assert int(mixed(before, after, 0.25)["n"]) == 5
    assert ALPHAS[0] == 0 and ALPHAS[-1] == 1


def test_an_ensemble_is_the_mean_direction():
    prompts = np.asarray([[[1.0, 0.0], [0.0, 1.0]], [[-1.0, 0.0], [-1.0, 0.0]]])
    found = ensembled(prompts)
    np.testing.assert_allclose(found, [[0.5**0.5, 0.5**0.5], [-1, 0]])
    images = np.asarray([[0.0, 1.0], [-1.0, 0.0]])
    chances = probabilities_of(images, found, np.log(100))
    assert chances.argmax(1).tolist() == [0, 1]
    np.testing.assert_allclose(chances.sum(1), 1)
    wordings = wordings_of(images, np.asarray([0, 1]), prompts, ("a {}", "b {}"))
    assert [w.accuracy for w in wordings] == [1.0, 1.0, 1.0]


def test_a_template_needs_its_place():
    with pytest.raises(InputError, match="once"):
        prompts_of(["a", "b"], ["{} {}"])
    with pytest.raises(InputError, match="each once"):
        prompts_of(["a", "a "], ["{}"])
