"""The gradient loop of one phase.

Everything random is a pure function of (seed, phase, epoch, step): the order of rows, and dropout,
which each row of a step draws for itself (`draws.py`); what else is drawn, from a generator that is
seeded anew for each process and micro-batch. So a step can be repeated, and training goes on from a
checkpoint as if it had never stopped.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from graft.backbones.backbone import join
from graft.engine.ahead import N_STEPS, Ahead
from graft.engine.anchor import pull
from graft.engine.average import Average, begin_average
from graft.engine.evaluation import mean_loss, measured
from graft.engine.feeds import PhaseFeeds, Streams
from graft.engine.finite import (
    MOST_BAD_STEPS,
    Statistics,
    diverged,
    ends_finite,
    running_statistics,
    scale_and_clip,
)
from graft.engine.groups import STATE, Group, trainable
from graft.engine.memory import halved
from graft.engine.modes import set_modes
from graft.engine.optim import build_optimizer, set_rates
from graft.engine.order import Order, is_joint
from graft.engine.processes import Processes, assign, whole
from graft.engine.step import Step, accumulate, accumulate_joint, accumulate_whole
from graft.engine.stopping import asked, finishing_steps
from graft.engine.views import n_examples
from graft.errors import DataError, Diverged, OutOfMemory, Stopped, is_out_of_memory
from graft.methods.plan import Gradient
from graft.phase_records import EpochRecord
from graft.tasks.task import Loss, Progress, Task

Watch = Callable[[nn.Module], float]
"""Measures a model, in every process alike; leaves it as it was."""


@dataclass(frozen=True)
class StepEvent:
    """Tell a listener what one step did."""

    phase: str
    epoch: int
    step: int
    n_steps: int
    loss: float
    rate: float


@dataclass
class LoopState:
    """Where a phase stands; all of it goes into checkpoints."""

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    loss_count: float = 0.0
    best_loss: float = math.inf
    """What the best epoch was chosen by: its validation loss, or the task's criterion."""
    best_epoch: int | None = None
    n_bad: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    stopped: bool = False
    n_averaged: int = 0
    micro_batch_size: int | None = None
    """What fits, where memory did not suffice for what was asked."""


