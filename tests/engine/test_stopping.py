"""Signals: the step is finished and saved, what is solved or stored stops at once, twice is now."""

from __future__ import annotations

import os
import signal

import pytest

from graft.engine import evaluation, order, solve, stopping
from graft.engine.checkpoint import load_checkpoint
from graft.engine.settings import Listener
from graft.engine.stopping import stop_if_asked, stoppable
from graft.errors import Stopped
from tests.engine.test_resume import newest_position
from tests.faults.killer import status_of
from tests.faults.recipes import train

FULL = "full, averaged"
N_STEPS_AN_EPOCH = 3


def send(number: int) -> None:
    os.kill(os.getpid(), number)


def signal_at(step: int, number: int = signal.SIGTERM, times: int = 1) -> Listener:
    """Return a listener that sends a signal while it is told of a step."""

    def on_step(event) -> None:
        if event.step == step:
            for _ in range(times):
                send(number)

    return Listener(on_step=on_step)


def stopped(folder, listener=None, name=FULL, every=0) -> Stopped:
    with pytest.raises(Stopped) as found, stoppable():
        train(name, folder, every, listener)
    return found.value


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_signal_finishes_the_step_and_saves(name, tmp_path):
    number = getattr(signal, name)
    before = signal.getsignal(number)
    stop = stopped(tmp_path, signal_at(2, number))
    assert stop.exit_code == {"SIGTERM": 143, "SIGINT": 130, "SIGHUP": 129}[name]
    assert stop.saved == "phase full, epoch 1, step 2"
    assert newest_position(tmp_path / "checkpoints") == (0, 0, 2)
    assert signal.getsignal(number) == before


def test_stopped_again_and_again_equals_never_stopped(tmp_path):
    for step in (1, 2, 3, 5):
        stopped(tmp_path, signal_at(step))
    assert train(FULL, tmp_path) == train(FULL, None)


def test_a_signal_during_validation_keeps_the_epochs_steps(tmp_path, monkeypatch):
    monkeypatch.setattr(order, "ROWS_OF_A_PASS", 4)
    sent = []

    def once(point):
        if not sent:
            sent.append(point)
            send(signal.SIGTERM)

    monkeypatch.setattr(evaluation, "fail_at", once)
    stop = stopped(tmp_path)
    assert sent == ["during_eval"]
    assert stop.saved == "phase full, epoch 1, step 3"
    assert newest_position(tmp_path / "checkpoints") == (0, 0, N_STEPS_AN_EPOCH)
    assert train(FULL, tmp_path) == train(FULL, None)


def test_a_signal_while_a_head_is_solved_stops_at_once(tmp_path, monkeypatch):
    def endless(*_args):
        send(signal.SIGTERM)
        for _ in range(1000):
            pass
        raise AssertionError("the solver went on")

    with monkeypatch.context() as patch:
        patch.setattr(solve, "search", endless)
        stop = stopped(tmp_path, name="probe")
    assert stop.exit_code == 143 and not stop.saved
    assert train("probe", tmp_path) == train("probe", None)


def test_a_signal_while_a_store_is_filled_stops_at_once(tmp_path):
    listener = Listener(on_rows=lambda *_: send(signal.SIGINT))
    stop = stopped(tmp_path, listener, "head")
    assert stop.exit_code == 130
    assert not (tmp_path / "checkpoints").exists()
    assert train("head", tmp_path) == train("head", None)


def test_a_second_signal_ends_the_process_and_spoils_nothing(tmp_path):
    def twice() -> int:
        with stoppable():
            train(FULL, tmp_path, 1, signal_at(5, times=2))
        return 0

    assert status_of(twice) == -signal.SIGTERM
    assert newest_position(tmp_path / "checkpoints") is not None
    assert train(FULL, tmp_path) == train(FULL, None)


def test_what_is_ignored_stays_ignored(tmp_path):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stoppable():
            send(signal.SIGHUP)
            stop_if_asked()
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_nothing_is_asked_outside(tmp_path):
    assert stopping.asked() == 0
    stop_if_asked()
    assert load_checkpoint(tmp_path, {}) == (None, ())
