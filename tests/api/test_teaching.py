"""A student and its teacher, from data to record: who is asked, how often, and what is left."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import graft
from graft.backbones import open_backbone
from graft.errors import GraftError
from tests.tiny import WORDS, write_checkpoint, write_table
from tests.towers import COLOURS, write_image_model, write_pictures

LEARNS = {"method": "full", "epochs": 20, "lr": 3e-3}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Hold a network, a table, a teacher that knows it, and the same table with wrong labels."""
    folder = tmp_path_factory.mktemp("place")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAFT_CACHE", str(folder / "cache"))
        write_checkpoint(folder / "bert")
        write_checkpoint(folder / "deep", n_layers=3)
        write_table(folder / "things.csv", n_per_class=60)
        lines = (folder / "things.csv").read_text(encoding="utf-8").splitlines()
        rows = [tuple(line.split(",")) for line in lines[1:]]
        source = np.random.default_rng(0)
        with (folder / "noise.csv").open("w", newline="", encoding="utf-8") as file:
            write = csv.writer(file)
            write.writerow(("text", "label", "split"))
            for i, (text, label) in enumerate(rows):
                part = ("train", "train", "validation", "test")[i % 4]
                write.writerow(
                    (text, source.choice(list(WORDS)) if part == "train" else label, part)
                )
        with (folder / "values.csv").open("w", newline="", encoding="utf-8") as file:
            write = csv.writer(file)
            write.writerow(("text", "price"))
            write.writerows((t, 10 * sorted(WORDS).index(y) + len(t) / 10) for t, y in rows)
        with (folder / "several.csv").open("w", newline="", encoding="utf-8") as file:
            write = csv.writer(file)
            write.writerow(("text", "tags"))
            write.writerows((t, f"{y};short" if len(t) < 14 else y) for t, y in rows)
        train(folder, folder / "teacher", model="bert", **LEARNS)
        train(folder, folder / "adapted", model="bert", method="bottleneck", epochs=1)
        for data in ("values", "several"):
            train(folder, folder / f"{data} teacher", data=data, model="bert", method="probe")
        train(folder, folder / "vectors", model="deep", task="embed", method="full", epochs=2)
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "cache"))


def train(place, out, data="things", model=None, **options):
    if model is not None:
        options["model"] = str(place / model)
    return graft.train(place / f"{data}.csv", out=out, allow_leak=True, **options)


def test_a_teacher_that_knows_mends_labels_that_do_not(place, tmp_path):
    options = {"data": "noise", "model": "bert", **LEARNS}
    teacher = str(place / "teacher")
    plain = train(place, tmp_path / "a", **options)
    taught = train(place, tmp_path / "b", teacher=teacher, distil_weight=0.9, **options)
    record = taught.record.teacher
    assert record.scores["test"]["accuracy"] > 0.95
    assert plain.metrics["accuracy"] < 0.7
    assert taught.metrics["accuracy"] > plain.metrics["accuracy"] + 0.2
    assert (record.name, record.learned, record.weight) == (teacher, "logits", 0.9)


def test_rows_are_asked_for_once_for_every_student_and_anew_of_another_teacher(place, tmp_path):
    options = {"teacher": str(place / "teacher"), "method": "head", "epochs": 1}
    first = train(place, tmp_path / "a", model="bert", **options)
    assert first.record.teacher.cache.n_computed == first.record.n_train
    second = train(place, tmp_path / "b", model="deep", **options)
    assert second.record.teacher.cache.n_computed == 0
    again = train(place, tmp_path / "c", model="bert", **options)
    assert again.record.weights_sha256 == first.record.weights_sha256
    other = {**options, "teacher": str(place / "vectors"), "distil": "embedding", "method": "full"}
    third = train(place, tmp_path / "d", model="bert", **other)
    assert third.record.teacher.cache.n_computed == third.record.n_train


@pytest.mark.parametrize("distil", ["logits", "features", "embedding"])
def test_the_artifact_is_the_student_alone(place, tmp_path, distil):
    options = {"model": "bert", "method": "full", "epochs": 1}
    taught = train(place, tmp_path / "a", teacher=str(place / "teacher"), distil=distil, **options)
    plain = train(place, tmp_path / "b", **options)
    for run in (taught, plain):
        files = {p.relative_to(run.folder) for p in (run.folder / "model").rglob("*")}
        assert {p.name for p in files} >= {"graft.json", "head.safetensors"}
    shapes = [
        {
            f"{path.name} {name}": t.shape
            for path in (run.folder / "model").rglob("*.safetensors")
            for name, t in load_file(path).items()
        }
        for run in (taught, plain)
    ]
    assert shapes[0] == shapes[1]
    assert taught.predict(["my red"])[0].label in WORDS


