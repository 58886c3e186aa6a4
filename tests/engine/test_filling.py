"""Stores that cannot be written are done without; two runs never fill one store side by side."""

from __future__ import annotations

import os
import signal
import time

import pytest

from graft.engine import filling
from graft.engine.settings import Listener
from graft.engine.store import RowStore
from graft.storage import fault
from tests.faults.killer import fork
from tests.faults.recipes import train


def notes_of(name, folder) -> tuple[str, list[str]]:
    notes: list[str] = []
    return train(name, folder, None, Listener(on_note=notes.append)), notes


@pytest.mark.parametrize("name", ["head", "probe", "unfreeze"])
def test_a_store_that_cannot_be_written_is_done_without(name, tmp_path, monkeypatch):
    write = RowStore.write_group

    def full(self, index, rows, values):
        if index:
            raise fault("the feature store", self.folder, "pass --cache off", number=28)
        write(self, index, rows, values)

    monkeypatch.setattr(RowStore, "write_group", full)
    digest, notes = notes_of(name, tmp_path)
    assert digest == train(name, None)
    assert any("No space left on device" in n and "computed anew each time" in n for n in notes)
    # of those that were begun, only small ones of a single group are there
    folders = [path.parent for path in (tmp_path / "cache").glob("*/leaf*.bin")]
    assert all((folder / "manifest.json").exists() for folder in folders), "space is given back"


def test_a_folder_that_cannot_be_made_is_done_without(tmp_path):
    (tmp_path / "cache").touch()
    digest, notes = notes_of("head", tmp_path)
    assert digest == train("head", None)
    assert any("cannot write the feature store" in note for note in notes)


def test_what_has_no_place_is_not_begun(tmp_path, monkeypatch):
    monkeypatch.setattr(filling, "free_bytes", lambda _: 100)
    digest, notes = notes_of("head", tmp_path)
    assert digest == train("head", None)
    assert any("needs 768 B, 100 B are free" in note for note in notes)


def test_the_size_is_said_before_it_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(filling, "WORTH_SAYING", 1)
    monkeypatch.setattr(filling, "fill", lambda *_, **__: pytest.fail("written"))
    notes: list[str] = []
    with pytest.raises(pytest.fail.Exception, match="written"):
        train("head", tmp_path, None, Listener(on_note=notes.append))
    assert notes[-1] == f"features are stored: about 768 B in {tmp_path / 'cache'}"


def test_another_run_that_fills_the_store_is_waited_for(tmp_path, monkeypatch):
    """The first stays in the middle of the store; the second waits until it is gone."""
    monkeypatch.setattr(filling, "locked", patient)

    def first() -> int:
        def stay(*_args) -> None:
            (tmp_path / "filling").touch()
            time.sleep(60)

        train("head", tmp_path / "run", None, Listener(on_rows=stay))
        return 0

    (tmp_path / "run").mkdir()
    child = fork(first)
    while not (tmp_path / "filling").exists():
        time.sleep(0.002)
    notes: list[str] = []

    def on_note(note: str) -> None:
        notes.append(note)
        if "waiting for it" in note:
            os.kill(child, signal.SIGKILL)

    digest = train("head", tmp_path / "run", None, Listener(on_note=on_note))
    os.waitpid(child, 0)
    assert digest == train("head", None)
    assert [n for n in notes if n.startswith(f"process {child} on ")], notes
    assert not list((tmp_path / "run" / "cache").glob("*.lock"))


def patient(path, on_wait=None):
    from graft import locks

    locks.SECONDS_BETWEEN = 0.01
    return locks.locked(path, on_wait)


def test_a_store_that_is_complete_needs_no_lock(tmp_path, monkeypatch):
    first = train("head", tmp_path)
    monkeypatch.setattr(filling, "locked", lambda *_: pytest.fail("locked"))
    for path in tmp_path.glob("checkpoints"):
        path.rename(tmp_path / "old")
    assert train("head", tmp_path) == first
