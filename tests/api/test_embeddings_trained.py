"""Embeddings all the way: trained from labels, pairs, scores and triplets, saved, used, resumed."""

from __future__ import annotations

import csv
import json
import re

import numpy as np
import pytest

import graft
from graft.api.reporting import report
from graft.engine.settings import Listener
from graft.errors import InputError, ModelError, Stopped
from tests.tiny import FILLERS, WORDS, write_checkpoint, write_table

QUICKLY = {"epochs": 2, "batch_size": 16}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("place")
    write_checkpoint(folder / "bert")
    write_table(folder / "labelled.csv", n_per_class=40)
    random = np.random.default_rng(0)

    def text(kind: str) -> str:
        words = [str(w) for w in random.choice(FILLERS, 3)]
        return " ".join([*words, str(random.choice(WORDS[kind]))])

    def with_word(word: str) -> str:
        return " ".join([*(str(w) for w in random.choice(FILLERS, 3)), word])

    kinds, words = list(WORDS), [word for group in WORDS.values() for word in group]
    pairs, scored, triplets = [], [], []
    for i in range(120):
        kind, other = kinds[i % 3], kinds[(i + 1) % 3]
        pairs.append((with_word(words[i % 15]), with_word(words[i % 15])))
        triplets.append((text(kind), text(kind), text(other)))
        alike = i % 2
        score = 4 * alike + float(random.random())
        word, another = words[i % 15], words[(i + 4) % 15]
        scored.append((with_word(word), with_word(word if alike else another), f"{score:.2f}"))
    tables = {
        "pairs": (("anchor", "positive"), pairs),
        "scored": (("sentence1", "sentence2", "score"), scored),
        "triplets": (("anchor", "positive", "negative"), triplets),
    }
    for name, (header, rows) in tables.items():
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([header, *rows])
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "cache"))


def train(place, data, out, **options):
    settings = {"method": "full", **QUICKLY, **options}
    return graft.train(place / f"{data}.csv", model=str(place / "bert"), out=out, **settings)


def test_classes_of_one_item_are_refused_before_training(place, tmp_path):
    rows = "".join(f"{FILLERS[i % 10]} {i},class {i}\n" for i in range(30))
    (tmp_path / "one.csv").write_text(f"text,label\n{rows}", encoding="utf-8")
    asked = {"model": str(place / "bert"), "task": "embed", **QUICKLY}
    with pytest.raises(InputError, match="no class has two training rows"):
        graft.train(tmp_path / "one.csv", out=tmp_path / "run", **asked)
    assert not (tmp_path / "run").exists()
    run = graft.train(
        tmp_path / "one.csv", out=tmp_path / "run", objective="proxy_nca", method="full", **asked
    )
    assert run.record.task == "embed"
    with pytest.raises(ModelError, match="graft search"):
        run.predict(["the cat"])


