"""What is said when a signal has stopped a run."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from graft.errors import Stopped


@contextmanager
def told_when_stopped(is_shown: bool, verb: str = "train") -> Iterator[None]:
    """Say, in one line, what was saved and how to go on; the signal's exit code follows.

    Args:
        verb: of the command that goes on with `--resume`.
    """
    try:
        yield
    except Stopped as stop:
        if is_shown:
            with suppress(OSError):  # the terminal may be gone
                print(f"graft: {_message(stop, verb)}", file=sys.stderr, flush=True)
        raise


def _message(stop: Stopped, verb: str) -> str:
    name = signal.Signals(stop.signal).name
    if not stop.folder:
        return f"stopped by {name} before the run began; nothing was written"
    saved = f", saved at {stop.saved}" if stop.saved else ", nothing is lost but the work in hand"
    return f"stopped by {name}{saved}; go on with: graft {verb} --resume --out {stop.folder}"
