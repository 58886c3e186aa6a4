"""Building, adding, deleting and rebuilding, and what readers see of it."""

from __future__ import annotations

import json
import threading
from dataclasses import replace

import numpy as np
import pytest

from graft.errors import DataError, InputError, ModelError, StorageError
from graft.locks import locked
from graft.retrieval.index import Index
from graft.retrieval.manifest import VECTORS, read_manifest
from graft.retrieval.segments import Batch
from graft.retrieval.writing import LOCK, add, build, delete, rebuild
from tests.retrieval.makers import ABOUT, WIDTH, batch, vectors


@pytest.fixture
def folder(tmp_path):
    build(tmp_path / "index", batch(), ABOUT)
    return tmp_path / "index"


def ids_of(index, k=100, **more):
    (hits,) = index.hits(vectors(0, 1), k, **more)
    return sorted((hit.row.id for hit in hits), key=lambda name: int(name[1:]))


def names(start, stop):
    return [f"r{i}" for i in range(start, stop)]


def test_a_row_is_nearest_to_itself_and_scores_are_cosines(folder):
    with Index.open(folder) as index:
        hits = index.hits(vectors(), 20)
        assert [h[0].row.id for h in hits] == names(0, 20)
        unit = vectors() / np.linalg.norm(vectors(), axis=1, keepdims=True)
        expected = np.sort(unit[0] @ unit.T)[::-1]
        np.testing.assert_allclose([h.score for h in hits[0]], expected, atol=1e-6)
        index.verify()


def test_metric_dot_keeps_lengths(tmp_path):
    build(tmp_path, batch(), replace(ABOUT, metric="dot"))
    with Index.open(tmp_path) as index:
        found = index.search(vectors(3, 4), 1)
        scores = vectors() @ vectors(3, 4)[0]
        assert found.rows[0, 0] == scores.argmax()
        assert found.scores[0, 0] == pytest.approx(scores.max(), rel=1e-6)
    rebuild(tmp_path)
    with Index.open(tmp_path) as index:
        assert index.search(vectors(3, 4), 1).scores[0, 0] == pytest.approx(scores.max(), rel=1e-6)


def test_adding_leaves_old_segments_as_they_are(folder):
    before = read_manifest(folder)
    path = folder / before.segments[0].name / VECTORS
    stamp = path.stat().st_mtime_ns, path.stat().st_ino
    after = add(folder, batch(20, 30), ABOUT)
    assert after.generation == before.generation + 1
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == stamp
    assert after.segments[0] == before.segments[0]
    with Index.open(folder) as index:
        assert ids_of(index) == names(0, 30)
        assert [h[0].row.id for h in index.hits(vectors(25, 30), 1)] == names(25, 30)


def test_many_steps_equal_one_index_of_the_same_rows(folder, tmp_path):
    add(folder, batch(20, 35), ABOUT)
    delete(folder, names(3, 8))
    add(folder, batch(35, 40), ABOUT)
    delete(folder, ["r36", "r0"])
    kept = [i for i in range(40) if i not in {0, 3, 4, 5, 6, 7, 36}]
    whole = batch(0, 40)
    build(tmp_path / "one", Batch(whole.vectors[kept], [whole.rows[i] for i in kept]), ABOUT)
    for _ in range(2):
        with Index.open(folder) as index, Index.open(tmp_path / "one") as one:
            assert index.n_rows == one.n_rows == 33
            for where in ([], ["colour=red"], ["price>=4", "colour!=blue"]):
                assert index.hits(vectors(), 10, where=where) == one.hits(
                    vectors(), 10, where=where
                )
            assert sorted(index.ids()) == sorted(one.ids())
        rebuild(folder)
    assert len(read_manifest(folder).segments) == 1


def test_a_filter_is_exact_on_its_rows(folder):
    with Index.open(folder) as index:
        assert ids_of(index, where=["colour=green"]) == [f"r{i}" for i in range(20) if i % 3 == 1]
        assert ids_of(index, where=["price<2"]) == names(0, 4)
        assert ids_of(index, where=["price<0"]) == []
        with pytest.raises(InputError, match="unknown column 'color': did you mean 'colour'"):
            ids_of(index, where=["color=red"])


