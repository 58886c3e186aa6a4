"""The gradient loop of one phase.

Everything random is a pure function of (seed, phase, epoch, step, process): the order of rows, and
dropout, whose generator is seeded anew at each step. So a step can be repeated, and training goes
on from a checkpoint as if it had never stopped.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from graft.backbones.backbone import join
from graft.data.sampling import batches, shares
from graft.engine.ahead import N_STEPS, Ahead
from graft.engine.average import Average, begin_average
from graft.engine.feeds import PhaseFeeds, Streams
from graft.engine.groups import STATE, Group, trainable
from graft.engine.modes import set_modes
from graft.engine.optim import build_optimizer, set_rates
from graft.engine.processes import Processes, assign, is_shard, whole
from graft.engine.replay import evaluating
from graft.engine.step import Part, Step, accumulate, accumulate_joint
from graft.engine.views import numbers
from graft.errors import Diverged
from graft.methods.plan import Gradient
from graft.records import EpochRecord
from graft.tasks.task import Loss, Progress, Task

EPOCHS_PER_PHASE = 10_000
EVALUATION_BATCH = 64
MOST_BAD_STEPS = 3


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
    best_epoch: int | None = None
    n_bad: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    stopped: bool = False
    n_averaged: int = 0


@dataclass
class Loop:
    """Run one gradient phase.

    Args:
        index: number of the phase in its plan.
        groups: rules and their parameters.
        splits: streams by split, `train` and perhaps `validation`.
        on_step: called after each step.
        n_workers: threads that read ahead.
        checkpoint: called with the loop where one may be written: after a step, after an epoch.
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

    def __post_init__(self) -> None:
        self.ahead = Ahead()
        self.optimizer = build_optimizer(self.groups, self.by)
        self.step_module = Step(self.model, self.state, self.task)

    def begin_average(self, saved: Mapping[str, Tensor]) -> None:
        """Begin the moving average that the phase asks for, or go on with a checkpoint's."""
        if self.by.ema is None:
            return
        moving = {id(buffer) for buffer in _running_statistics(self.step_module)}
        moving |= {id(member.parameter) for member in trainable(self.groups)}
        live = {name: t for name, t in self.trained_tensors().items() if id(t) in moving}
        self.average = begin_average(live, self.by.ema, n_updates=self.at.n_averaged, saved=saved)

    def run(self) -> tuple[EpochRecord, ...]:
        """Train until the last epoch is done or patience is over."""
        wrapped = self.processes.wrap(self.step_module)
        n_epochs = self.by.n_epochs(len(next(iter(self.splits["train"].values()))))
        n_steps = n_epochs * len(self._plan(0))
        try:
            with Ahead(self.n_workers) as self.ahead:
                while self.at.epoch < n_epochs and not self.at.stopped:
                    self._epoch(wrapped, n_steps)
        finally:
            self.processes.unwrap(wrapped)
        if self.best:
            self._load(self.best)
        elif self.average is not None:
            self.average.write()
        if not self.best and self.at.history and not _ends_finite(self.at.history[-1]):
            raise Diverged(f"phase `{self.name}`: the loss ends not finite; lower the rate")
        return tuple(EpochRecord(**e) for e in self.at.history)

    @property
    def n_steps_done(self) -> int:
        return self.at.epoch * len(self._plan(0)) + self.at.step

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
        plan = self._plan(self.at.epoch)
        while self.at.step < len(plan):
            progress = Progress(self.at.epoch * len(plan) + self.at.step, n_steps, self.at.epoch)
            self._expect(plan[self.at.step :][: 1 + N_STEPS], self.at.epoch)
            if len(plan) - self.at.step <= N_STEPS and progress.step + 1 < n_steps:
                self._expect(self._plan(self.at.epoch + 1)[:1], self.at.epoch + 1)
            loss = self._train_step(wrapped, plan[self.at.step], progress)
            self.at.step += 1
            if loss is not None:
                self.at.loss_sum += float(loss.total)
                self.at.loss_count += float(loss.count)
                mean = float(loss.total) / max(float(loss.count), 1e-12)
                rate = max(entry["lr"] for entry in self.optimizer.param_groups)
                self.on_step(
                    StepEvent(self.name, self.at.epoch, progress.step + 1, n_steps, mean, rate)
                )
            if self.at.step < len(plan):
                self.checkpoint(self, False)
        with nullcontext() if self.average is None else self.average.in_place():
            validation = self._validate()
            self._judge(validation)
        self.at.history.append(
            {
                "epoch": self.at.epoch,
                # none where no step of the epoch was applied
                "train_loss": self.at.loss_sum / self.at.loss_count
                if self.at.loss_count
                else math.nan,
                "validation_loss": validation,
                "seconds": time.perf_counter() - began,
            }
        )
        self.at.epoch += 1
        self.at.step, self.at.loss_sum, self.at.loss_count = 0, 0.0, 0.0
        self.checkpoint(self, True)

    def _train_step(self, wrapped: nn.Module, rows: np.ndarray, progress: Progress) -> Loss | None:
        """Take one step; returns None where it was not applied because it was not finite."""
        self.optimizer.zero_grad(set_to_none=True)
        set_rates(self.optimizer, self.by, progress.step, progress.n_steps)
        statistics = _running_statistics(self.step_module)
        before = [buffer.clone() for buffer in statistics]
        parts = self._parts(rows, progress)
        is_whole = len(parts) == self.processes.n == 1
        run = accumulate
        if getattr(self.task, "is_joint", False) and not is_whole:
            run = partial(accumulate_joint, self.step_module)
        loss = run(
            wrapped,
            parts,
            progress,
            processes=self.processes,
            seed_part=lambda part: self._seed(progress.step, part),
        )
        total, count = self.processes.sum(torch.stack([loss.total, loss.count]))
        parameters = [p for entry in self.optimizer.param_groups for p in entry["params"]]
        self.processes.average_whole(parameters)
        # gradients are sums, averaged over processes: make them the mean over the whole step
        scale = self.processes.n / max(float(count), 1e-12)
        norm = _scale_and_clip(parameters, scale, self.by.clip)
        if not (math.isfinite(float(total)) and math.isfinite(norm)):
            # the forward pass has moved them already
            for buffer, value in zip(statistics, before, strict=True):
                buffer.copy_(value)
            self._refuse(rows, progress)
            return None
        self.at.n_bad = 0
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

    def _refuse(self, rows: np.ndarray, progress: Progress) -> None:
        self.at.n_bad += 1
        if self.at.n_bad >= MOST_BAD_STEPS:
            shown = ", ".join(map(str, rows[:5].tolist()))
            raise Diverged(
                f"phase `{self.name}`: the loss was not finite for {MOST_BAD_STEPS} steps, last "
                f"at step {progress.step} with training rows {shown}; lower the rate"
            )

    def _parts(self, rows: np.ndarray, progress: Progress) -> list[Part]:
        """Return what this process feeds to a step, in micro-batches.

        Every process has as many parts as the others, or they would wait for each other forever;
        one without rows of its own repeats a row that counts for nothing.
        """
        share = -(-len(rows) // self.processes.n)
        n_parts = -(-share // (self.by.micro_batch_size or share))
        streams = self.splits["train"]
        drawn = {
            name: self._cycled(name, len(rows), progress.step)
            if i
            else numbers(stream, rows, self.index, progress.epoch)
            for i, (name, stream) in enumerate(streams.items())
        }
        parts = []
        for i in range(n_parts):
            feeds, counts = {}, True
            for name, stream in streams.items():
                pieces = [
                    np.array_split(share, n_parts)[i]
                    for share in shares(drawn[name], self.processes.n)
                ]
                counts = len(pieces[self.processes.rank]) > 0
                pieces = [piece if len(piece) else drawn[name][:1] for piece in pieces]
                feeds[name] = self.feeds.feed(
                    "train",
                    name,
                    stream,
                    pieces[self.processes.rank],
                    self.processes.device,
                    beside=pieces if self.processes.is_sharded else (),
                )
            parts.append(Part(feeds, float(counts)))
        return parts

    def _cycled(self, name: str, batch_size: int, step: int) -> np.ndarray:
        """Return as many rows of a further stream, which begins anew when it ends."""
        stream = self.splits["train"][name]
        size = min(batch_size, len(stream))
        per_pass = max(1, len(stream) // size)
        epoch, place = divmod(step, per_pass)
        number = self._epoch_number(epoch)
        drawn = batches(None, len(stream), size, self.seed, number, drop_last=True)[place]
        # as many as of the first stream, or a process could have rows of the one and not the other
        return numbers(stream, np.resize(drawn, batch_size), self.index, epoch)

    def _expect(self, coming: Sequence[np.ndarray], epoch: int) -> None:
        """Let this process's share of the next steps be read ahead."""
        name, stream = next(iter(self.splits["train"].items()))
        if self.feeds.reads("train", name):
            for rows in coming:
                share = shares(rows, self.processes.n)[self.processes.rank]
                self.ahead.expect(stream, numbers(stream, share, self.index, epoch))

    def _plan(self, epoch: int) -> list[np.ndarray]:
        stream = next(iter(self.splits["train"].values()))
        number = self._epoch_number(epoch)
        return batches(stream.lengths, len(stream), self.by.batch_size, self.seed, number)

    def _epoch_number(self, epoch: int) -> int:
        return self.index * EPOCHS_PER_PHASE + epoch

    def _seed(self, step: int, part: int) -> None:
        words = [self.seed, self.index, step, part, self.processes.rank, 7]
        torch.manual_seed(int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> 1))

    def _validate(self) -> float | None:
        streams = self.splits.get("validation")
        if not streams or not len(next(iter(streams.values()))):
            return None
        return mean_loss(
            self.step_module,
            streams,
            self.feeds,
            self.processes,
            split="validation",
            ahead=self.ahead,
        )

    def _judge(self, validation: float | None) -> None:
        """Keep the best epoch and stop when patience is over."""
        if self.by.patience is None or validation is None or math.isnan(validation):
            return
        if validation < self.at.best_loss:
            self.at.best_loss, self.at.best_epoch = validation, self.at.epoch
            self.best = {k: whole(t).detach().clone() for k, t in self.trained_tensors().items()}
        elif self.at.epoch - (self.at.best_epoch or 0) >= self.by.patience:
            self.at.stopped = True

    def _load(self, tensors: Mapping[str, Tensor]) -> None:
        own = self.trained_tensors()
        for name, tensor in tensors.items():
            assign(own[name], tensor)


def _ends_finite(epoch: Mapping[str, Any]) -> bool:
    """Return whether an epoch applied a step, and left a loss that is a number."""
    losses = (epoch["train_loss"], epoch["validation_loss"])
    return all(loss is None or math.isfinite(loss) for loss in losses)


def mean_loss(
    step: Step,
    streams: Streams,
    feeds: PhaseFeeds,
    processes: Processes,
    *,
    split: str,
    ahead: Ahead | None = None,
) -> float:
    """Return the mean loss over a split, in eval mode, summed in float64.

    Args:
        ahead: reads the first stream's examples ahead.
    """
    first, *others = streams.items()
    name, stream = first
    order = np.arange(len(stream))
    if stream.lengths is not None:
        order = np.argsort(stream.lengths, kind="stable")
    cuts = [order[i : i + EVALUATION_BATCH] for i in range(0, len(order), EVALUATION_BATCH)]
    # processes take turns, but where parameters are sharded all must run together
    mine = cuts if processes.is_sharded else cuts[processes.rank :: processes.n]
    ahead = ahead if ahead is not None and feeds.reads(split, name) else Ahead()
    total, count = 0.0, 0.0
    with evaluating(step), torch.no_grad():
        for rows in ahead.over(stream, mine):
            fed = {name: feeds.feed(split, name, stream, rows, processes.device)}
            for other, further in others:
                fed[other] = feeds.feed(
                    split, other, further, rows % len(further), processes.device
                )
            with processes.autocast():
                part_total, part_count = step(fed, Progress())
            total += float(part_total)
            count += float(part_count)
    if processes.is_sharded:
        return processes.agree(total / max(count, 1e-12))
    total, count = processes.sum(torch.tensor([total, count], dtype=torch.float64)).tolist()
    return total / max(count, 1e-12)


def _running_statistics(module: nn.Module) -> list[Tensor]:
    """Return the buffers of normalisation layers in training mode: a forward pass moves them."""
    return [
        buffer
        for norm in module.modules()
        if norm.training and isinstance(norm, _NormBase)
        for buffer in norm.buffers(recurse=False)
    ]


def _scale_and_clip(parameters: list[nn.Parameter], scale: float, clip: float | None) -> float:
    """Multiply gradients by `scale`, clip them to a norm, and return the norm before clipping."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    # tensors that are sharded and tensors that are not cannot stand in one list
    kinds = [[g for g in gradients if is_shard(g) == kind] for kind in (False, True)]
    kinds = [kind for kind in kinds if kind]
    norms = [float(whole(torch.nn.utils.get_total_norm(kind))) for kind in kinds]
    norm = scale * math.hypot(*norms)
    if clip is not None and norm > clip:
        scale *= clip / norm
    for kind in kinds:
        torch._foreach_mul_(kind, scale)
    return norm
