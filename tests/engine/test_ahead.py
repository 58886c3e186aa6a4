"""Reading ahead: the same batches whatever the threads, faults where they belong, no leftovers."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import torch

from graft.backbones.image_processor import ImageProcessor
from graft.data.images import decode
from graft.engine.ahead import Ahead, default_workers
from graft.errors import DataError, Unread
from graft.tasks import streams
from graft.tasks.streams import TableStream
from tests.data.makers import picture
from tests.engine.streams import ArrayStream

PICTURES = ImageProcessor((8, 8), 8, (0.5,) * 3, (0.5,) * 3)
N = 9


@pytest.fixture
def files(tmp_path):
    return [str(picture(tmp_path / f"{i}.png", color=(20 * i, 0, 0))) for i in range(N)]


def stream_of(files, load=decode, **options):
    targets = {"label": np.arange(len(files))}
    return TableStream(files, PICTURES, targets=targets, key="k", load=load, **options)


def threads_of_ours() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("graft-ahead")]


@pytest.mark.parametrize("n_workers", [0, 1, 3])
@pytest.mark.parametrize("budget_bytes", [0, 400, 10**6])
def test_batches_do_not_depend_on_the_threads(n_workers, budget_bytes, files):
    cuts = [np.array(rows) for rows in ([3, 1], [8, 8, 0], [2, 3], [], [5])]
    plain = stream_of(files)
    stream = stream_of(files, budget_bytes=budget_bytes)
    with Ahead(n_workers) as ahead:
        for rows, expected in zip(ahead.over(stream, cuts[:3]), cuts, strict=False):
            found = stream.batch(rows).inputs["x"]
            assert torch.equal(found, plain.batch(expected).inputs["x"])
    assert not stream._pending
    assert not threads_of_ours()


def test_the_next_steps_are_read_while_one_computes(files):
    began = threading.Event()

    def load(path):
        if path == files[2]:
            began.set()
        return decode(path)

    stream = stream_of(files, load)
    with Ahead(1) as ahead:
        for rows in ahead.over(stream, [np.array([i]) for i in range(4)]):
            stream.batch(rows)
            if rows[0] == 0:
                assert began.wait(10), "nothing was read ahead"


def test_a_broken_file_is_named_where_its_row_is_asked_for(files, tmp_path):
    (tmp_path / "4.png").write_bytes(b"no picture")
    stream = stream_of(files)
    seen = []
    with pytest.raises(DataError, match=r"4\.png"), Ahead(2) as ahead:
        for rows in ahead.over(stream, [np.array([i]) for i in range(N)]):
            stream.batch(rows)
            seen.append(int(rows[0]))
    assert seen == [0, 1, 2, 3]
    assert not threads_of_ours() and not stream._pending


def test_leaving_early_waits_for_no_more_than_what_runs(files):
    def load(path):
        time.sleep(0.05)
        return decode(path)

    stream = stream_of(files, load)
    began = time.perf_counter()
    with Ahead(1) as ahead:
        ahead.expect(stream, np.arange(N))
    assert time.perf_counter() - began < 0.3
    assert not threads_of_ours()


def test_a_stream_that_reads_nothing_is_left_alone():
    stream = ArrayStream({"x": torch.arange(4.0)}, {"label": torch.arange(4)})
    with Ahead(1) as ahead:
        cuts = [np.array([0, 1]), np.array([2])]
        assert [r.tolist() for r in ahead.over(stream, cuts)] == [[0, 1], [2]]
    assert not threads_of_ours()


def test_workers_are_at_least_one_and_few():
    assert 1 <= default_workers() <= 4


def test_a_reader_that_hangs_is_named_and_not_waited_for(files, monkeypatch):
    end = threading.Event()

    def load(path):
        if path == files[2]:
            # with one thread, all that was asked for before is there
            monkeypatch.setattr(streams, "MOST_SECONDS", 0.01)
            assert end.wait(60)
        return decode(path)

    stream = stream_of(files, load, row_name=lambda row: files[row])
    try:
        with (
            pytest.raises(Unread, match=r"2\.png: was not read within 0 s; .*--workers 0") as found,
            Ahead(1) as ahead,
        ):
            for rows in ahead.over(stream, [np.array([i]) for i in range(N)]):
                stream.batch(rows)
        assert found.value.exit_code == 2
        assert len(threads_of_ours()) == 1, "it was waited for"
    finally:
        end.set()
    while threads_of_ours():
        time.sleep(0.002)


def test_a_reader_that_dies_is_told_where_its_row_is_asked_for(files):
    def load(path):
        if path == files[1]:
            raise TimeoutError("the disk says so")
        return decode(path)

    stream = stream_of(files, load, row_name=lambda row: files[row])
    with (
        pytest.raises(DataError, match=r"1\.png: .*TimeoutError the disk says so.*--workers 0"),
        Ahead(1) as ahead,
    ):
        for rows in ahead.over(stream, [np.array([i]) for i in range(N)]):
            stream.batch(rows)
    assert not threads_of_ours()


def test_a_thread_that_cannot_be_started_is_told(files, monkeypatch):
    stream = stream_of(files, decode, row_name=lambda row: files[row])
    with Ahead(1) as ahead:
        assert ahead._pool is not None

        def refuse(*_):
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(ahead._pool, "submit", refuse)
        with pytest.raises(DataError, match=r"0\.png: .*and 1 more .*pass --workers 0") as found:
            ahead.expect(stream, np.array([0, 1]))
    assert len(str(found.value)) <= 200


def test_memory_that_a_thread_lacks_is_no_fault_of_the_file(files):
    def load(path):
        raise MemoryError

    stream = stream_of(files, load)
    with pytest.raises(MemoryError), Ahead(1) as ahead:
        for rows in ahead.over(stream, [np.array([0])]):
            stream.batch(rows)
