"""Keep a run's checkpoints: what goes into one, when it is written, and how to go on from it."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from graft.engine.checkpoint import (
    Checkpoint,
    Position,
    load_checkpoint,
    optimizer_tensors,
    save_checkpoint,
)
from graft.engine.groups import locate
from graft.engine.loop import Loop, LoopState
from graft.engine.processes import Processes, assign, whole
from graft.engine.settings import Listener, Settings
from graft.engine.stopping import asked
from graft.errors import StorageError
from graft.killpoints import fail_at
from graft.phase_records import PhaseRecord
from graft.serial import build

PAUSES = (5.0, 15.0, 40.0)
"""Seconds to wait for space on a disk that is full, before each new attempt."""


class Keeper:
    """Write and read checkpoints of a run.

    Args:
        weights: fingerprint of the backbone's weights before training.
        listener: told where training waits for space.
    """

    def __init__(
        self, settings: Settings, processes: Processes, weights: str, listener: Listener
    ) -> None:
        self._settings = settings
        self._processes = processes
        self._listener = listener
        self._began_with = {"recipe": settings.recipe, "data": settings.data, "weights": weights}
        self._touched: set[str] = set()
        self._n_steps = 0

    def after(self, done: list[PhaseRecord]) -> Callable[[Loop, bool], None]:
        """Return what a loop calls where a checkpoint may be written."""

        def keep(loop: Loop, must: bool) -> None:
            self._n_steps += 1
            if not must:
                fail_at("mid_epoch")
            every = self._settings.checkpoint_every
            if not must and not (every and self._n_steps % every == 0):
                return
            self._touched |= loop.trained_tensors().keys()
            tensors = {f"optimizer.{k}": v for k, v in optimizer_tensors(loop.optimizer).items()}
            tensors |= {f"best.{k}": v for k, v in loop.best.items()}
            if loop.average is not None:
                tensors |= {f"average.{k}": v for k, v in loop.average.shadow.items()}
            at: dict[str, Any] = dataclasses.asdict(loop.at)
            at["best_loss"] = None if math.isinf(loop.at.best_loss) else loop.at.best_loss
            position = Position(loop.index, loop.at.epoch, loop.at.step)
            self._save(done, position, loop.model, loop.state, tensors, at)

        return keep

    def phase_done(
        self, done: list[PhaseRecord], model: nn.Module, state: nn.Module | None
    ) -> None:
        """Write a checkpoint between two phases."""
        fail_at("phase_edge")
        self._touched |= {m.place.name for m in locate(model) if m.parameter.requires_grad}
        self._save(done, Position(len(done)), model, state, {}, None)

    def restore(
        self, model: nn.Module, state: nn.Module | None
    ) -> tuple[list[PhaseRecord], LoopState | None, dict[str, Tensor]]:
        """Load the newest checkpoint; returns phases done, the loop's state and its tensors."""
        if self._settings.checkpoints is None:
            return [], None, {}
        found, notes = load_checkpoint(self._settings.checkpoints, self._began_with)
        for note in notes:
            self._listener.on_note(note)
        position = None if found is None else found.position
        # also nobody writes the next one before everybody has read this one
        if not self._processes.everywhere(position == self._processes.agree(position)):
            raise StorageError(
                f"{self._settings.checkpoints}: the processes see different checkpoints; "
                "put the run into a folder that all machines share"
            )
        if found is None:
            self._listener.on_note("no checkpoint to resume from: training begins anew")
            return [], None, {}
        own = _all_tensors(model, state)
        weights = under("model.", found.tensors)
        with torch.no_grad():
            for name, tensor in weights.items():
                assign(own[name], tensor)
        self._touched |= weights.keys()
        done = [build(PhaseRecord, d) for d in found.values["done"]]
        at = found.values["loop"]
        if at is None:
            return done, None, {}
        at["best_loss"] = math.inf if at["best_loss"] is None else at["best_loss"]
        return done, LoopState(**at), dict(found.tensors)

    def _save(
        self,
        done: list[PhaseRecord],
        position: Position,
        model: nn.Module,
        state: nn.Module | None,
        tensors: Mapping[str, Tensor],
        at: Mapping[str, Any] | None,
    ) -> None:
        if self._settings.checkpoints is None:
            return
        everything = _all_tensors(model, state)
        kept = {
            f"model.{name}": whole(t)
            for name, t in everything.items()
            if name in self._touched or not isinstance(t, nn.Parameter)
        }
        kept |= {name: whole(t) for name, t in tensors.items()}
        if not self._processes.is_main:
            return
        values = {"done": [dataclasses.asdict(d) for d in done], "loop": at}
        self._write(Checkpoint(position, kept, values, self._began_with))

    def _write(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint; where the disk is full, wait for space a few times."""
        assert self._settings.checkpoints is not None
        for seconds in PAUSES:
            try:
                save_checkpoint(self._settings.checkpoints, checkpoint)
                return
            except StorageError as error:
                if not error.is_full or asked():
                    raise
                self._listener.on_note(f"{error}; training waits {seconds:.0f} s for space")
            _pause(seconds)
        save_checkpoint(self._settings.checkpoints, checkpoint)


def _pause(seconds: float) -> None:
    """Wait, but no longer than until a signal asks to stop."""
    end = time.monotonic() + seconds
    while not asked() and (left := end - time.monotonic()) > 0:
        time.sleep(min(left, 0.5))


def _all_tensors(model: nn.Module, state: nn.Module | None) -> dict[str, Tensor]:
    """Return every parameter and buffer, a tied one under its lowest name."""
    found: dict[str, Tensor] = {m.place.name: m.parameter for m in locate(model, state)}
    found |= dict(model.named_buffers())
    if state is not None:
        found |= {f"state.{name}": b for name, b in state.named_buffers()}
    return found


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose name begins with a prefix, without it."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
