"""What the report is told of embeddings: queries, cosines, classes, pairs as lines."""

from __future__ import annotations

import csv
import dataclasses

import numpy as np
import pytest

from graft.api import near_mapping
from graft.api.picturing import collect
from graft.api.showing import Judged
from graft.data.readers import read
from graft.data.split import Splits
from graft.data.tuples import Tuples, unfolded
from graft.metrics.embedding import embedding_scorer
from graft.neighbours import normalised
from graft.tasks.embed import Embed

RANDOM = np.random.default_rng(0)
ROWS = np.arange(20, 40)
SPLITS = Splits(np.arange(15), np.arange(15, 20), ROWS, "by hand", True)


@pytest.fixture(autouse=True)
def quick_map(monkeypatch):
    monkeypatch.setattr(near_mapping, "_laid_out", lambda points: points[:, :2].astype(float))


def write(path, header, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def judged(targets, n, drawn=None, **more):
    drawn = np.arange(n) if drawn is None else drawn
    before, after = RANDOM.normal(size=(2, n, 6))
    vectors = {"after": 3 * after[drawn], "before": before[drawn]} | more
    return Judged(ROWS, targets, normalised(after), drawn, untrained=normalised(before), **vectors)


def labelled(tmp_path, n_classes=4):
    rows = [(f"text {i} <b>", f"class {i % n_classes}") for i in range(40)]
    return read(write(tmp_path / "things.csv", ("text", "label"), rows))


def tuples(tmp_path, header, *columns):
    rows = [(f"one {i}", f"other {i}", *(c[i] for c in columns)) for i in range(40)]
    table = read(write(tmp_path / "pairs.csv", header, rows))
    return table, unfolded(table.take(ROWS))[1]


def test_labelled_items(tmp_path):
    table = labelled(tmp_path)
    classes = ("class 0", "class 1")  # the others come first in held-out rows
    numbers = np.array([(row % 4) for row in ROWS])
    found = judged(numbers, 20)
    facts = collect(Embed(classes), table, SPLITS, found)
    lying = facts.embedding
    assert lying.kind == "labels" and lying.n_items == 20
    for query in lying.queries:
        item = lying.items[query.item]
        row = int(item.place.rpartition(" ")[2]) - 1
        assert item.text == f"text {row} <b>" and item.label == f"class {row % 4}"
        for near in (*query.before, *query.after):
            assert near.belongs == (lying.items[near.item].label == item.label)
        assert len(query.before) == len(query.after) == 5
    assert len({i.place for i in lying.items}) == len(lying.items)  # each stands there once
    for when, outputs in ((0, found.untrained), (1, found.outputs)):
        expected = embedding_scorer(numbers, outputs).scores()["recall_at_1"]
        shares = [c.nearest[when] for c in lying.classes]
        assert np.average(shares, weights=[c.n_items for c in lying.classes]) == pytest.approx(
            expected
        )
    assert sum(lying.after.alike) == 4 * 10 and sum(lying.after.unlike) == 190 - 40
    assert (lying.before.low, lying.before.high) == (lying.after.low, lying.after.high)
    assert facts.map.groups == tuple(f"class {row % 4}" for row in ROWS)
    assert {r.name for r in facts.map.after.spreads} == set(facts.map.groups)
    assert facts.near_map.groups == facts.map.groups


def test_the_map_sees_directions_alone(tmp_path):
    table, numbers = labelled(tmp_path), ROWS % 4
    found = judged(numbers, 20)
    longer = dataclasses.replace(
        found, after=found.after * RANDOM.uniform(0.5, 9, size=(20, 1)), before=found.before
    )
    one, other = (collect(Embed(), table, SPLITS, f).map for f in (found, longer))
    assert np.allclose(one.after.x, other.after.x, atol=1e-3)


def test_more_classes_than_colours(tmp_path):
    facts = collect(Embed(), labelled(tmp_path, 10), SPLITS, judged(ROWS % 10, 20))
    coloured = {g for g in facts.map.groups if g}
    assert len(coloured) == 8
    lost = {c.name: 1 - c.nearest[1] for c in facts.embedding.classes}
    assert min(lost[c] for c in coloured) >= max(lost[c] for c in set(lost) - coloured)


def test_pairs(tmp_path):
    table, truth = tuples(tmp_path, ("anchor", "positive"))
    facts = collect(Embed(kind="pairs", objective="info_nce"), table, SPLITS, judged(truth, 40))
    lying = facts.embedding
    assert lying.kind == "pairs" and lying.n_items == 40
    for query in lying.queries:
        number = lying.items[query.item].text.removeprefix("one ")
        for near in query.after:
            text = lying.items[near.item].text
            assert text.startswith("other ")
            assert near.belongs == (text == f"other {number}")
    assert sum(lying.after.alike) == 20 < sum(lying.after.unlike)
    assert set(facts.map.groups) == {""} and facts.map.n_rows == 40
    for found in (facts.map, facts.near_map):
        assert 0 < len(found.links) <= 12
        pairs = {tuple(sorted(p)) for p in truth.members.tolist()}
        assert {tuple(sorted((k.one, k.other))) for k in found.links} <= pairs
        assert all(k.belongs for k in found.links)


def test_scored_pairs(tmp_path):
    scores = [f"{i % 11 / 2}" for i in range(40)]
    table, truth = tuples(tmp_path, ("sentence1", "sentence2", "score"), scores)
    found = judged(truth, 40)
    task = Embed(kind="scores", objective="cosent")
    facts = collect(task, table, SPLITS, found)
    lying = facts.embedding
    assert lying.kind == "scores" and lying.after is None
    assert lying.scores == tuple(truth.scores.tolist())
    one, other = (found.outputs[truth.members[:, r]] for r in (0, 1))
    assert lying.cosines_after == pytest.approx((one * other).sum(1).tolist(), abs=1e-4)
    high = [k for k in facts.map.links if k.belongs]
    score_of = {tuple(m): s for m, s in zip(truth.members.tolist(), truth.scores, strict=True)}
    low = [k for k in facts.map.links if not k.belongs]
    worst = min(score_of[k.one, k.other] for k in high)
    assert worst >= max(score_of[k.one, k.other] for k in low)


def test_vectors_that_are_not_finite_leave_the_facts_bare(tmp_path):
    found = judged(ROWS % 4, 20)
    found.outputs[3, 1] = np.nan
    lying = collect(Embed(), labelled(tmp_path), SPLITS, found).embedding
    assert lying.queries == () and lying.after is None and lying.classes == ()


def test_links_of_a_drawn_map_join_what_is_drawn(tmp_path):
    table, truth = tuples(tmp_path, ("anchor", "positive"))
    drawn = np.arange(0, 40, 3)
    found = judged(truth, 40, drawn=drawn)
    facts = collect(Embed(kind="pairs", objective="info_nce"), table, SPLITS, found)
    pairs = {tuple(p) for p in truth.members.tolist()}
    for link in facts.map.links:
        assert (int(drawn[link.one]), int(drawn[link.other])) in pairs


def test_one_class_has_no_histogram(tmp_path):
    facts = collect(Embed(), labelled(tmp_path, 1), SPLITS, judged(np.zeros(20, int), 20))
    assert facts.embedding.after is None and facts.embedding.classes == ()
    assert facts.embedding.queries


def test_binary_pairs_are_told_by_their_score(tmp_path):
    scores = [str(i % 2) for i in range(40)]
    table, truth = tuples(tmp_path, ("sentence1", "sentence2", "score"), scores)
    assert isinstance(truth, Tuples) and truth.is_binary
    lying = collect(
        Embed(kind="binary", objective="contrastive"), table, SPLITS, judged(truth, 40)
    ).embedding
    assert lying.kind == "binary"
    assert sum(lying.after.alike) == sum(lying.after.unlike) == 10