def test_an_id_that_was_deleted_may_come_back(folder):
    delete(folder, ["r5"])
    changed = Batch(vectors(50, 51), [replace(batch().rows[5], input="new")])
    add(folder, changed, ABOUT)
    with Index.open(folder) as index:
        (hits,) = index.hits(vectors(50, 51), 1)
        assert (hits[0].row.id, hits[0].row.input) == ("r5", "new")
    delete(folder, ["r5"])
    with Index.open(folder) as index:
        assert "r5" not in index.ids()


def test_an_open_reader_keeps_its_generation(folder):
    old = Index.open(folder)
    add(folder, batch(20, 30), ABOUT)
    rebuild(folder)
    delete(folder, ["r1"])
    rebuild(folder)
    assert ids_of(old) == names(0, 20)
    assert ids_of(old, where=["colour=red"]) == [f"r{i}" for i in range(0, 20, 3)]
    old.close()
    with Index.open(folder) as new:
        assert ids_of(new) == ["r0", *names(2, 30)]


def test_old_files_go_once_neither_generation_needs_them(folder):
    for _ in range(3):
        rebuild(folder)
    kept = sorted(p.name for p in folder.iterdir())
    assert kept == ["index.json", "segment-000003", "segment-000004"]


def test_searching_while_others_write_never_shows_a_mixture(folder):
    # every generation holds rows in tens: an add brings ten, a delete takes the ten before
    delete(folder, names(10, 20))
    whole = {tuple(names(0, 10))}
    whole |= {tuple(names(i, i + 10)) for i in range(100, 160, 10)}
    whole |= {(*names(i, i + 10), *names(i + 10, i + 20)) for i in range(100, 150, 10)}
    whole.add((*names(0, 10), *names(100, 110)))
    seen, faults, stop = set(), [], threading.Event()

    def read():
        while not stop.is_set():
            try:
                with Index.open(folder) as index:
                    seen.add(tuple(ids_of(index)))
            except Exception as error:
                faults.append(error)
                return

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    last = names(0, 10)
    for start in range(100, 160, 10):
        add(folder, batch(start, start + 10), ABOUT)
        delete(folder, last)
        last = names(start, start + 10)
        rebuild(folder)
    stop.set()
    for reader in readers:
        reader.join()
    assert not faults, faults[0]
    assert seen <= whole, seen - whole
    assert len(seen) > 1


def test_k_is_clipped(folder):
    with Index.open(folder) as index:
        assert index.search(vectors(0, 2), 1000).rows.shape == (2, 20)


@pytest.mark.parametrize(
    ("queries", "k", "message"),
    [
        (
            np.ones((1, WIDTH + 1)),
            1,
            f"vectors of {WIDTH + 1} numbers, and the index holds {WIDTH}",
        ),
        (np.full((1, WIDTH), np.nan), 1, "query 1: its vector is not finite"),
        (np.ones((1, WIDTH)), 0, "k is 0"),
    ],
)
def test_queries_that_cannot_be_asked(folder, queries, k, message):
    with Index.open(folder) as index, pytest.raises(InputError, match=message):
        index.search(queries, k)


def test_an_empty_index_says_so(folder, tmp_path):
    delete(folder, names(0, 20))
    with Index.open(folder) as index, pytest.raises(InputError, match="holds no rows; add some"):
        index.search(vectors(0, 1), 1)
    rebuild(folder)
    with Index.open(folder) as index, pytest.raises(InputError, match="holds no rows; add some"):
        index.search(vectors(0, 1), 1)
    add(folder, batch(0, 5), ABOUT)
    with Index.open(folder) as index:
        assert ids_of(index) == names(0, 5)
    with pytest.raises(InputError, match="holds no index; make one"):
        Index.open(tmp_path / "nowhere")