@dataclass
class Loop:
    """Run one gradient phase.

    Args:
        index: number of the phase in its plan.
        groups: rules and their parameters.
        splits: streams by split, `train` and perhaps `validation`.
        on_step: called after each step.
        checkpoint: called with the loop where one may be written: after a step, and, with True,
            where one must be: after an epoch, or because what comes next is not certain.
        n_workers: threads that read ahead.
        on_note: told what is done about a lack of memory.
        start: weights that the phase is pulled to, by name.
        watch: measures the model after each epoch, on rows that are none of the task's.
    """

    name: str
    index: int
    model: nn.Module
    state: nn.Module | None
    task: Task
    by: Gradient
    groups: tuple[Group, ...]
    feeds: PhaseFeeds
    splits: Mapping[str, Streams]
    processes: Processes
    seed: int
    on_step: Callable[[StepEvent], None]
    checkpoint: Callable[[Loop, bool], None]
    at: LoopState = field(default_factory=LoopState)
    best: dict[str, Tensor] = field(default_factory=dict)
    average: Average | None = None
    n_workers: int = 0
    on_note: Callable[[str], None] = lambda _: None
    start: Mapping[str, Tensor] = field(default_factory=dict)
    watch: Watch | None = None

    def __post_init__(self) -> None:
        self.ahead = Ahead()
        self._must_stop = 0
        self._has_shrunk = False
        self.order = Order(
            self.splits["train"],
            self.task,
            self.feeds,
            self.processes,
            self.index,
            self.seed,
            self.by.batch_size,
        )
        self.optimizer = build_optimizer(self.groups, self.by)
        self.step_module = Step(self.model, self.state, self.task)

    def begin_average(self, saved: Mapping[str, Tensor]) -> None:
        """Begin the moving average that the phase asks for, or go on with a checkpoint's."""
        if self.by.ema is None:
            return
        moving = {id(buffer) for buffer in running_statistics(self.step_module)}
        moving |= {id(member.parameter) for member in trainable(self.groups)}
        live = {name: t for name, t in self.trained_tensors().items() if id(t) in moving}
        self.average = begin_average(live, self.by.ema, n_updates=self.at.n_averaged, saved=saved)

    def run(self) -> tuple[EpochRecord, ...]:
        """Train until the last epoch is done or patience is over.

        Raises:
            Diverged: steps in a row, or the last epoch, had a loss that is not finite.
            OutOfMemory: not even one row a pass fits.
            Stopped: a signal asked for it; a checkpoint is written.
        """
        wrapped = self.processes.wrap(self.step_module)
        n_epochs = self.by.n_epochs(n_examples(next(iter(self.splits["train"].values()))))
        n_steps = n_epochs * len(self.order.batches(0))
        try:
            with Ahead(self.n_workers) as self.ahead, finishing_steps():
                while self.at.epoch < n_epochs and not self.at.stopped:
                    self._epoch(wrapped, n_steps)
        finally:
            self.processes.unwrap(wrapped)
        if self.best:
            self._load(self.best)
        elif self.average is not None:
            self.average.write()
        if not self.best and self.at.history and not ends_finite(self.at.history[-1]):
            raise Diverged(f"phase `{self.name}`: the loss ends not finite; lower the rate")
        if self.at.history and not any(epoch["train_loss"] for epoch in self.at.history):
            self.on_note(
                f"phase `{self.name}`: the loss was 0 in every epoch, so nothing was learned; "
                "where a row is compared with others of its batch, raise --batch-size"
            )
        return tuple(EpochRecord(**e) for e in self.at.history)

    @property
    def n_steps_done(self) -> int:
        return self.at.epoch * len(self.order.batches(0)) + self.at.step

    def trained_tensors(self) -> dict[str, Tensor]:
        """Return every tensor that this phase may change: parameters, and buffers.

        All of the task's state is among them: `after_step` may move what no rule trains.
        """
        found = {m.place.name: m.parameter for m in trainable(self.groups)}
        others = dict(self.model.named_buffers())
        if self.state is not None:
            tensors = (*self.state.named_parameters(), *self.state.named_buffers())
            others |= {join(STATE, name): tensor for name, tensor in tensors}
        return {**others, **found}

    def _epoch(self, wrapped: nn.Module, n_steps: int) -> None:
        began = time.perf_counter()
        set_modes(self.model)
        plan = self.order.batches(self.at.epoch)
        while self.at.step < len(plan):
            progress = Progress(self.at.epoch * len(plan) + self.at.step, n_steps, self.at.epoch)
            self._expect(plan, progress)
            try:
                loss = self._train_step(wrapped, plan[self.at.step], progress)
            except DataError:  # a file is gone: no weight has moved in this step
                if self.processes.n == 1:
                    self.checkpoint(self, True)
                raise
            self.at.step += 1
            if loss is not None:
                self.at.loss_sum += float(loss.total)
                self.at.loss_count += float(loss.count)
                mean = float(loss.total) / max(float(loss.count), 1e-12)
                rate = max(entry["lr"] for entry in self.optimizer.param_groups)
                self.on_step(
                    StepEvent(self.name, self.at.epoch, progress.step + 1, n_steps, mean, rate)
                )
            self._maybe_save(is_last=self.at.step == len(plan))
        try:
            with nullcontext() if self.average is None else self.average.in_place():
                validation, scores = self._validate()
                self._judge(validation, scores)
                watched = None if self.watch is None else self.watch(self.model)
        except Stopped as stop:
            self.checkpoint(self, True)
            raise self._stopped(stop.signal) from None
        self.at.history.append(
            {
                "epoch": self.at.epoch,
                # none where no step of the epoch was applied; 0 where no row of them counted
                "train_loss": self.at.loss_sum / max(self.at.loss_count, 1e-12)
                if self.at.loss_count or not self.at.n_bad
                else math.nan,
                "validation_loss": validation,
                "seconds": time.perf_counter() - began,
                "scores": scores,
                "remembered": watched,
            }
        )
        self.at.epoch += 1
        self.at.step, self.at.loss_sum, self.at.loss_count = 0, 0.0, 0.0
        self.checkpoint(self, True)

    def _expect(self, plan: list[np.ndarray], progress: Progress) -> None:
        """Let the next steps be read ahead, into the next epoch too."""
        self.order.expect(self.ahead, plan[self.at.step :][: 1 + N_STEPS], self.at.epoch)
        if len(plan) - self.at.step <= N_STEPS and progress.step + 1 < progress.n_steps:
            following = self.at.epoch + 1
            self.order.expect(self.ahead, self.order.batches(following)[:1], following)

    def _maybe_save(self, *, is_last: bool) -> None:
        """Write a checkpoint where it is time; the end of an epoch waits for its validation.

        Raises:
            Stopped: a signal asked to stop.
        """
        # several processes go by what they agreed on in the step
        signal = self._must_stop or (asked() if self.processes.n == 1 else 0)
        must = bool(signal) or self._has_shrunk
        if must or not is_last:
            self.checkpoint(self, must)
        self._has_shrunk = False
        if signal:
            raise self._stopped(signal)

    def _stopped(self, signal: int) -> Stopped:
        place = f"phase {self.name}, epoch {self.at.epoch + 1}, step {self.at.step}"
        return Stopped(signal, place)

    def _train_step(self, wrapped: nn.Module, rows: np.ndarray, progress: Progress) -> Loss | None:
        """Take one step; returns None where it was not applied because it was not finite."""
        set_rates(self.optimizer, self.by, progress.step, progress.n_steps)
        statistics = Statistics(self.step_module)
        loss = self._backward(wrapped, rows, progress, statistics)
        here = torch.tensor(float(asked()), dtype=loss.total.dtype)
        total, count, signal = self.processes.sum(torch.stack([loss.total, loss.count, here]))
        # every process stops after the same step, or some would wait for the others forever
        self._must_stop = int(signal) if self.processes.n == 1 else int(signal > 0) * 15
        parameters = [p for entry in self.optimizer.param_groups for p in entry["params"]]
        self.processes.average_whole(parameters)
        # gradients are sums, averaged over processes: make them the mean over the whole step
        scale = self.processes.n / max(float(count), 1e-12)
        norm = scale_and_clip(parameters, scale, self.by.clip)
        if not (math.isfinite(float(total)) and math.isfinite(norm)):
            statistics.put_back()
            self._refuse(rows, progress)
            return None
        self.at.n_bad = 0
        if self.by.l2_sp is not None:
            pull(self.optimizer, self.start, self.by.l2_sp)
        self.optimizer.step()
        # fused kernels move weights without counting it, and fingerprints go by that count
        torch.autograd.graph.increment_version(parameters)
        after = getattr(self.task, "after_step", None)
        if after is not None:
            after(self.model, self.state, progress)
        if self.average is not None:
            self.average.update()
            self.at.n_averaged = self.average.n_updates
        return Loss(total, count)

    def _backward(
        self, wrapped: nn.Module, rows: np.ndarray, progress: Progress, statistics: Statistics
    ) -> Loss:
        """Compute the gradients of a step, in smaller micro-batches where memory asks for it."""
        while True:
            try:
                self.optimizer.zero_grad(set_to_none=True)
                return self._accumulate(wrapped, rows, progress)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                if self.processes.n > 1:
                    # the others wait for this step's gradients
                    raise OutOfMemory(
                        "out of memory; pass a smaller --micro-batch-size and --resume"
                    ) from None
            # outside of the handler, which holds all that the step computed
            self.optimizer.zero_grad(set_to_none=True)
            statistics.put_back()
            has_norms = bool(statistics.live)
            size = halved(self._micro_batch_size, len(rows), least=2 if has_norms else 1)
            same = (
                "batch norm sees no more at once" if has_norms else "they add up to the same steps"
            )
            self.at.micro_batch_size, self._has_shrunk = size, True
            self.on_note(
                f"phase `{self.name}`, step {progress.step}: out of memory; from here on "
                f"{size} rows a pass; {same}"
            )

    def _accumulate(self, wrapped: nn.Module, rows: np.ndarray, progress: Progress) -> Loss:
        parts = self.order.parts(rows, progress, self._micro_batch_size)
        run = accumulate
        if is_joint(self.task):
            fits = self.processes.n == 1 and (self._micro_batch_size or len(rows)) >= len(rows)
            if not fits:
                run = partial(accumulate_joint, self.step_module)
            elif len(parts) > 1:
                run = accumulate_whole
        return run(
            wrapped,
            parts,
            progress,
            processes=self.processes,
            seed_part=lambda part: self._seed(progress.step, part),
        )

    @property
    def _micro_batch_size(self) -> int | None:
        return self.at.micro_batch_size or self.by.micro_batch_size

    def _refuse(self, rows: np.ndarray, progress: Progress) -> None:
        self.at.n_bad += 1
        if self.at.n_bad >= MOST_BAD_STEPS:
            rate = max(entry["lr"] for entry in self.optimizer.param_groups)
            stream = next(iter(self.splits["train"].values()))
            raise diverged(self.name, progress.step, rate, stream, rows)

    def _seed(self, step: int, part: int) -> None:
        words = [self.seed, self.index, step, part, self.processes.rank, 7]
        torch.manual_seed(int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> 1))

    def _validate(self) -> tuple[float | None, dict[str, float]]:
        """Return the mean loss of the validation rows, and what the task measures on them."""
        streams = self.splits.get("validation")
        if not streams or not len(next(iter(streams.values()))):
            return None, {}
        read: tuple[Any, ...] = (self.step_module, streams, self.feeds, self.processes)
        where: dict[str, Any] = {"split": "validation", "ahead": self.ahead}
        return mean_loss(*read, **where), measured(*read, **where)

    def _judge(self, validation: float | None, scores: Mapping[str, float]) -> None:
        """Keep the best epoch and stop when patience is over."""
        if self.by.patience is None or validation is None:
            return
        criterion = getattr(self.task, "criterion", None)
        value = validation if criterion is None else criterion(validation, scores)
        if math.isnan(value):
            return
        if value < self.at.best_loss:
            self.at.best_loss, self.at.best_epoch = value, self.at.epoch
            self.best = {k: whole(t).detach().clone() for k, t in self.trained_tensors().items()}
        elif self.at.epoch - (self.at.best_epoch or 0) >= self.by.patience:
            self.at.stopped = True

    def _load(self, tensors: Mapping[str, Tensor]) -> None:
        own = self.trained_tensors()
        for name, tensor in tensors.items():
            assign(own[name], tensor)
