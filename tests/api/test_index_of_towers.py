"""`graft.index` and `graft.search` on two towers: both sides in one index, each item once."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest

import graft
from graft.api.answers_out import as_object
from graft.api.reporting import report
from graft.errors import DataError, InputError, ModelError
from tests.towers import COLOURS, train_towers

N_PICTURES, N_CAPTIONS = 40, 80
OPTIONS = {"threads": 1, "precision": "fp32", "workers": 0, "batch_size": 8}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("towers")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAFT_CACHE", str(folder / "cache"))
        train_towers(folder, **OPTIONS)
        yield folder


@pytest.fixture
def made(place, tmp_path):
    def make(data=None, **more):
        path = str(place / "data" / "captions.jsonl") if data is None else data
        return graft.index(place / "run", path, folder=tmp_path / "index", **more)

    return make


@pytest.fixture
def asked(place, tmp_path):
    def ask(query, **more):
        return graft.search(place / "run", query, folder=tmp_path / "index", **more)

    return ask


def lines_of(place):
    lines = (place / "data" / "captions.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def written(place, name, header, rows):
    path = place / "data" / name
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return str(path)


def ids_of(answers):
    return [[hit.row.id for hit in answer.hits] for answer in answers.answers]


def test_each_picture_and_each_caption_is_there_once(place, made, asked):
    found = made()
    assert found.n_of_side == {"image": N_PICTURES, "text": N_CAPTIONS}
    assert found.n_rows == found.n_added == N_PICTURES + N_CAPTIONS
    rows = lines_of(place)
    (pictures,) = ids_of(asked("the red", k=200))
    assert sorted(pictures) == sorted(row["image"] for row in rows)
    (texts,) = ids_of(asked("the red", k=200, side="text"))
    assert sorted(texts) == sorted(f"{r['image']}#{n}" for r in rows for n in (1, 2))
    first = asked("the red", k=1).answers[0].hits[0].row
    (line,) = (n for n, row in enumerate(rows, 1) if row["image"] == first.id)
    assert first.cells["captions"] == rows[line - 1]["captions"]
    assert (first.number, first.side) == (line, "image")
    caption = asked("the red", k=1, side="text").answers[0].hits[0].row
    assert (caption.cells["image"], caption.side) == (caption.owner, "text")
    assert caption.input == caption.cells["captions"]
    assert rows[caption.number - 1]["image"] == caption.owner


def test_a_query_finds_the_other_side_unless_said(place, made, asked):
    made()
    red = str(place / "data" / "images" / "red0.png")
    sides = {
        (query, side): asked(query, side=side, k=3) for query in ("the red is", red)
        for side in (None, "image", "text")
    }  # fmt: skip
    for (query, side), found in sides.items():
        expected = side or ("image" if query != red else "text")
        assert found.side == expected
        assert {hit.row.side for hit in found.answers[0].hits} == {expected}
        assert "red" in found.answers[0].hits[0].row.input
    itself = sides[red, "image"].answers[0].hits[0]
    assert (itself.row.id, itself.score) == ("images/red0.png", pytest.approx(1, abs=1e-5))
    assert as_object(sides[red, None].answers[0])["hits"][0]["side"] == "text"


def test_one_search_equals_vectors_compared_by_hand(place, made, asked):
    made()
    texts = [f"the {colour} look" for colour in COLOURS]
    pictures = [row["image"] for row in lines_of(place)]
    paths = [str(place / "data" / name) for name in pictures]
    scores = graft.embed_text(place / "run", texts) @ graft.embed_image(place / "run", paths).T
    found = asked(texts, k=5)
    for row, own in zip(scores, ids_of(found), strict=True):
        assert own == [pictures[i] for i in np.argsort(-row, kind="stable")[:5]]


def test_conditions_hold_beside_the_side(place, made, asked):
    path = written(
        place, "shelves.csv", ["image", "caption", "shelf"],
        [[r["image"], c, i % 3] for i, r in enumerate(lines_of(place)) for c in r["captions"]],
    )  # fmt: skip
    made(path)
    for side, n in (("image", 14), ("text", 28)):
        (answer,) = asked("red", k=100, side=side, where=["shelf=0"]).answers
        assert len(answer.hits) == n
        assert {hit.row.cells["shelf"] for hit in answer.hits} == {"0"}
        assert {hit.row.side for hit in answer.hits} == {side}


def test_add_delete_and_rebuild_keep_both_sides(place, made, asked, tmp_path):
    rows = lines_of(place)
    for name, some in (("one.jsonl", rows[:30]), ("two.jsonl", rows[30:])):
        text = "".join(json.dumps(row) + "\n" for row in some)
        (place / "data" / name).write_text(text, encoding="utf-8")
    made(str(place / "data" / "one.jsonl"))
    with pytest.raises(InputError, match=r"and \d+ more: in the index already"):
        made(add=True)
    added = made(str(place / "data" / "two.jsonl"), add=True)
    assert added.n_of_side == {"image": 40, "text": 80} and added.n_added == 30
    name = rows[0]["image"]
    run, folder = place / "run", tmp_path / "index"
    gone = graft.index(run, delete=[name], folder=folder)
    assert gone.n_of_side == {"image": 39, "text": 78}
    assert gone.n_deleted == 3, "a picture and its captions"
    gone = graft.index(run, delete=[f"{rows[31]['image']}#1"], folder=folder)
    assert gone.n_of_side == {"image": 39, "text": 77} and gone.n_deleted == 1
    before = [ids_of(asked("the red", k=99, side=side)) for side in ("image", "text")]
    assert name not in before[0][0]
    assert graft.index(run, rebuild=True, folder=folder).n_of_side == gone.n_of_side
    assert [ids_of(asked("the red", k=99, side=side)) for side in ("image", "text")] == before


def test_another_model_is_refused(place, made, tmp_path):
    made()
    out = place / "other"
    if not out.exists():
        graft.train(
            place / "data" / "captions.jsonl", model=place / "vit", method="head", epochs=1,
            text_model=str(place / "bert"), out=out, **OPTIONS,
        )  # fmt: skip
    with pytest.raises(ModelError, match=r"made by model [0-9a-f]{12}"):
        graft.search(out, "red", folder=tmp_path / "index")


@pytest.mark.parametrize("kind", ["hnsw", "qdrant"])
def test_the_other_ways_of_searching_find_the_same(place, made, asked, tmp_path, kind):
    library = {"hnsw": ("faiss", "faiss-cpu"), "qdrant": ("qdrant_client", "qdrant-client")}[kind]
    pytest.importorskip(library[0], reason=f"needs {library[1]}")
    queries = ["the red", "a blue is", str(place / "data" / "images" / "green1.png")]
    sides = ("image", "text")
    made()
    exact = {(q, s): asked(q, side=s, k=12) for q in queries for s in sides}
    more = {"kind": "hnsw"} if kind == "hnsw" else {"server": str(tmp_path / "qdrant")}
    found = made(rebuild=True, **more)
    if kind == "hnsw":
        assert [g.side for g in found.graphs] == ["image", "text"]
        assert [g.n_rows for g in found.graphs] == [N_PICTURES, N_CAPTIONS]
        assert all(min(g.recall, g.recall_across) >= 0.97 for g in found.graphs)
    else:
        assert found.n_of_side == {"image": N_PICTURES, "text": N_CAPTIONS}
    for (query, side), expected in exact.items():
        own, other = (a.answers[0].hits for a in (expected, asked(query, side=side, k=12)))
        assert [h.score for h in other] == pytest.approx([h.score for h in own], abs=1e-5)
        assert {h.row.side for h in other} == {side}
        # those that score the same may change places
        assert {h.row.id for h in other if h.score > own[-1].score + 1e-5} <= {
            h.row.id for h in own
        }
    name = lines_of(place)[0]["image"]
    gone = graft.index(place / "run", delete=[name], folder=tmp_path / "index")
    assert gone.n_of_side == {"image": N_PICTURES - 1, "text": N_CAPTIONS - 2}
    for side in sides:
        (answer,) = asked("red", side=side, k=200).answers
        assert len(answer.hits) == gone.n_of_side[side]
        assert not {hit.row.id for hit in answer.hits} & {name, f"{name}#1", f"{name}#2"}


def test_one_side_alone(place, made, asked):
    red = str(place / "data" / "images" / "red0.png")
    only = made(input="image")
    assert only.n_of_side == {"image": N_PICTURES}
    assert len(asked("red", k=1).answers[0].hits[0].row.cells["captions"]) == 2
    assert asked(red, k=1).side == "image", "there is nothing else to be found"
    with pytest.raises(InputError, match="the index holds no texts; add some with `graft index"):
        asked(red, side="text")
    assert made(input="captions", rebuild=True).n_of_side == {"text": N_CAPTIONS}
    assert asked("red", k=1).side == "text"
    folder = made(str(place / "data" / "images"), rebuild=True)
    assert folder.n_of_side == {"image": N_PICTURES}
    both = made(["the red look"], add=True)
    assert both.n_of_side == {"image": N_PICTURES, "text": 1}


def test_ids_of_pictures_and_of_captions(place, made, asked):
    rows = lines_of(place)[:3]
    of_pictures = [[f"P{i}", r["image"], c] for i, r in enumerate(rows) for c in r["captions"]]
    made(written(place, "p.csv", ["id", "image", "caption"], of_pictures))
    assert sorted(ids_of(asked("red", k=9))[0]) == ["P0", "P1", "P2"]
    assert "P1#2" in ids_of(asked("red", k=9, side="text"))[0]
    of_captions = [[f"C{i}", r[1], r[2]] for i, r in enumerate(of_pictures)]
    made(written(place, "c.csv", ["id", "image", "caption"], of_captions), rebuild=True)
    assert sorted(ids_of(asked("red", k=9))[0]) == sorted(r["image"] for r in rows)
    assert sorted(ids_of(asked("red", k=9, side="text"))[0]) == [f"C{i}" for i in range(6)]
    neither = [[i % 4, r[1], r[2]] for i, r in enumerate(of_pictures)]
    path = written(place, "n.csv", ["code", "image", "caption"], neither)
    with pytest.raises(DataError, match="names neither each picture nor each caption"):
        made(path, id="code", rebuild=True)


def test_a_caption_that_pictures_share_and_pictures_without_one(place, made, asked):
    told = [("red0", "the red"), ("red0", "the red"), ("red1", "the red"), ("red2", ""),
            ("gone", "no")]  # fmt: skip
    rows = [[f"images/{name}.png", caption] for name, caption in told]
    found = made(written(place, "few.csv", ["image", "caption"], rows))
    assert found.n_of_side == {"image": 3, "text": 2}
    assert found.n_skipped == 1 and "gone.png" in str(found.findings[0])
    assert found.notes == ("1 picture has no caption, and can only be found as pictures",)
    answers = asked("the red", side="text", k=2).answers[0].hits
    assert [h.row.owner for h in answers] == ["images/red0.png", "images/red1.png"]
    assert answers[0].score == answers[1].score


def test_thresholds_of_pictures_with_captions(place, made, asked):
    found = made(far=0.2)
    assert set(found.thresholds) == {"image-text", "text-text"}
    limit = found.threshold
    assert limit is found.thresholds["image-text"]
    assert (limit.source, limit.resampled) == ("validation rows of the run", "pictures")
    assert 0 < limit.far <= 0.2 and limit.score_low <= limit.score <= limit.score_high
    assert limit.n_genuine + limit.n_impostors == (limit.n_genuine // 2) * limit.n_genuine
    assert any("pictures found by pictures have no threshold" in note for note in found.notes)
    red = str(place / "data" / "images" / "red0.png")
    for query, side in (("the red", "image"), (red, "text"), ("the red", "text")):
        answers = asked(query, side=side, k=60)
        kind = "text-text" if query != red and side == "text" else "image-text"
        assert answers.threshold == found.thresholds[kind]
        known = [hit.score >= answers.threshold.score for hit in answers.answers[0].hits]
        assert [hit.is_known for hit in answers.answers[0].hits] == known
    alike = asked(red, side="image", k=50)
    assert alike.threshold is None and all(hit.is_known for hit in alike.answers[0].hits)
    note = "no threshold is known for pictures found by pictures: the nearest are shown"
    assert note in alike.notes


def test_the_report_draws_the_threshold_between_pictures_and_captions(place, tmp_path):
    run = shutil.copytree(place / "run", tmp_path / "run")
    graft.index(run, str(place / "data" / "captions.jsonl"), far=0.2)
    page = report(run).read_text(encoding="utf-8")
    assert "the run&#39;s index" in page or "the run's index" in page


def test_a_threshold_of_pictures_from_labels_stands_beside_the_others(place, made, asked, tmp_path):
    before = made(far=0.2).thresholds
    rows = [[f"images/{colour}{i}.png", colour] for colour in COLOURS for i in range(8)]
    path = written(place, "colours.csv", ["image", "label"], rows)
    folder = tmp_path / "index"
    found = graft.index(place / "run", far=0.1, calibrate=path, folder=folder)
    assert found.thresholds == {**before, "image-image": found.thresholds["image-image"]}
    red = str(place / "data" / "images" / "red0.png")
    assert asked(red, side="image").threshold == found.thresholds["image-image"]
    with pytest.raises(InputError, match="unlike pairs, and --far 1e-05 needs 100,000 or more"):
        graft.index(place / "run", far=1e-5, folder=folder)


def test_beyond_the_threshold_a_text_is_unknown(place, made, asked):
    made(far=0.01, calibrate=str(place / "data" / "captions.jsonl"))
    best = asked("the red look", k=40).answers[0]
    assert [hit.is_known for hit in best.hits] == sorted(
        (hit.is_known for hit in best.hits), reverse=True
    )
    assert not best.hits[-1].is_known
    nowhere = asked("the red look", k=40, where=["image=images/blue0.png"]).answers[0]
    assert nowhere.is_unknown


def test_sides_are_for_two_towers(place, tmp_path):
    graft.index(place / "bert", ["the red", "the blue"], folder=tmp_path / "index")
    with pytest.raises(InputError, match="--side is for models of pictures and texts"):
        graft.search(place / "bert", "red", side="text", folder=tmp_path / "index")
