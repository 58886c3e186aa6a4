"""Die on purpose: the named points at which tests of resuming kill a run."""

from __future__ import annotations

import os
import signal

FAIL_AT = "GRAFT_FAIL_AT"
"""The process kills itself at `POINT`, or `POINT:N` the N-th time there."""

POINTS = (
    "after_tensors",  # of a checkpoint, its manifest is not written
    "after_tmp",  # both are, nothing is on the disk for certain
    "before_rename",
    "after_rename",
    "mid_epoch",
    "during_eval",
    "phase_edge",
    "in_store",
    "before_manifest",  # of a store that is filled
    "in_artifact",
    "before_record",
    "before_cleaning",  # all is written, checkpoints are still there
    "in_segment",  # of an index, its vectors are there and its rows are not
    "before_swap",  # a generation of an index is written, and none knows of it
    "after_swap",  # it counts, what the last but one needed is still there
    "in_trial",  # of a sweep, a trial is proposed and nothing came of it yet
    "after_trial",  # its outputs are written, and the journal does not know of it
)

_times: dict[str, int] = {}


def fail_at(point: str) -> None:
    """Die here, as by a power cut, if the environment asks for it."""
    asked = os.environ.get(FAIL_AT)
    if asked is None:
        return
    wanted, _, nth = asked.partition(":")
    if wanted == point:
        _times[point] = _times.get(point, 0) + 1
        if _times[point] == int(nth or 1):
            os.kill(os.getpid(), signal.SIGKILL)