def test_a_vector_that_is_not_finite_is_named_by_its_row(folder):
    bad = batch(20, 25)
    bad.vectors[2, 3] = np.nan
    for write in (
        lambda: add(folder, bad, ABOUT),
        lambda: build(folder.parent / "new", bad, ABOUT),
    ):
        with pytest.raises(
            DataError, match=r"things\.csv row 23: the vector of `r22` holds a value"
        ):
            write()
    bad.vectors[2] = 0
    with pytest.raises(DataError, match="zeros alone, which have no direction; drop the row"):
        add(folder, bad, ABOUT)
    assert sorted(p.name for p in folder.iterdir()) == ["index.json", "segment-000001"]


def test_ids_that_come_twice_are_refused(folder):
    twice = batch(20, 23)
    twice = Batch(twice.vectors, [twice.rows[0], twice.rows[1], twice.rows[0]])
    with pytest.raises(DataError, match="id `r20` names an earlier row too"):
        add(folder, twice, ABOUT)
    with pytest.raises(InputError, match="id `r18` and 1 more: in the index already"):
        add(folder, batch(18, 22), ABOUT)


def test_deleting_what_is_not_there(folder):
    with pytest.raises(InputError, match=r"id `r100`: is not in the index \(there is r10\)"):
        delete(folder, ["r1", "r100"])
    with Index.open(folder) as index:
        assert index.n_rows == 20
    delete(folder, ["r1"])
    with pytest.raises(InputError, match="id `r1`: was deleted already"):
        delete(folder, ["r1"])
    with pytest.raises(InputError, match="id `r2`: named twice"):
        delete(folder, ["r2", "r3", "r2"])


def test_another_model_metric_or_width_is_refused(folder):
    other = replace(ABOUT, model="b" * 64)
    with pytest.raises(ModelError, match="made by model aaaaaaaaaaaa, and this is bbbbbbbbbbbb"):
        add(folder, batch(20, 21), other)
    with pytest.raises(InputError, match="compares by cosine, not by dot"):
        add(folder, batch(20, 21), replace(ABOUT, metric="dot"))
    with pytest.raises(InputError, match="vectors of 9 numbers, and the index holds 8"):
        add(folder, batch(20, 21, width=9), ABOUT)
    with pytest.raises(InputError, match="metric 'l2' is not known"):
        build(folder.parent / "new", batch(), replace(ABOUT, metric="l2"))
    with pytest.raises(InputError, match="holds an index; pass --add"):
        build(folder, batch(), ABOUT)


def test_replacing_takes_another_model_and_the_new_rows_alone(folder):
    other = replace(ABOUT, model="b" * 64)
    build(folder, batch(50, 55), other, replacing=True)
    with Index.open(folder) as index:
        assert ids_of(index) == names(50, 55)
        assert index.manifest.generation == 2


def test_only_one_writes(folder):
    with locked(folder / LOCK), pytest.raises(StorageError, match="writes into it; wait"):
        add(folder, batch(20, 21), ABOUT)


def test_damage_is_found(folder):
    segment = folder / read_manifest(folder).segments[0].name
    data = bytearray((segment / VECTORS).read_bytes())
    data[-1] ^= 1
    (segment / VECTORS).write_bytes(data)
    with Index.open(folder) as index, pytest.raises(ModelError, match="is not what was written"):
        index.verify()
    (segment / VECTORS).write_bytes(data[:-8])
    with pytest.raises(ModelError, match="is damaged; build the index again"):
        Index.open(folder)
    (segment / VECTORS).unlink()
    with pytest.raises(ModelError, match="is missing; build the index again"):
        Index.open(folder)
    for text in ("{", "[]", '{"format": 2}'):
        (folder / "index.json").write_text(text)
        with pytest.raises(ModelError, match="is damaged"):
            Index.open(folder)
    (folder / "index.json").write_text(json.dumps({"format": 99}))
    for write in (lambda: Index.open(folder), lambda: build(folder, batch(), ABOUT)):
        with pytest.raises(ModelError, match="written by another graft"):
            write()
    build(folder, batch(), ABOUT, replacing=True)
    with Index.open(folder) as index:
        index.verify()
