"""The approximate graph: recall is measured and kept, deleted and added rows are treated right."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest

from graft.errors import MissingExtra
from graft.neighbours import normalised
from graft.retrieval.exact import rescored, top_k
from graft.retrieval.hnsw import build_graph, is_installed, recall
from graft.retrieval.index import Index
from graft.retrieval.manifest import read_manifest
from graft.retrieval.segments import Batch
from graft.retrieval.writing import add, build, delete, rebuild, stale_share
from tests.retrieval.makers import ABOUT, batch

faiss = pytest.importorskip("faiss", reason="needs faiss-cpu")


def many(start, stop):
    rows = batch(start, stop, 2).rows
    rng = np.random.default_rng(start)
    vectors = rng.normal(size=(stop - start, 6)) @ np.random.default_rng(0).normal(size=(6, 32))
    return Batch(vectors.astype(np.float32), rows)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hnsw") / "index"
    return folder, build(folder, many(0, 1500), ABOUT, kind="hnsw")


def found(index, queries, **more):
    return [{hit.row.id for hit in hits} for hits in index.hits(queries, 10, **more)]


def overlap(ours, theirs):
    return np.mean([len(a & b) / len(b) for a, b in zip(ours, theirs, strict=True)])


def test_recall_is_measured_and_kept(made):
    folder, manifest = made
    (graph,) = manifest.graphs
    assert graph.n_rows == 1500 and graph.recall_across is None
    with Index.open(folder) as index:
        index.verify()
        queries = many(5000, 5100).vectors
        assert overlap(found(index, queries), found(index, queries, exact=True)) > 0.95
        assert index.graph().n_rows == 1500


def test_recall_is_that_of_queries_from_elsewhere(monkeypatch):
    monkeypatch.setattr("graft.retrieval.hnsw.WIDTHS", (1,))
    monkeypatch.setattr("graft.retrieval.hnsw.CANDIDATES", 1)
    monkeypatch.setattr("graft.retrieval.hnsw.RECALL_AT", 3)
    monkeypatch.setattr("graft.retrieval.hnsw.N_LINKS", 3)
    rows, queries = (normalised(many(*n).vectors) for n in ((0, 3000), (5000, 5300)))
    built = build_graph([rows], n_threads=1)
    found = rescored([rows], queries, built.graph.candidates(queries, 3), 3).rows
    seen = recall(found, top_k([rows], queries, 3).rows)
    assert seen < 0.95
    assert built.recall == pytest.approx(seen, abs=0.08)


def test_scores_are_exact(made):
    folder, _ = made
    with Index.open(folder) as index:
        queries = many(5000, 5010).vectors
        for ours, theirs in zip(
            index.hits(queries, 5), index.hits(queries, 5, exact=True), strict=True
        ):
            true = {hit.row.id: hit.score for hit in theirs}
            assert all(hit.score == true[hit.row.id] for hit in ours if hit.row.id in true)


def test_deleted_rows_are_not_found_and_added_ones_are(tmp_path):
    build(tmp_path, many(0, 600), ABOUT, kind="hnsw")
    graphs = read_manifest(tmp_path).graphs
    add(tmp_path, many(600, 900), ABOUT)
    delete(tmp_path, [f"r{i}" for i in range(0, 900, 2)])
    after = read_manifest(tmp_path)
    assert after.graphs == graphs
    assert stale_share(after) == pytest.approx(1 / 3)
    queries = many(5000, 5050).vectors
    with Index.open(tmp_path) as index:
        near, exact = found(index, queries), found(index, queries, exact=True)
        assert overlap(near, exact) > 0.95
        assert all(int(name[1:]) % 2 for names in near for name in names)
        assert any(int(name[1:]) >= 600 for names in near for name in names)
        assert all(len(names) == 10 for names in near)
    rebuild(tmp_path)
    assert [g.n_rows for g in read_manifest(tmp_path).graphs] == [450]
    assert stale_share(read_manifest(tmp_path)) == 0


def test_an_open_reader_reads_a_graph_that_was_removed(tmp_path):
    build(tmp_path, many(0, 300), ABOUT, kind="hnsw")
    with Index.open(tmp_path) as index:
        for _ in range(2):
            rebuild(tmp_path, kind="exact")
        assert not list(tmp_path.glob("graph-*"))
        assert len(found(index, many(5000, 5001).vectors)[0]) == 10
    assert not read_manifest(tmp_path).graphs


def test_filters_are_exact_beside_a_graph(made):
    folder, _ = made
    with Index.open(folder) as index:
        queries = many(5000, 5020).vectors
        where = ["colour=red", "price<3"]
        assert found(index, queries, where=where) == found(index, queries, where=where, exact=True)
        assert found(index, queries, where=where)[0] == {"r0", "r3"}


def test_without_faiss(made, tmp_path, monkeypatch):
    folder, _ = made
    monkeypatch.setitem(sys.modules, "faiss", None)
    assert not is_installed()
    with pytest.raises(MissingExtra, match=r"pip install 'graft\[search\]'"):
        build(tmp_path, many(0, 10), ABOUT, kind="hnsw")
    assert not (tmp_path / "index.json").exists()
    assert build(tmp_path, many(0, 10), ABOUT).graphs == ()
    with Index.open(folder) as index:  # searched exactly instead
        queries = many(5000, 5005).vectors
        assert found(index, queries) == found(index, queries, exact=True)


def test_a_graph_is_made_where_size_asks_for_it(tmp_path, monkeypatch):
    monkeypatch.setattr("graft.retrieval.writing.GRAPH_FROM_ROWS", 100)
    assert build(tmp_path / "small", many(0, 99), ABOUT).graphs == ()
    assert build(tmp_path / "large", many(0, 100), ABOUT).graphs != ()
    other = replace(ABOUT, metric="dot")
    assert build(tmp_path / "exact", many(0, 100), other, kind="exact").graphs == ()
