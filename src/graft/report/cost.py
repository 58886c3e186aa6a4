"""What the training cost, and what the feature cache saved of it.

A row is not recomputed when what crosses the cut is read back from a store. So for each phase

    rows saved = (rows of an epoch) × (epochs, one for a solved head) − (rows computed in the phase)

and the seconds saved are these rows times the measured seconds of computing one. Of two towers
nothing is said: a caption and a picture cost differently, and a picture is computed once for all of
its captions.
"""

from __future__ import annotations

from dataclasses import dataclass

from graft.phase_records import CacheRecord, PhaseRecord
from graft.records import RunRecord


@dataclass(frozen=True)
class Saved:
    """Say what one phase did not compute anew.

    Args:
        n_rows: not recomputed.
        seconds_per_row: measured; None where no pass at this cut was timed.
    """

    phase: str
    n_rows: int
    seconds_per_row: float | None

    @property
    def seconds(self) -> float | None:
        """Return the seconds saved, None where they are not known."""
        return None if self.seconds_per_row is None else self.n_rows * self.seconds_per_row


def saved_by_cache(record: RunRecord) -> tuple[Saved, ...]:
    """Return what each phase that read a store did not compute anew."""
    if record.task == "match":
        return ()
    return tuple(
        Saved(phase.name, _rows(record, phase), _seconds_per_row(record, phase.cache))
        for phase in record.phases
        if phase.cache.used and _rows(record, phase) > 0
    )


def _rows(record: RunRecord, phase: PhaseRecord) -> int:
    n_read = record.n_train * max(1, len(phase.epochs))
    n_read += record.n_validation * sum(e.validation_loss is not None for e in phase.epochs)
    return n_read - phase.cache.n_computed


def _seconds_per_row(record: RunRecord, cache: CacheRecord) -> float | None:
    """Return what a row took in a pass at this cut: of the phase, of the run, or of predicting."""
    passes = [cache, *(phase.cache for phase in record.phases)]
    if record.untouched is not None:
        passes.append(record.untouched)
    for found in passes:
        if found.cut == cache.cut and found.n_computed:
            return found.seconds / found.n_computed
    is_whole = record.untouched is not None and record.untouched.cut == cache.cut
    # predicting runs the frozen part and a head that costs next to nothing
    return record.predict_seconds if is_whole and record.predict_seconds else None
