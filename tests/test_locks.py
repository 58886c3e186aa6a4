"""Locks: one process at a time, and none left behind by the dead."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from graft.locks import Held, is_held, locked
from tests.faults.killer import fork, status_of


@pytest.fixture
def other(tmp_path):
    """Another process that holds the lock until it is killed."""
    path = tmp_path / "x.lock"

    def hold() -> int:
        with locked(path):
            (tmp_path / "has").touch()
            time.sleep(60)
        return 0

    child = fork(hold)
    while not (tmp_path / "has").exists():
        time.sleep(0.002)
    yield child
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def test_a_lock_is_refused_with_who_holds_it(tmp_path, other):
    path = tmp_path / "x.lock"
    assert is_held(path)
    with pytest.raises(Held, match=rf"process {other} on .+"), locked(path):
        pass
    assert path.exists()


def test_the_lock_of_the_dead_is_free(tmp_path):
    path = tmp_path / "x.lock"
    with locked(path):
        assert path.read_text().startswith(f"process {os.getpid()} on ")
    assert not path.exists() and not is_held(path)

    def die() -> int:
        with locked(path):
            os.kill(os.getpid(), signal.SIGKILL)
        return 0

    assert status_of(die) == -signal.SIGKILL
    assert path.exists() and not is_held(path)
    with locked(path):
        pass


def test_waiting_ends_when_the_holder_does(tmp_path, other):
    told = []

    def on_wait(holder: str) -> None:
        told.append(holder)
        threading.Timer(0.05, os.kill, (other, signal.SIGTERM)).start()

    with locked(tmp_path / "x.lock", on_wait):
        assert told[0].startswith(f"process {other} on ")