def test_fewer_blocks_of_the_teacher_begin_with_its_weights(place, tmp_path):
    options = {"teacher": str(place / "teacher"), "distil_temperature": 1.0}
    run = train(place, tmp_path / "a", student_blocks=1, method="probe", **options)
    assert run.record.phases[0].convex is not None
    assert run.record.model == str(place / "teacher")
    student, teacher = open_backbone(run.folder), open_backbone(place / "teacher")
    assert len(student.net.encoder.layer) == 1 < len(teacher.net.encoder.layer)
    assert not (run.folder / "adapter").exists(), "no name opens such a network"
    of_teacher = teacher.net.state_dict()
    assert all(torch.equal(t, of_teacher[k]) for k, t in student.net.state_dict().items())
    again = graft.train(recipe=run.folder / "recipe.yaml", out=tmp_path / "b")
    assert again.record.weights_sha256 == run.record.weights_sha256


@pytest.mark.slow
def test_a_student_of_pictures_has_its_teachers_lower_blocks(tmp_path):
    write_pictures(tmp_path / "data", n_captions=1)
    for path in sorted((tmp_path / "data" / "images").iterdir()):
        colour = path.stem.rstrip("0123456789")
        (tmp_path / "colours" / colour).mkdir(parents=True, exist_ok=True)
        path.rename(tmp_path / "colours" / colour / path.name)
    options = {"threads": 1, "precision": "fp32", "workers": 0}
    data, vit = tmp_path / "colours", write_image_model(tmp_path / "vit")
    teacher = graft.train(data, model=vit, method="probe", out=tmp_path / "teacher", **options)
    learns = {"teacher": str(teacher.folder), "student_blocks": 1, "method": "full", "epochs": 1}
    student = graft.train(data, out=tmp_path / "student", **learns, **options)
    assert student.record.opens_with == teacher.record.opens_with
    assert student.record.teacher.scores["test"]
    from transformers import AutoModelForImageClassification

    opened = AutoModelForImageClassification.from_pretrained(student.folder / "model")
    assert opened.config.num_hidden_layers == 1
    assert set(opened.config.id2label.values()) == set(COLOURS)


def test_numbers_and_several_labels_have_teachers(place, tmp_path):
    for data in ("values", "several"):
        options = {"data": data, "model": "bert", "distil_weight": 1.0, "method": "probe"}
        if data == "several":
            options["distil_temperature"] = 1.0
        run = train(place, tmp_path / data, teacher=str(place / f"{data} teacher"), **options)
        assert run.record.phases[0].convex is not None
        assert run.record.teacher.temperature == 1
        scores = run.record.teacher.scores["test"]
        of_teacher = graft.load(place / f"{data} teacher").metrics
        for name in {"r2", "mae", "macro_f1"} & of_teacher.keys():
            assert scores[name] == pytest.approx(of_teacher[name], rel=1e-4)


def test_an_embedding_comes_near_its_teachers(place, tmp_path):
    options = {"task": "embed", "method": "full", "epochs": 6, "lr": 1e-3, "distil_weight": 1.0}
    run = train(place, tmp_path / "a", model="bert", teacher=str(place / "vectors"), **options)
    texts = [f"my {word}" for words in WORDS.values() for word in words]

    def vectors(folder):
        found = graft.embed(folder, texts).features
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    wanted = vectors(place / "vectors")
    before = (vectors(place / "bert") * wanted).sum(1).mean()
    after = (vectors(run.folder) * wanted).sum(1).mean()
    assert after > max(0.8, before + 0.2), (before, after)
    assert run.record.teacher.has_head and "mrr" in run.record.teacher.scores["test"]


def test_the_network_alone_teaches_features(place, tmp_path):
    options = {"model": "bert", "method": "full", "epochs": 2, "distil": "features"}
    run = train(place, tmp_path / "a", teacher=str(place / "deep"), **options)
    record = run.record.teacher
    assert not record.has_head
    assert 0 < record.scores["test"]["accuracy"] <= 1
    between = graft.interpolate(run.folder, alphas=(0, 1))
    assert between.points[-1].scores["test"] == pytest.approx(run.metrics["accuracy"])


def test_a_plan_knows_teachers(place):
    planned = graft.plan(
        place / "things.csv", model=str(place / "bert"), teacher=str(place / "teacher")
    )
    assert "softened by 4" in planned.phases[0].by


