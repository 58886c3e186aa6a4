"""Kill what is under test by SIGKILL, at a named point or after some time.

`forked` runs a function in a forked child, which is fast: the child inherits all imports.
`spawned` starts a fresh interpreter, as a user's machine would after a power cut.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

from graft.killpoints import FAIL_AT


def forked(run: Callable[[], object], point: str | None = None, after: float | None = None) -> bool:
    """Run in a child that dies at `point` or `after` seconds; return whether it was killed.

    Args:
        run: what the child does; what it returns is lost.
        point: one of the engine's points, `mid_epoch:3` for the third time there.
        after: seconds until the child is killed from outside.
    """

    def armed() -> int:
        os.environ.pop(FAIL_AT, None)
        if point is not None:
            os.environ[FAIL_AT] = point
        run()
        return 0

    return _was_killed(_wait(fork(armed), after))


def status_of(run: Callable[[], int], log: Path | None = None) -> int:
    """Run in a forked child and return its exit code, or minus the signal that ended it.

    Args:
        run: returns the exit code.
        log: file that takes what the child prints.
    """
    return os.waitstatus_to_exitcode(_wait(fork(run, log), None))


def fork(run: Callable[[], int], log: Path | None = None) -> int:
    """Run in a forked child and return its number."""
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        # the child does nothing with the parent's other threads
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        status = 1
        try:
            if log is not None:
                to = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
                os.dup2(to, 1)
                os.dup2(to, 2)
                sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
                sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
            status = run()
        except SystemExit as end:
            status = int(end.code or 0)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    return child


def spawned(
    arguments: list[str], environment: Mapping[str, str], after: float | None = None
) -> bool:
    """Run a fresh interpreter that may be killed after some seconds; return whether it was."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        _, errors = process.communicate(timeout=after)
    except subprocess.TimeoutExpired:
        process.kill()
        _, errors = process.communicate()
    if process.returncode not in (0, -signal.SIGKILL):
        raise AssertionError(f"the child failed: {errors[-2000:]}")
    return process.returncode == -signal.SIGKILL


def spawned_until(arguments: list[str], checkpoints: Path, n_more: int, after: float) -> bool:
    """Kill a fresh interpreter `after` seconds past its n-th new checkpoint; was it killed?"""
    goal = newest(checkpoints) + n_more
    process = subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while process.poll() is None and newest(checkpoints) < goal:
        time.sleep(0.001)
    time.sleep(after)
    process.kill()
    return process.wait() == -signal.SIGKILL


def newest(checkpoints: Path) -> int:
    """Return the number of the newest checkpoint, 0 where there is none."""
    if not checkpoints.is_dir():
        return 0
    return max((int(p.name) for p in checkpoints.iterdir() if p.name.isdecimal()), default=0)


def _wait(child: int, after: float | None) -> int:
    if after is None:
        return os.waitpid(child, 0)[1]
    end = time.monotonic() + after
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]


def _was_killed(status: int) -> bool:
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0, "the child failed; its traceback is above"
    return False
