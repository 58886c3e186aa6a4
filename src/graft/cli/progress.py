"""Progress bars with the time left, one line per phase."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from graft.cli.show import errors
from graft.engine.loop import StepEvent
from graft.engine.settings import Listener
from graft.phase_records import PhaseRecord
from graft.report.words import readable_cut
from graft.wording import human_bytes


class ProgressBars:
    """Show a run's phases while it goes on; prints to the error stream."""

    def __init__(self, *, enabled: bool) -> None:
        self._enabled = enabled
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[count]}"),
            TextColumn("{task.fields[detail]}"),
            TimeRemainingColumn(),
            console=errors,
            transient=True,
            disable=not enabled,
        )
        self.notes: list[str] = []
        """What was noted so far."""
        self._task: TaskID | None = None
        self._pass: TaskID | None = None

    def __enter__(self) -> ProgressBars:
        self._progress.start()
        return self

    def __exit__(self, *_: Any) -> None:
        with suppress(OSError):  # the terminal may be gone
            self._progress.stop()

    def listener(self) -> Listener:
        """Return what the engine tells its progress to."""
        if not self._enabled:
            return Listener()
        return Listener(self._begin, self._step, self._end, self._note, self._rows)

    def _begin(self, name: str, index: int, n_phases: int, cut: str) -> None:
        title = f"phase {index + 1}/{n_phases} {name}"
        self._task = self._progress.add_task(title, total=None, detail=readable_cut(cut), count="")

    def _step(self, event: StepEvent) -> None:
        assert self._task is not None
        detail = f"loss {event.loss:.3f}"
        self._progress.update(
            self._task,
            total=event.n_steps,
            completed=event.step,
            detail=detail,
            count=f"{event.step}/{event.n_steps} steps",
        )

    def _rows(self, what: str, done: int, n: int) -> None:
        """Show a pass that computes what is stored; its bar goes when it is done."""
        if self._pass is None:
            self._pass = self._progress.add_task(
                "computing features", total=n, detail=what, count=""
            )
        self._progress.update(self._pass, completed=done, detail=what, count=f"{done / n:.0%}")
        if done == n:
            self._progress.remove_task(self._pass)
            self._pass = None

    def _end(self, record: PhaseRecord) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None
        errors.print(
            f"  {record.name:<10} {_outcome(record)}", style="dim", markup=False, soft_wrap=True
        )

    def _note(self, note: str) -> None:
        self.notes.append(note)
        errors.print(f"  note: {note}", markup=False, soft_wrap=True)


def _outcome(record: PhaseRecord) -> str:
    parts = []
    if record.convex is not None:
        how = record.convex.chosen_by
        how = "as given" if how == "given" else f"by {how}"
        parts.append(f"{record.convex.outcome}, l2 {record.convex.l2:.2g} {how}")
    if record.epochs:
        last = record.epochs[-1]
        n = len(record.epochs)
        parts.append(f"{n} epoch{'' if n == 1 else 's'}, loss {last.train_loss:.3f}")
        if last.validation_loss is not None:
            parts.append(f"validation {last.validation_loss:.3f}")
    if record.cache.used:
        size = human_bytes(record.cache.size_bytes)
        parts.append(f"stored {record.cache.cut} ({size})")
    elif record.cache.reason:
        parts.append(record.cache.reason)
    parts.append(f"{record.seconds:.1f} s")
    return " · ".join(parts)
