"""Time passes and steps of one model on a few batches, without training.

Groups of the prefix and steps of each phase are run through the real replays and timed at three
sizes; a straight line over the padded tokens of a batch does the rest. Bytes are counted, not
measured: weights, gradients, AdamW's two moments, and what autograd keeps of the longest batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from graft.engine.evaluation import evaluation_batches
from graft.engine.feeds import PhaseFeeds, Streams
from graft.engine.groups import set_trainable, trainable
from graft.engine.line import Line, fit_line, spread
from graft.engine.measuring import kept_bytes
from graft.engine.modes import set_modes
from graft.engine.order import epoch_batches, is_joint, is_run_by_length, runs_of_length
from graft.engine.prefix import Prefix, compute_group, estimate_bytes
from graft.engine.prepared import Prepared
from graft.engine.processes import Processes
from graft.engine.replay import Replay, evaluating
from graft.engine.row_groups import RowGroups
from graft.engine.settings import Settings
from graft.engine.solve import search
from graft.engine.stand_in import ROWS_PER_CLASS, problem_like
from graft.engine.step import Feed, Step
from graft.engine.stores import encode_only, worth_storing
from graft.engine.views import items, n_examples
from graft.errors import GraftError
from graft.methods.plan import Convex, Gradient
from graft.tasks.task import ConvexProblem, Progress, Stream, Task

Clock = Callable[[], float]

N_TIMED = 3
STAND_IN = 1_000_000
SOLVED_NUMBERS = 1_000_000
"""Rows × features × classes of the problem on which the solver is timed."""


@dataclass(frozen=True)
class Cost:
    """What one phase would take.

    Args:
        seconds: its passes over the data, steps and validation, or its solving.
        memory_bytes: peak, on top of what Python and its libraries hold.
        store_bytes: of the stores that it would add on disk.
        n_steps: optimiser steps.
    """

    seconds: float
    memory_bytes: int
    store_bytes: int
    n_steps: int


@dataclass
class Bench:
    """Time passes and steps of one model, and remember which stores would be there."""

    model: nn.Module
    state: nn.Module | None
    task: Task
    splits: Mapping[str, Streams]
    scale: Mapping[str, float]
    settings: Settings
    clock: Clock
    stored: set[tuple[str, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.processes = Processes(precision=self.settings.precision)
        self.update_seconds = self._update_seconds()
        self.vectors = np.zeros((0, 1), np.float32)
        tensors = (*self.model.parameters(), *self.model.buffers())
        self.weight_bytes = sum(t.numel() * t.element_size() for t in tensors)

    def around(self, features: Prepared) -> tuple[float, float, int]:
        """Return the seconds before and after all phases, and bytes of the features."""
        before = after = size = 0.0
        for name, stream in self.splits["train"].items():
            replay = features.feeds.replays.get(name)
            if replay is None:
                continue
            line, leaves = self._pass_line([replay], stream)
            if len(leaves) == 1 and not len(self.vectors):
                vectors = torch.stack(leaves[0]).float().cpu().numpy()
                self.vectors = vectors.reshape(len(vectors), -1)
            seconds = {split: self._pass_seconds(line, split, name) for split in self.splits}
            before += sum(seconds.values())
            after += sum(s for split, s in seconds.items() if split != "train")
            if self.settings.cache is not None:
                self.stored.add((name, _key(replay)))
                size += sum(self._store_bytes(replay, split, name) for split in self.splits)
        return before, after, int(size)

    def phase(self, rest: Sequence[Prepared]) -> Cost:
        """Return the cost of the first phase of `rest`."""
        item = rest[0]
        set_trainable(item.groups)
        set_modes(self.model)
        name, stream = next(iter(self.splits["train"].items()))
        n_train = round(self.scale["train"] * n_examples(stream))
        by = item.phase.by
        n_epochs = by.n_epochs(n_train) if isinstance(by, Gradient) else 1
        passes, new_bytes = 0.0, 0
        for each, source in self.splits["train"].items():
            seconds, size, is_stored = self._stores(rest, each, source, n_train)
            passes += seconds * (1 if is_stored else n_epochs)
            new_bytes += size
        if isinstance(by, Convex):
            seconds, memory_bytes = self._solving(by, stream, n_train)
            return Cost(passes + seconds, memory_bytes, new_bytes, 0)
        steps, scored, activation_bytes = self._stepping(item, by, name, stream)
        trained = sum(
            m.parameter.numel() * m.parameter.element_size() for m in trainable(item.groups)
        )
        memory_bytes = self.weight_bytes + 3 * trained + activation_bytes
        n_steps = n_epochs * -(-n_train // by.batch_size)
        return Cost(passes + n_epochs * (steps + scored), memory_bytes, new_bytes, n_steps)

    def _stores(
        self, rest: Sequence[Prepared], name: str, stream: Stream, n_train: int
    ) -> tuple[float, int, bool]:
        """Return the seconds of one pass that fills stores, their bytes, and whether they pay."""
        feeds = rest[0].feeds
        replay = feeds.replays.get(name)
        if replay is None:
            return 0.0, 0, False
        wanted: dict[str, Replay] = {}
        if self.settings.cache is not None:
            found, _ = worth_storing(
                self.model,
                self.task,
                [p.wish(n_train) for p in rest],
                name,
                items(stream),
                self.settings.cache_bytes,
            )
            wanted = {_key(r): r for r in found.values()}
        lacking = {key: r for key, r in wanted.items() if (name, key) not in self.stored}
        if wanted and (name, _key(replay)) in self.stored:
            return 0.0, 0, True
        line, _ = self._pass_line(list(lacking.values()) or [replay], stream)
        splits = [split for split in self.splits if split != "test"]
        seconds = sum(self._pass_seconds(line, split, name) for split in splits)
        self.stored |= {(name, key) for key in lacking}
        size = sum(self._store_bytes(r, s, name) for r in lacking.values() for s in splits)
        return seconds, int(size), bool(wanted)

    def _pass_line(
        self, replays: Sequence[Replay], stream: Stream
    ) -> tuple[Line, list[list[Tensor]]]:
        """Time groups of a pass; returns the line, and what the first replay's taps hold."""
        stream = items(stream)
        every = RowGroups(stream).of(np.arange(len(stream)))
        order = sorted(range(len(every)), key=lambda i: every[i].units)
        # spread over the lengths, the longest among them; the first is run once to warm up
        chosen = [every[order[i]] for i in spread(len(order), 2 * N_TIMED)]
        run = encode_only(self.model, self.task)
        units, seconds, held = [], [], []
        with evaluating(self.model):
            compute_group(self.model, replays, run, stream, chosen[0])
            for group in chosen:
                began = self.clock()
                values = compute_group(self.model, replays, run, stream, group)
                seconds.append(self.clock() - began)
                units.append(group.units)
                held.append(values[0])
        leaves = [[t for part in held for t in part[i]] for i in range(len(held[0]))]
        return fit_line(units, seconds), leaves

    def _store_bytes(self, replay: Replay, split: str, name: str) -> float:
        stream = self.splits[split].get(name)
        return (
            0.0
            if stream is None
            else self._scale(split, name) * estimate_bytes(replay, items(stream))
        )

    def _pass_seconds(self, line: Line, split: str, name: str) -> float:
        if name not in self.splits[split]:
            return 0.0
        stream = items(self.splits[split][name])
        every = RowGroups(stream).of(np.arange(len(stream)))
        units = np.asarray([group.units for group in every])
        return self._scale(split, name) * line.total(units)

    def _scale(self, split: str, name: str) -> float:
        """Return how many times the rows of a stream there are; a further one may have its own."""
        return self.scale.get(f"{split}/{name}", self.scale[split])

    def _stepping(
        self, item: Prepared, by: Gradient, name: str, stream: Stream
    ) -> tuple[float, float, int]:
        """Return the seconds of an epoch's steps and of its validation, and autograd's bytes."""
        planned = epoch_batches(self.task, stream, by.batch_size, self.settings.seed, 0)
        planned.sort(key=lambda rows: _units(stream, rows))
        chosen = [planned[i] for i in spread(len(planned), N_TIMED)][::-1]
        step = Step(self.model, self.state, self.task)
        units, stepped, scored, activation_bytes = [], [], [], 0
        for rows in chosen:
            parts = self._parts(item.feeds, by, rows)
            if not activation_bytes:  # the longest comes first, and warms up
                kept = [
                    kept_bytes(self.model, lambda part=part: step(part, Progress()))
                    for part in parts
                ]
                # the graphs of a joint loss are held together, unless micro-batches are asked for
                is_held = is_joint(self.task) and by.micro_batch_size is None
                activation_bytes = sum(kept) if is_held else max(kept)
            began = self.clock()
            for part in parts:
                total, _ = step(part, Progress())
                total.backward()
            stepped.append(self.clock() - began)
            with evaluating(step), torch.no_grad():
                began = self.clock()
                for part in parts:
                    step(part, Progress())
                scored.append(self.clock() - began)
            units.append(self._units(stream, by, rows))
            for parameter in self.model.parameters():
                parameter.grad = None
        n_trained = sum(m.parameter.numel() for m in trainable(item.groups))
        epoch = np.asarray([self._units(stream, by, rows) for rows in planned])
        update = self.update_seconds * n_trained * len(planned)
        seconds = self.scale["train"] * (fit_line(units, stepped).total(epoch) + update)
        return seconds, self._validation(fit_line(units, scored)), activation_bytes

    def _parts(self, feeds: PhaseFeeds, by: Gradient, rows: np.ndarray) -> list[dict[str, Feed]]:
        device = next(self.model.parameters()).device
        parts = []
        for piece in self._passes(next(iter(self.splits["train"].values())), by, rows):
            fed = {}
            for name, stream in self.splits["train"].items():
                own = piece % len(stream)
                fed[name] = Feed(stream.batch(own).to(device))
                if name in feeds.replays:
                    run = encode_only(self.model, self.task)
                    prefix = Prefix(self.model, feeds.replays[name], run, stream)
                    state, batch = prefix.batch(own)
                    fed[name] = Feed(batch, prefix.replay, state, run)
            parts.append(fed)
        return parts

    def _passes(self, stream: Stream, by: Gradient, rows: np.ndarray) -> list[np.ndarray]:
        """Return rows of a step that are computed together."""
        runs = [rows]
        if is_run_by_length(self.task, stream, self.processes.device):
            assert stream.lengths is not None
            rows = rows[np.argsort(stream.lengths[rows], kind="stable")]
            runs = [rows[run] for run in runs_of_length(stream.lengths[rows])]
        size = by.micro_batch_size or len(rows)
        return [piece for run in runs for piece in np.array_split(run, -(-len(run) // size))]

    def _units(self, stream: Stream, by: Gradient, rows: np.ndarray) -> int:
        return sum(_units(stream, piece) for piece in self._passes(stream, by, rows))

    def _validation(self, line: Line) -> float:
        if "validation" not in self.splits:
            return 0.0
        stream = next(iter(self.splits["validation"].values()))
        parts = evaluation_batches(self.task, stream, self.processes.device)
        units = np.asarray([_units(stream, rows) for rows in parts])
        return self.scale["validation"] * line.total(units)

    def _solving(self, by: Convex, stream: Stream, n_train: int) -> tuple[float, int]:
        """Return the seconds of a search for l2, and bytes: weights, features, probabilities."""
        problem: ConvexProblem = self.task.convex(stream)  # type: ignore[attr-defined]
        width, n_classes = self.vectors.shape[1], problem.n_classes
        memory_bytes = self.weight_bytes + n_train * (4 * width + 8 * by.n_folds * n_classes)
        n = SOLVED_NUMBERS // (width * n_classes)
        n = min(len(stream), max(n, ROWS_PER_CLASS * n_classes))
        features, small = problem_like(self.vectors, problem, n)
        began = self.clock()
        try:
            search(features, small, by.n_folds, self.settings.seed)
        except GraftError:  # too few rows of a class: nothing that training would meet
            return 0.0, memory_bytes
        return (self.clock() - began) * n_train / n, memory_bytes

    def _update_seconds(self) -> float:
        """Return the seconds that AdamW takes for one number, scaling and clipping included."""
        parameter = nn.Parameter(torch.zeros(STAND_IN, device=self.processes.device))
        parameter.grad = torch.ones_like(parameter)
        optimizer = torch.optim.AdamW([parameter], fused=True)
        optimizer.step()
        began = self.clock()
        torch.nn.utils.get_total_norm([parameter.grad])
        parameter.grad.mul_(0.5)
        optimizer.step()
        return (self.clock() - began) / STAND_IN


def _key(replay: Replay) -> str:
    return repr(replay.taps)


def _units(stream: Stream, rows: np.ndarray) -> int:
    """Return rows × padded length of a batch; rows alone where all have one shape."""
    return len(rows) * (1 if stream.lengths is None else int(stream.lengths[rows].max()))