def test_judgements_of_relevance_train_retrieval(place, tmp_path):
    random = np.random.default_rng(1)
    kinds = list(WORDS)
    with (tmp_path / "judged.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["query", "document", "relevance"])
        for i in range(60):
            query = f"{FILLERS[i % 10]} {WORDS[kinds[i % 3]][i % 5]} {i}"
            for k in range(3):
                word = WORDS[kinds[(i + (k == 2)) % 3]][i % 5]
                writer.writerow([query, f"{random.choice(FILLERS)} {word} {k}", 2 - k])
    asked = {"model": str(place / "bert"), "method": "full", "epochs": 4, "lr": 1e-3}
    run = graft.train(tmp_path / "judged.csv", out=tmp_path / "run", batch_size=8, **asked)
    record = run.record
    assert record.headline == "ndcg_at_10"
    assert record.after["test"]["ndcg_at_10"] > record.before["test"]["ndcg_at_10"]
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "all judgements of a query together" in page
    # a third of the judgements says that a document is not relevant
    assert record.n_train + record.n_validation + record.n_test == 120
    planned = graft.plan(tmp_path / "judged.csv", **{**asked, "epochs": 1, "batch_size": 8})
    assert planned.n_train == record.n_train
    found = graft.evaluate(run.folder, tmp_path / "judged.csv")
    assert found.headline == "ndcg_at_10" and found.metrics["ndcg_at_10"] > 0.3
    mined = graft.train(tmp_path / "judged.csv", out=tmp_path / "mined", mine=0.05, **asked)
    assert mined.record.headline == "ndcg_at_10"
    scored = graft.train(
        tmp_path / "judged.csv", out=tmp_path / "s", batch_size=8, objective="cosent", **asked
    )
    assert scored.record.headline == "spearman"


@pytest.mark.parametrize(
    ("data", "options", "headline"),
    [
        ("labelled", {"task": "embed"}, "mrr"),
        ("pairs", {}, "mrr"),
        ("scored", {"objective": "cosine_regression", "epochs": 12}, "spearman"),
        ("triplets", {"objective": "triplet", "margin": 0.5, "epochs": 12}, "triplet_accuracy"),
    ],
)
def test_training_brings_near_what_belongs_together(place, tmp_path, data, options, headline):
    run = train(place, data, tmp_path / "run", **{"epochs": 6, "lr": 1e-3, **options})
    record = run.record
    assert (record.task, record.headline) == ("embed", headline)
    epochs = record.phases[0].epochs
    assert epochs[-1].train_loss < 0.95 * epochs[0].train_loss
    if headline == "mrr":  # the others are half noise on 18 rows
        before, after = (part["test"][headline] for part in (record.before, record.after))
        assert after > before
    [phase] = record.phases
    measured = [epoch.scores for epoch in phase.epochs]
    assert all(list(scores) == [headline] for scores in measured)
    assert measured[-1][headline] == pytest.approx(record.after["validation"][headline], abs=1e-6)
    page = (run.folder / "report.html").read_text(encoding="utf-8")
    assert "embedding model" in page
    assert not (run.folder / "predictions.csv").exists()


@pytest.mark.parametrize("head", ["pooled", "projection:16"])
def test_the_model_opens_in_sentence_transformers_with_the_same_vectors(place, tmp_path, head):
    import sentence_transformers

    run = train(place, "pairs", tmp_path / "run", head=head, epochs=1)
    assert run.record.opens_with == "SentenceTransformer"
    texts = ["my old cat", "a red look", "three and four"]
    ours = graft.embed(run.folder, texts).features
    theirs = sentence_transformers.SentenceTransformer(str(run.folder / "model"), device="cpu")
    assert np.allclose(theirs.encode(texts), ours, atol=1e-5)
    assert np.allclose(np.linalg.norm(ours, axis=1), 1, atol=1e-5)
    assert ours.shape[1] == (16 if head != "pooled" else 64)


def test_frozen_blocks_are_read_from_the_store_item_by_item(place, tmp_path):
    stored = train(place, "pairs", tmp_path / "a", method="last:1", seed=3)
    cache = stored.record.phases[0].cache
    assert cache.used and cache.n_computed > 0
    fresh = train(place, "pairs", tmp_path / "b", method="last:1", seed=3, cache="off")
    assert stored.record.weights_sha256 == fresh.record.weights_sha256
    one, other = ([e.scores for e in run.record.phases[0].epochs] for run in (stored, fresh))
    assert one == other and "mrr" in one[0]


def test_a_phase_for_a_head_without_parameters_is_left_out(place, tmp_path):
    run = train(place, "pairs", tmp_path / "run", method="lp-ft", epochs=1)
    assert [phase.name for phase in run.record.phases] == ["full"]
    assert any("`probe` is left out" in note for note in run.record.notes)
    with pytest.raises(InputError, match="every parameter is frozen"):
        train(place, "pairs", tmp_path / "other", method="probe", epochs=None, batch_size=None)


def test_micro_batches_give_the_same_steps(place, tmp_path):
    write_checkpoint(tmp_path / "still", dropout=0.0)
    texts = ["my old cat", "a red look", "three and four"]
    found = []
    for size in (None, 5):
        run = graft.train(
            place / "pairs.csv",
            model=str(tmp_path / "still"),
            out=tmp_path / f"run-{size}",
            method="full",
            lr=1e-3,
            epochs=1,
            batch_size=16,
            micro_batch_size=size,
        )
        found.append(graft.embed(run.folder, texts).features)
    untouched = graft.embed(str(tmp_path / "still"), texts).features
    untouched /= np.linalg.norm(untouched, axis=1, keepdims=True)
    assert np.allclose(found[0], found[1], atol=1e-4)
    assert not np.allclose(found[0], untouched, atol=1e-2)


@pytest.mark.parametrize(
    "options",
    [
        {"data": "pairs", "learn_temperature": True},
        {"data": "labelled", "task": "embed", "objective": "softmax_with_center"},
    ],
)
def test_a_stopped_run_goes_on_to_the_same_bytes(place, tmp_path, monkeypatch, options):
    from graft.engine import loop

    whole = train(place, out=tmp_path / "whole", **options)
    signals = iter([0] * 7 + [15] + [0] * 1000)
    monkeypatch.setattr(loop, "asked", lambda: next(signals))
    with pytest.raises(Stopped):
        train(place, out=tmp_path / "run", **options)
    monkeypatch.undo()
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "cache"))
    resumed = train(place, out=tmp_path / "run", resume=True, **options)
    assert resumed.record.weights_sha256 == whole.record.weights_sha256
    one, other = ([e.scores for e in r.record.phases[0].epochs] for r in (resumed, whole))
    assert one == other and len(one) == 2


