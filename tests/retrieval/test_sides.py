"""Two sides in one index: a search of either looks at nothing of the other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from graft.errors import DataError, InputError
from graft.retrieval.exact import top_k
from graft.retrieval.hnsw import build_graph, recall
from graft.retrieval.index import Index
from graft.retrieval.manifest import read_manifest
from graft.retrieval.segments import Batch
from graft.retrieval.writing import add, build, delete, rebuild
from tests.retrieval.makers import ABOUT, batch, vectors


def sided(start=0, stop=20):
    """Rows of both sides in turns; every text belongs to the picture before it."""
    made = batch(start, stop)
    rows = [
        replace(row, side="text", owner=f"r{i - 1}") if i % 2 else replace(row, side="image")
        for i, row in enumerate(made.rows, start)
    ]
    return Batch(made.vectors, rows)


def found(folder, side, k=30, **more):
    with Index.open(folder) as index:
        (hits,) = index.hits(vectors(3, 4), k, side=side, **more)
        return [hit.row.id for hit in hits]


def test_a_search_finds_one_side_over_many_segments(tmp_path):
    build(tmp_path, sided(), ABOUT)
    add(tmp_path, sided(20, 33), ABOUT)
    every = vectors(0, 33)
    every = every / np.linalg.norm(every, axis=1, keepdims=True)
    order = np.argsort(-(every @ every[3]), kind="stable").tolist()
    for side, rest in (("image", 0), ("text", 1)):
        assert found(tmp_path, side) == [f"r{i}" for i in order if i % 2 == rest]
        assert found(tmp_path, side, where=["colour=red"]) == [
            f"r{i}" for i in order if i % 2 == rest and i % 3 == 0
        ]
    delete(tmp_path, ["r4"])
    assert "r4" not in found(tmp_path, "image") and "r5" not in found(tmp_path, "text")
    left = [found(tmp_path, side) for side in ("image", "text")]
    assert list(map(len, left)) == [16, 15]
    rebuild(tmp_path)
    assert [found(tmp_path, side) for side in ("image", "text")] == left
    assert [s.side for s in read_manifest(tmp_path).segments] == ["image", "text"]
    with pytest.raises(InputError, match="no rows of the side 'sound'"):
        found(tmp_path, "sound")


def test_no_id_may_name_rows_of_both(tmp_path):
    twice = sided(0, 2)
    twice = Batch(twice.vectors, [twice.rows[0], replace(twice.rows[1], id="r0")])
    with pytest.raises(DataError, match="id `r0` names an earlier row too"):
        build(tmp_path, twice, ABOUT)
    assert not (tmp_path / "index.json").exists()


def test_a_graph_is_measured_by_queries_of_the_other_side(tmp_path, monkeypatch):
    pytest.importorskip("faiss", reason="needs faiss-cpu")
    rng = np.random.default_rng(0)
    base = rng.normal(size=(6, 32))
    images = (rng.normal(size=(2000, 6)) @ base).astype(np.float32)
    # texts lie elsewhere, as those of two towers do
    texts = (rng.normal(size=(600, 6)) @ base + 4 * rng.normal(size=32)).astype(np.float32)
    images, texts = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (images, texts))
    built = build_graph([images], n_threads=1, across=[texts])
    assert built.recall >= 0.97 and built.recall_across >= 0.97
    true = top_k([images], texts, 10).rows
    assert recall(built.graph.candidates(texts, 10), true) == pytest.approx(
        built.recall_across, abs=0.05
    )
    # a narrow search that does for pictures is not enough, where texts need a wider one
    monkeypatch.setattr("graft.retrieval.hnsw.WIDTHS", (1,))
    monkeypatch.setattr("graft.retrieval.hnsw.CANDIDATES", 1)
    narrow = build_graph([images], n_threads=1, across=[texts])
    assert narrow.recall_across is not None and narrow.recall_across != narrow.recall
    assert build_graph([images], n_threads=1).recall_across is None


def test_rows_added_behind_a_graph_are_found_on_their_side(tmp_path):
    pytest.importorskip("faiss", reason="needs faiss-cpu")
    build(tmp_path, sided(0, 200), ABOUT, kind="hnsw")
    add(tmp_path, sided(200, 260), ABOUT)
    assert [g.n_rows for g in read_manifest(tmp_path).graphs] == [100, 100]
    for side in ("image", "text"):
        exact = found(tmp_path, side, 10, exact=True)
        near = found(tmp_path, side, 10)
        assert len(set(exact) & set(near)) >= 9
        assert {int(i[1:]) % 2 for i in near} == {0 if side == "image" else 1}
    with Index.open(tmp_path) as index:
        (hits,) = index.hits(vectors(250, 251), 1, side="image")
        assert hits[0].row.id == "r250"
        index.verify()