FAULTS = [
    ({"distil_weight": 0.4}, "--distil-weight needs --teacher"),
    ({"student_blocks": 2}, "--student-blocks needs --teacher"),
    ({"teacher": "teacher", "student_blocks": 9, "model": None}, "has blocks 0 to 1, not 8"),
    ({"teacher": "teacher", "student_blocks": 2}, "leave out --model"),
    ({"teacher": "adapted", "student_blocks": 1, "model": None}, "has adapters in its blocks"),
    ({"teacher": "bert"}, "has no head that answers"),
    ({"teacher": "values teacher"}, "was trained to `regress`, and the data ask to `classify`"),
    ({"teacher": "vectors"}, "was trained to `embed`"),
    ({"teacher": "nowhere"}, "no such folder"),
    ({"teacher": "teacher", "distil": "features", "method": "probe"}, "does not train; pass"),
    ({"teacher": "teacher", "distil": "features", "distil_temperature": 2.0}, "softens logits"),
    ({"teacher": "vectors", "task": "embed", "method": "head"}, "does not train; pass"),
    ({"teacher": "vectors", "task": "embed", "distil": "logits"}, "embeddings have no logits"),
]


@pytest.mark.parametrize(("options", "said"), FAULTS)
def test_what_makes_no_sense_is_refused_in_one_line(place, tmp_path, options, said):
    options = {"method": "full", "model": "bert", **options}
    if "teacher" in options:
        options["teacher"] = f"{place}/{options['teacher']}"
    with pytest.raises(GraftError, match=said) as caught:
        train(place, tmp_path / "a", **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "a").exists()


def test_a_teacher_that_saw_rows_that_judge_is_noted(place, tmp_path):
    options = {"model": "bert", "method": "head", "epochs": 1, "teacher": str(place / "teacher")}
    same = train(place, tmp_path / "a", **options)
    other = train(place, tmp_path / "b", seed=3, **options)
    told = [[n for n in run.record.notes if "another way" in n] for run in (same, other)]
    assert not told[0]
    assert "trained on these rows split in another way (--seed 0)" in told[1][0]


def test_another_set_of_classes_is_refused_by_name(place, tmp_path):
    lines = (place / "things.csv").read_text(encoding="utf-8").splitlines()
    fewer = tmp_path / "fewer.csv"
    fewer.write_text("\n".join(x for x in lines if not x.endswith(",animal")), encoding="utf-8")
    with pytest.raises(GraftError, match="also knows 'animal'"):
        graft.train(fewer, model=str(place / "bert"), teacher=str(place / "teacher"))
    renamed = tmp_path / "renamed.csv"
    text = "\n".join(lines).replace(",animal", ",beast")
    renamed.write_text(text, encoding="utf-8")
    with pytest.raises(GraftError, match="does not know 'beast' among its 3 classes"):
        graft.train(renamed, model=str(place / "bert"), teacher=str(place / "teacher"))


def test_rows_without_labels_are_learned_from_the_teacher(place, tmp_path):
    """Three labelled rows of a class say little; the teacher says the rest of a hundred others."""
    lines = (place / "things.csv").read_text(encoding="utf-8").splitlines()
    few, rest = tmp_path / "few.csv", tmp_path / "rest.csv"
    rows = sorted(lines[1:], key=lambda line: line.rpartition(",")[2])
    kept = [row for i, row in enumerate(rows) if i % 60 < 20]
    few.write_text("\n".join(["text,label", *kept]), encoding="utf-8")
    texts = [row.rpartition(",")[0] for i, row in enumerate(rows) if i % 60 >= 20]
    rest.write_text("\n".join(["text", *texts]), encoding="utf-8")
    options = {"model": str(place / "bert"), "teacher": str(place / "teacher"), "test": 0.4}
    options |= {"validation": 0.2, **LEARNS}
    alone = graft.train(few, out=tmp_path / "a", **options)
    both = graft.train(few, out=tmp_path / "b", unlabeled=str(rest), **options)
    assert both.record.teacher.n_unlabelled == len(texts)
    assert f"{len(texts)} rows read for their inputs alone" in " ".join(both.record.notes)
    assert both.metrics["accuracy"] > alone.metrics["accuracy"]
    planned = graft.plan(few, unlabeled=str(rest), **{**options, "epochs": 2})
    assert planned.phases[0].seconds > 0
    told = " ".join(planned.notes)
    assert f"of the {len(texts)} rows without labels are seen; --epochs " in told
    assert "the teacher is asked for every row" in told
    assert "are seen" not in " ".join(both.record.notes)


def test_a_probe_with_rows_without_labels_is_solved(place, tmp_path):
    rest = tmp_path / "rest.csv"
    rest.write_text("text\n" + "\n".join(f"my {w}" for g in WORDS.values() for w in g), "utf-8")
    options = {"model": "bert", "teacher": str(place / "teacher"), "distil_temperature": 1.0}
    run = train(place, tmp_path / "a", method="probe", unlabeled=str(rest), **options)
    assert run.record.phases[0].convex is not None
    alone = train(place, tmp_path / "b", method="probe", **options)
    assert run.record.weights_sha256 != alone.record.weights_sha256