def test_evaluating_and_planning_know_embeddings(place, tmp_path):
    run = train(place, "labelled", tmp_path / "run", task="embed", epochs=1)
    found = graft.evaluate(run.folder, place / "labelled.csv")
    assert 0 < found.metrics["mrr"] <= 1
    pairs = graft.evaluate(run.folder, place / "scored.csv")
    assert -1 <= pairs.metrics["spearman"] <= 1
    planned = graft.plan(
        place / "pairs.csv", model=str(place / "bert"), method="last:1", epochs=2, batch_size=16
    )
    assert planned.phases[0].cached
    # 120 pairs, 84 of which train, 16 a step
    assert planned.phases[0].n_steps == 2 * 6


@pytest.mark.parametrize(("data", "resampled"), [("labelled", "items"), ("pairs", "groups")])
def test_a_threshold_is_judged_before_and_after(place, tmp_path, data, resampled):
    options = {"task": "embed"} if data == "labelled" else {}
    run = train(place, data, tmp_path / "run", method="full", lr=3e-3, **options)
    record = run.record
    assert record.pairs.resampled == resampled
    assert record.pairs.n_alike > 0 and record.pairs.n_unlike > 0
    for part in ("test", "validation"):
        assert 0 <= record.after[part]["equal_error_rate"] <= 1
    for name in ("auroc", "equal_error_rate"):
        span = record.intervals["after"][name]
        assert span.low <= span.value <= span.high and span.low < span.high
    assert record.intervals["change"]["auroc"].value > 0
    assert record.pairs.left_out and "tar_at_far_1e3" not in record.intervals["after"]
    if data == "labelled":
        found = graft.evaluate(run.folder, place / "labelled.csv")
        assert set(found.metrics) >= {"auroc", "equal_error_rate", "tar_at_far_1e2"}
        assert found.pairs.n_alike == 3 * 40 * 39 // 2


def test_unseen_classes_are_held_out_by_their_label(place, tmp_path):
    words = WORDS["number"]
    rows = [(f"{FILLERS[i % 10]} {words[i % 5]} {i}", f"class {i % 6}") for i in range(120)]
    path = tmp_path / "classes.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    run = graft.train(
        path,
        model=str(place / "bert"),
        task="embed",
        group="label",
        method="full",
        out=tmp_path / "run",
        **QUICKLY,
    )
    facts = json.loads((run.folder / "report.json").read_text(encoding="utf-8"))
    for count in facts["counts"]:
        assert sum(count[part] > 0 for part in ("train", "validation", "test")) == 1


