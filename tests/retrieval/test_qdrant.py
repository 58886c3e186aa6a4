"""The same index in Qdrant: in memory, in a folder, and on the server that `QDRANT_URL` names."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from graft.errors import InputError, ModelError, StorageError
from graft.retrieval.manifest import read_manifest
from graft.retrieval.segments import Batch
from graft.retrieval.writing import add, build, delete, open_index, rebuild
from tests.faults.killer import forked
from tests.retrieval.makers import ABOUT, batch, vectors

pytest.importorskip("qdrant_client", reason="needs qdrant-client")
URL = os.environ.get("QDRANT_URL", "")


@pytest.fixture(params=["memory", "folder", "server"])
def place(request, tmp_path):
    if request.param == "server":
        if not URL:
            pytest.skip("needs a Qdrant server: set QDRANT_URL")
        return URL
    return ":memory:" if request.param == "memory" else str(tmp_path / "qdrant")


def ids_of(folder, **more):
    with open_index(folder) as index:
        (hits,) = index.hits(vectors(0, 1), 100, **more)
        return sorted(int(hit.row.id[1:]) for hit in hits)


@pytest.mark.slow
def test_many_steps_equal_the_embedded_index(place, tmp_path):
    def steps(folder, **more):
        build(folder, batch(), ABOUT, **more)
        add(folder, batch(20, 30), ABOUT)
        delete(folder, ["r3", "r25"])
        add(folder, Batch(vectors(60, 61), [replace(batch().rows[3], input="new")]), ABOUT)

    steps(tmp_path / "here")
    steps(tmp_path / "there", server=place)
    for _ in range(2):
        with open_index(tmp_path / "here") as here, open_index(tmp_path / "there") as there:
            assert here.n_rows == there.n_rows == 29
            assert set(here.columns) == set(there.columns)
            for where in (
                [],
                ["colour=red"],
                ["colour!=red", "price<4"],
                ["price=2.50"],
                ["price!=2.5"],
                ["code=07"],
                ["colour="],
            ):
                ours = here.hits(vectors(), 5, where=where)
                theirs = there.hits(vectors(), 5, where=where, exact=True)
                for one, other in zip(ours, theirs, strict=True):
                    assert [h.row for h in one] == [h.row for h in other]
                    assert [h.score for h in other] == pytest.approx(
                        [h.score for h in one], abs=1e-5
                    )
        rebuild(tmp_path / "there")


def test_refusals(place, tmp_path):
    build(tmp_path, batch(), ABOUT, server=place)
    with pytest.raises(InputError, match="id `r18` and 1 more: in the index already"):
        add(tmp_path, batch(18, 22), ABOUT)
    with pytest.raises(InputError, match="id `r100`: is not in the index"):
        delete(tmp_path, ["r100"])
    delete(tmp_path, ["r1"])
    with pytest.raises(InputError, match="id `r1`: was deleted already"):
        delete(tmp_path, ["r1"])
    with pytest.raises(ModelError, match="was made by model"):
        add(tmp_path, batch(20, 21), replace(ABOUT, model="b"))
    with pytest.raises(InputError, match="Qdrant orders numbers alone"):
        ids_of(tmp_path, where=["colour<red"])
    with pytest.raises(InputError, match="'abc' is no number, and `price` holds numbers"):
        ids_of(tmp_path, where=["price<abc"])
    with pytest.raises(InputError, match="unknown column"):
        ids_of(tmp_path, where=["color=red"])


def test_a_reader_keeps_its_generation(place, tmp_path):
    if place not in (":memory:", URL):
        pytest.skip("needs a Qdrant that two may open: a folder is one process's alone")
    build(tmp_path, batch(), ABOUT, server=place)
    with open_index(tmp_path) as old:
        add(tmp_path, batch(20, 30), ABOUT)
        delete(tmp_path, ["r1"])
        assert len(old.hits(vectors(0, 1), 100)[0]) == 20
        assert old.hits(vectors(1, 2), 1)[0][0].row.id == "r1"
    assert ids_of(tmp_path) == [i for i in range(30) if i != 1]


def test_replacing_leaves_the_last_collection_for_its_readers(place, tmp_path):
    build(tmp_path, batch(), ABOUT, server=place)
    names = []
    for start in (50, 60, 70):
        build(tmp_path, batch(start, start + 5), ABOUT, server=place, replacing=True)
        names.append(read_manifest(tmp_path).server["collection"])
        assert ids_of(tmp_path) == list(range(start, start + 5))
    with open_index(tmp_path) as index:
        there = {c.name for c in index.client.get_collections().collections}
    assert set(names[1:]) <= there
    assert names[0] not in there


@pytest.mark.slow
def test_killed_before_its_generation_counts(tmp_path):
    place = str(tmp_path / "qdrant")
    build(tmp_path / "index", batch(), ABOUT, server=place)
    assert forked(lambda: add(tmp_path / "index", batch(20, 30), ABOUT), "before_swap")
    assert ids_of(tmp_path / "index") == list(range(20))
    assert forked(lambda: delete(tmp_path / "index", ["r1"]), "before_swap")
    assert ids_of(tmp_path / "index") == list(range(20))
    add(tmp_path / "index", batch(20, 25), ABOUT)
    assert ids_of(tmp_path / "index") == list(range(25))


def test_a_server_that_does_not_answer(tmp_path):
    with pytest.raises(StorageError, match=r"^Qdrant: .*; check --server$"):
        build(tmp_path, batch(), ABOUT, server="http://127.0.0.1:9")
