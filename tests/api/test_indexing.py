"""`graft.index` and `graft.search` on a run of a tiny checkpoint."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest
import yaml

import graft
from graft.api.answers_out import write_answers_of_search
from graft.api.embedding import Embedder
from graft.errors import DataError, InputError, ModelError, UnknownName
from tests.data.makers import picture
from tests.tiny import FILLERS, WORDS, write_checkpoint, write_table


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("place")
    write_checkpoint(folder / "bert")
    write_table(folder / "things.csv", n_per_class=60)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAFT_CACHE", str(folder / "cache"))
        graft.train(
            folder / "things.csv", model=str(folder / "bert"), method="full", epochs=2, lr=1e-3,
            out=folder / "full",
        )  # fmt: skip
    return folder


@pytest.fixture
def shelf(tmp_path):
    return written(tmp_path / "shelf.csv", range(6))


def written(path, numbers, column="id"):
    """Write rows with ids, of which every class has every third."""
    kinds = list(WORDS)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([column, "text", "kind", "price"])
        for i in numbers:
            kind = kinds[i % 3]
            text = f"{FILLERS[i % 7]} {WORDS[kind][i % 5]} {FILLERS[i % 10]}"
            writer.writerow([f"A{i}", text, kind, i * 10])
    return str(path)


def made(place, shelf, tmp_path, **more):
    return graft.index(place / "full", shelf, folder=tmp_path / "index", **more)


def ids_of(place, tmp_path, query="the cat is here", **more):
    (answer,) = graft.search(place / "full", query, folder=tmp_path / "index", **more).answers
    return [hit.row.id for hit in answer.hits]


def test_a_text_finds_itself_first(place, shelf, tmp_path):
    found = made(place, shelf, tmp_path)
    assert (found.n_rows, found.n_added, found.width, found.generation) == (6, 6, 64, 1)
    answers = graft.search(place / "full", shelf, k=2, folder=tmp_path / "index").answers
    assert [a.hits[0].row.id for a in answers] == [f"A{i}" for i in range(6)]
    first = answers[0].hits[0]
    assert first.score == pytest.approx(1, abs=1e-5)
    assert first.row.path == shelf and first.row.number == 1
    assert dict(first.row.cells) == {
        "id": "A0", "text": first.row.input, "kind": "animal", "price": "0",
    }  # fmt: skip


def test_the_index_lies_with_its_run(place, shelf):
    found = graft.index(place / "full", shelf)
    assert found.folder == place / "full" / "index"
    for model in (place / "full", place / "full" / "model"):
        assert graft.search(model, "the cat").answers[0].hits
    with pytest.raises(InputError, match="holds an index; pass --add"):
        graft.index(place / "full", shelf)
    shutil.rmtree(found.folder)
    with pytest.raises(InputError, match="is no run, which would hold the index; pass --index"):
        graft.index(place / "bert", shelf)


def test_adding_computes_new_rows_alone(place, shelf, tmp_path, monkeypatch):
    made(place, shelf, tmp_path)
    n_rows = []
    embed = Embedder.embed

    def counted(embedder, table, **more):
        n_rows.append(len(table))
        return embed(embedder, table, **more)

    monkeypatch.setattr(Embedder, "embed", counted)
    added = made(place, written(tmp_path / "more.csv", range(6, 9)), tmp_path, add=True)
    assert n_rows == [3]
    assert (added.n_rows, added.n_added, added.generation) == (9, 3, 2)
    assert len(ids_of(place, tmp_path)) == 9


def test_delete_and_rebuild(place, shelf, tmp_path):
    made(place, shelf, tmp_path)
    folder = tmp_path / "index"
    deleted = graft.index(place / "full", delete=["A1", "A4"], folder=folder)
    assert (deleted.n_rows, deleted.n_deleted) == (4, 2)
    assert set(ids_of(place, tmp_path)) == {"A0", "A2", "A3", "A5"}
    with pytest.raises(InputError, match="id `A1`: was deleted already"):
        graft.index(place / "full", delete=["A1"], folder=folder)
    assert graft.index(place / "full", rebuild=True, folder=folder).n_rows == 4
    again = graft.index(place / "full", shelf, rebuild=True, folder=folder)
    assert (again.n_rows, again.generation) == (6, 4)


def test_conditions_and_depth(place, shelf, tmp_path):
    made(place, shelf, tmp_path)
    assert set(ids_of(place, tmp_path, where=["kind=colour"])) == {"A1", "A4"}
    assert set(ids_of(place, tmp_path, where=["kind!=colour", "price>=30"])) == {"A3", "A5"}
    found = graft.search(place / "full", "cat", k=50, folder=tmp_path / "index")
    assert found.notes == ("the index holds 6 rows, so 6 and not 50 are found",)
    found = graft.search(place / "full", "cat", where=["price>900"], folder=tmp_path / "index")
    assert "no row meets the conditions" in found.notes
    with pytest.raises(InputError, match="'abc' is no number, and `price` holds numbers"):
        ids_of(place, tmp_path, where=["price<abc"])
    found.refuse_if_many_skipped()  # the query was as good as any
    with pytest.raises(UnknownName, match="did you mean 'kind'"):
        ids_of(place, tmp_path, where=["kid=colour"])


def test_another_model_is_refused(place, shelf, tmp_path):
    made(place, shelf, tmp_path)
    for change in (
        lambda: graft.search(place / "bert", "cat", folder=tmp_path / "index"),
        lambda: graft.index(place / "bert", shelf, add=True, folder=tmp_path / "index"),
    ):
        with pytest.raises(ModelError, match=r"made by model [0-9a-f]{12}, and this is [0-9a-f]"):
            change()
    moved = shutil.copytree(place / "full", tmp_path / "moved")
    assert graft.search(moved, "cat", folder=tmp_path / "index").answers[0].hits
    replaced = graft.index(place / "bert", shelf, rebuild=True, folder=tmp_path / "index")
    assert replaced.generation == 2


def test_ids(place, tmp_path):
    for numbers in ([*range(20), 3], [3, 3]):
        twice = written(tmp_path / "twice.csv", numbers)
        fault = f"row {len(numbers)} column `id`: id `A3` names an earlier row too"
        with pytest.raises(DataError, match=fault):
            made(place, twice, tmp_path)
    named = written(tmp_path / "named.csv", [0, 1, 1], column="sku")
    with pytest.raises(DataError, match="id `A1` names an earlier row too"):
        made(place, named, tmp_path, id="sku")
    with pytest.raises(DataError, match="no column `skuu`; did you mean `sku`"):
        made(place, named, tmp_path, id="skuu")
    made(place, named, tmp_path)
    assert sorted(ids_of(place, tmp_path)) == [f"{named}:{i}" for i in (1, 2, 3)]
    with pytest.raises(InputError, match="and 2 more: in the index already"):
        made(place, named, tmp_path, add=True)


def test_rows_that_cannot_be_used_are_named_and_counted(place, tmp_path):
    found = graft.index(place / "full", ["the cat", " ", "blue"], folder=tmp_path / "index")
    assert (found.n_rows, found.n_skipped) == (2, 1)
    assert "empty" in str(found.findings[0])
    answers = graft.search(place / "full", ["", "cat"], folder=tmp_path / "index").answers
    assert answers[0].hits == () and len(answers[1].hits) == 2


def test_a_vector_that_is_not_finite_writes_nothing(place, shelf, tmp_path, monkeypatch):
    embed = Embedder.embed

    def broken(*arguments, **more):
        found = embed(*arguments, **more)
        found.features[2, 5] = np.inf
        return found

    monkeypatch.setattr(Embedder, "embed", broken)
    with pytest.raises(DataError, match=r"row 3: the vector of `A2` holds a value that is NaN"):
        made(place, shelf, tmp_path)
    with pytest.raises(InputError, match="holds no index"):
        ids_of(place, tmp_path)


def test_a_threshold_from_the_runs_validation_rows(place, shelf, tmp_path):
    made(place, shelf, tmp_path)
    folder = tmp_path / "index"
    found = graft.index(place / "full", far=0.05, folder=folder)
    limit = found.threshold
    assert limit.source == "validation rows of the run"
    assert limit.n_items == graft.load(place / "full").record.n_validation
    assert 0 < limit.far <= 0.05
    looser = graft.index(place / "full", far=0.5, folder=tmp_path / "index").threshold
    assert limit.far < looser.far <= 0.5
    assert looser.score < limit.score
    assert looser.tar > limit.tar
    limit = graft.index(place / "full", far=0.05, folder=folder).threshold
    answers = graft.search(place / "full", ["the cat the", "the"], folder=folder)
    assert answers.threshold == limit
    assert not answers.answers[0].is_unknown
    assert answers.answers[0].hits[0].row.id == "A0"
    for hit in answers.answers[0].hits:
        assert hit.is_known == (hit.score >= limit.score)
    with pytest.raises(InputError, match="needs 100,000 or more: pass --calibrate"):
        graft.index(place / "full", far=1e-5, folder=folder)
    given = graft.index(
        place / "full", far=0.05, calibrate=str(place / "things.csv"), folder=folder
    )
    assert given.threshold.n_items == 180
    n_trained = graft.load(place / "full").record.n_train
    assert any(f"{n_trained} of the 180 rows" in note for note in given.notes)


def test_changed_data_do_not_say_what_was_trained_on(place, tmp_path):
    run = shutil.copytree(place / "full", tmp_path / "full")
    shutil.copy(place / "things.csv", tmp_path / "things.csv")
    recipe = yaml.safe_load((run / "recipe.yaml").read_text("utf-8"))
    write_table(tmp_path / "changed.csv", n_per_class=20)
    recipe["data"] = str(tmp_path / "changed.csv")
    (run / "recipe.yaml").write_text(yaml.safe_dump(recipe), "utf-8")
    given = graft.index(
        run, str(place / "things.csv"), far=0.05, calibrate=str(place / "things.csv"),
        folder=tmp_path / "index",
    )  # fmt: skip
    assert any("is not known" in note and "have changed" in note for note in given.notes)


def test_a_threshold_that_cannot_be_found_leaves_no_index(place, shelf, tmp_path):
    with pytest.raises(InputError, match="unlike pairs"):
        made(place, shelf, tmp_path, far=1e-6)
    assert not (tmp_path / "index").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "nothing to do"),
        ({"add": True}, "--add needs data"),
        ({"data": "x", "add": True, "rebuild": True}, "--add and --rebuild"),
        ({"data": "x", "delete": ["a"]}, "--delete takes ids and no data"),
        ({"rebuild": True, "delete": ["a"]}, "--delete goes with no other change"),
        ({"rebuild": True, "calibrate": "x.csv"}, "--calibrate needs --far"),
    ],
)
def test_options_that_do_not_go_together(options, message, tmp_path):
    with pytest.raises(InputError, match=message):
        graft.index(tmp_path, folder=tmp_path, **options)


def test_answers_as_files(place, shelf, tmp_path):
    made(place, shelf, tmp_path)
    found = graft.search(place / "full", ["=cmd()", "the cat the"], k=2, folder=tmp_path / "index")
    write_answers_of_search(tmp_path / "a.csv", found)
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(r["query"], r["rank"]) for r in rows] == [
        ("'=cmd()", "1"), ("'=cmd()", "2"), ("the cat the", "1"), ("the cat the", "2"),
    ]  # fmt: skip
    assert rows[2]["kind"] == "animal" and rows[2]["column id"] == rows[2]["id"]
    write_answers_of_search(tmp_path / "a.jsonl", found)
    lines = (tmp_path / "a.jsonl").read_text().splitlines()
    objects = [json.loads(line) for line in lines]
    assert [len(o["hits"]) for o in objects] == [2, 2]
    assert objects[1]["hits"][0]["columns"]["kind"] == "animal"
    with pytest.raises(InputError, match=r"written as \.csv or \.jsonl"):
        write_answers_of_search(tmp_path / "a.txt", found)


def test_one_searcher_serves_many(place, shelf, tmp_path):
    made(place, shelf, tmp_path)
    with graft.Searcher(place / "full", folder=tmp_path / "index") as searcher:
        graft.index(place / "full", delete=["A0"], folder=tmp_path / "index")
        for _ in range(2):
            assert len(searcher.search("cat").answers[0].hits) == 6  # its own generation


def test_pictures(tmp_path):
    from tests.backbones.images import opened

    network = opened("torchvision:squeezenet1_1")
    colours = ("red", "teal", "white", "yellow")
    paths = [str(picture(tmp_path / f"{c}.png", (64, 64), c)) for c in colours]
    found = graft.index("unused", paths, folder=tmp_path / "index", backbone=network)
    assert found.n_rows == 4
    answers = graft.search(
        "unused", paths[2], k=1, folder=tmp_path / "index", backbone=network
    ).answers
    assert answers[0].hits[0].row.input == paths[2]
