"""Signals that end a run: the step in progress is finished and saved, and the run stops.

SIGINT (Ctrl-C), SIGTERM (a scheduler) and SIGHUP (the terminal is closed) are noted. While steps
are taken the loop looks for the note; elsewhere, while features are computed or a head is solved,
`Stopped` is raised at once, because nothing is written there that a crash could spoil. The second
signal ends the process as the system does, and finds the last checkpoint whole.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from graft.errors import Stopped

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
SAID = b"\ngraft: stopping after this step; a second signal ends it at once\n"


class _Note:
    """What was asked of this process."""

    signal: int = 0
    is_step_running: bool = False


@contextmanager
def stoppable() -> Iterator[None]:
    """Let signals stop what runs inside, in the way told above; `train` of the CLI stands here.

    A signal that is ignored stays ignored (`nohup`), and a thread that is not the main one cannot
    listen.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]
    before = {n: signal.getsignal(n) for n in numbers if signal.getsignal(n) != signal.SIG_IGN}
    _Note.signal = 0
    try:
        for number in before:
            signal.signal(number, _on_signal)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _Note.signal = 0


@contextmanager
def finishing_steps() -> Iterator[None]:
    """Only note signals inside the context; who takes steps there asks `asked`."""
    _Note.is_step_running = True
    try:
        yield
    finally:
        _Note.is_step_running = False


def asked() -> int:
    """Return the number of the signal that asked this process to stop, or 0."""
    return _Note.signal


def stop_if_asked() -> None:
    """Stop here if a signal asked for it.

    Raises:
        Stopped: one did.
    """
    if _Note.signal:
        raise Stopped(_Note.signal)


def _on_signal(number: int, _frame: FrameType | None) -> None:
    for name in SIGNALS:
        known = getattr(signal, name, None)
        if known is not None and signal.getsignal(known) != signal.SIG_IGN:
            signal.signal(known, signal.SIG_DFL)
    _Note.signal = number
    if not _Note.is_step_running:
        raise Stopped(number)
    with suppress(OSError):  # the terminal may be gone
        os.write(2, SAID)