def test_settings_of_other_tasks_are_refused(place, tmp_path):
    with pytest.raises(InputError, match="--label-smoothing has no meaning for embeddings"):
        train(place, "pairs", tmp_path / "a", label_smoothing=0.1)
    with pytest.raises(InputError, match="--margin is for embeddings"):
        train(place, "labelled", tmp_path / "b", margin=0.5)
    with pytest.raises(InputError, match="--margin is for embeddings"):
        train(place, "labelled", tmp_path / "b", margin=0)
    with pytest.raises(InputError, match="--dims 8;16: write widths"):
        train(place, "pairs", tmp_path / "c", dims="8;16")


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        ("pairs", {"items_per_class": 4}, "--items-per-class is for items with a class, and"),
        ("triplets", {"mining": "hard", "objective": "triplet"}, "--mining is for items with a"),
        ("pairs", {"batch_size": 1}, "`info_nce` compares a pair with the others of its batch"),
        ("scored", {"batch_size": 1}, "`cosent` compares .* --batch-size 1 leaves none; raise it"),
    ],
)
def test_settings_of_other_examples_are_refused(place, tmp_path, data, options, message):
    with pytest.raises(InputError, match=message):
        train(place, data, tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("data", "options"),
    [
        ("labelled", {"objective": "center"}),
        ("labelled", {"objective": "softmax_with_center", "center_weight": 0.1}),
        ("labelled", {"objective": "contrastive_all_pairs", "margin": 0.5}),
        ("triplets", {"objective": "triplet_margin", "margin": 0.5, "batch_size": 1}),
        ("pairs", {"guard": 0.1}),
    ],
)
def test_objectives_train_by_their_names(place, tmp_path, data, options):
    run = train(place, data, tmp_path / "run", task="embed", epochs=1, **{"lr": 1e-4, **options})
    assert run.record.phases[0].epochs[0].train_loss > 0


def test_the_page_shows_neighbours_and_how_to_compare(place, tmp_path):
    run = train(place, "labelled", tmp_path / "run", task="embed", epochs=2)
    page = (run.folder / "report.html").read_text(encoding="utf-8")
    for part in ("Nearest before", 'id="cosines-after"', 'id="scores"', 'id="near-after"'):
        assert part in page
    card = (run.folder / "model" / "README.md").read_text(encoding="utf-8")
    assert "sentence-similarity" in card and "cosine = vectors[0] @ vectors[1]" in card


def test_where_only_the_head_trains_there_is_one_map_and_neighbours_of_both(place, tmp_path):
    run = train(
        place, "labelled", tmp_path / "run", task="embed", head="projection:16", method="head"
    )
    facts = json.loads((run.folder / "report.json").read_text(encoding="utf-8"))
    assert facts["map"]["before"] is None and "nothing below the head" in facts["map"]["note"]
    [query, *_] = facts["embedding"]["queries"]
    assert query["before"] and query["after"] and query["before"] != query["after"]
    page = (run.folder / "report.html").read_text(encoding="utf-8")
    assert 'id="map-after"' in page and 'id="map-before"' not in page


def test_hard_negatives_are_mined_once_and_resumed_alike(place, tmp_path):
    notes = []
    listener = Listener(on_note=notes.append)
    run = train(place, "pairs", tmp_path / "run", mine=0.05, listener=listener)
    (note,) = (note for note in notes if "found among the training items" in note)
    assert sum(int(n) for n in re.findall(r"(\d+) (?:hard|pair)", note)) == 84
    train(place, "pairs", tmp_path / "far", mine=2, epochs=1, listener=listener)
    far = "0 hard negatives found among the training items; 84 pairs have none that far from their"
    assert any(note.startswith(far) for note in notes)
    again = train(place, "pairs", tmp_path / "again", mine=0.05)
    plain = train(place, "pairs", tmp_path / "plain")
    assert run.record.weights_sha256 == again.record.weights_sha256 != plain.record.weights_sha256
    with pytest.raises(InputError, match="--mine goes with pairs"):
        train(place, "triplets", tmp_path / "other", mine=0.05)


def test_the_page_draws_the_threshold_of_the_index(place, tmp_path):
    run = train(place, "labelled", tmp_path / "run", task="embed")
    page = (run.folder / "report.html").read_text(encoding="utf-8")
    assert "the highest balanced accuracy on these same pairs" in page
    assert "index, which accepts" not in page
    found = graft.index(run.folder, str(place / "labelled.csv"), far=0.1)
    again = report(run.folder).read_text(encoding="utf-8")
    assert "index, which accepts 0.1 of unlike pairs" in again
    assert f"at a cosine of {found.threshold.score:.3f}" in again
