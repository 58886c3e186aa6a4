"""Which rows a step takes, and which of them each process and each micro-batch.

All of it is a pure function of (seed, phase, epoch, step): nothing has to be remembered, and a step
can be repeated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from graft.data.sampling import batches, shares
from graft.engine.ahead import Ahead
from graft.engine.draws import row_seeds
from graft.engine.feeds import PhaseFeeds, Streams
from graft.engine.processes import Processes
from graft.engine.row_groups import GROUP_TOKENS
from graft.engine.step import Part
from graft.engine.views import numbers
from graft.tasks.task import Progress, Stream, Task

EPOCHS_PER_PHASE = 10_000
LARGE_STEP = 1_024
"""Rows beyond which micro-batches are sorted by length, and each is padded for itself."""

FEWEST_TOKENS = 512
"""Padded tokens from which a pass on a processor is no cheaper a token with more of them."""


ROWS_OF_A_PASS = 64
"""Rows computed together where nothing is trained, on an accelerator or without lengths."""
TOKENS_OF_A_PASS = GROUP_TOKENS
"""Padded tokens of the same on a processor, whose caches hold no more: 0.87 of the time of 64 rows
(MiniLM, banking77, float32, Zen 4)."""


@dataclass(frozen=True)
class Order:
    """Know the rows of every step of one phase.

    Args:
        streams: of the training split; the first is the one that an epoch counts.
        task: may draw batches of its own.
        index: number of the phase in its plan.
    """

    streams: Streams
    task: Task
    feeds: PhaseFeeds
    processes: Processes
    index: int
    seed: int
    batch_size: int

    def batches(self, epoch: int) -> list[np.ndarray]:
        """Return the rows of each step of an epoch."""
        stream = next(iter(self.streams.values()))
        number = self._epoch_number(epoch)
        return epoch_batches(self.task, stream, self.batch_size, self.seed, number)

    def parts(
        self, rows: np.ndarray, progress: Progress, micro_batch_size: int | None
    ) -> list[Part]:
        """Return what this process feeds to a step, in micro-batches.

        Rows are padded to the longest of their run of similar length in the step, so that what is
        drawn for a row does not depend on its micro-batch; where steps are large, to the longest
        of the micro-batch in any process.

        Every process has as many parts as the others, or they would wait for each other forever;
        one without rows of its own repeats a row that counts for nothing.
        """
        rows = np.asarray(rows)
        first = next(iter(self.streams.values()))
        runs = [np.arange(len(rows))]
        is_cut = micro_batch_size is not None and micro_batch_size < self.share_of(len(rows))
        is_large = is_cut and len(rows) > LARGE_STEP
        by_length = is_run_by_length(self.task, first, self.processes.device)
        if first.lengths is not None and (is_large or by_length):
            # it holds texts of all lengths; a pass need not
            rows = rows[np.argsort(first.lengths[rows], kind="stable")]
            if not is_large:
                runs = runs_of_length(first.lengths[rows])
        drawn = {
            name: self._cycled(name, len(rows), progress.step)
            if i and not is_aligned(self.task)
            else numbers(stream, rows, self.index, progress.epoch)
            for i, (name, stream) in enumerate(self.streams.items())
        }
        seeds = [
            row_seeds(self.seed, self.index, progress.step, i, len(rows)) for i in range(len(drawn))
        ]
        parts = []
        for run, pieces in self._passes(runs, micro_batch_size):
            feeds = {}
            counts = len(pieces[self.processes.rank]) > 0
            pieces = [piece if len(piece) else run[:1] for piece in pieces]
            own = pieces[self.processes.rank]
            padded = np.concatenate(pieces) if is_large else run
            for (name, stream), of_stream in zip(self.streams.items(), seeds, strict=True):
                of_step = drawn[name]
                feeds[name] = self.feeds.feed(
                    "train",
                    name,
                    stream,
                    of_step[own],
                    self.processes.device,
                    beside=[of_step[p] for p in pieces] if self.processes.is_sharded else (),
                    length=None
                    if stream.lengths is None
                    else int(stream.lengths[of_step[padded]].max()),
                    seeds=of_stream[own],
                )
            parts.append(Part(feeds, float(counts)))
        return parts

    def _passes(
        self, runs: Sequence[np.ndarray], micro_batch_size: int | None
    ) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
        """Yield a run, and the places of a step that each process computes in one pass."""
        for run in runs:
            share = self.share_of(len(run))
            n_passes = -(-share // (micro_batch_size or share))
            cut = [np.array_split(own, n_passes) for own in shares(run, self.processes.n)]
            yield from ((run, [own[i] for own in cut]) for i in range(n_passes))

    def share_of(self, n_rows: int) -> int:
        """Return how many rows of a batch a process takes at most."""
        return -(-n_rows // self.processes.n)

    def expect(self, ahead: Ahead, coming: Sequence[np.ndarray], epoch: int) -> None:
        """Let this process's share of the next steps be read ahead."""
        name, stream = next(iter(self.streams.items()))
        if self.feeds.reads("train", name):
            for rows in coming:
                share = shares(rows, self.processes.n)[self.processes.rank]
                ahead.expect(stream, numbers(stream, share, self.index, epoch))

    def _cycled(self, name: str, batch_size: int, step: int) -> np.ndarray:
        """Return as many rows of a further stream, which begins anew when it ends."""
        stream = self.streams[name]
        size = min(batch_size, len(stream))
        per_pass = max(1, len(stream) // size)
        epoch, place = divmod(step, per_pass)
        number = self._epoch_number(epoch)
        drawn = batches(None, len(stream), size, self.seed, number, drop_last=True)[place]
        # as many as of the first stream, or a process could have rows of the one and not the other
        return numbers(stream, np.resize(drawn, batch_size), self.index, epoch)

    def _epoch_number(self, epoch: int) -> int:
        return self.index * EPOCHS_PER_PHASE + epoch


def is_aligned(task: Task) -> bool:
    """Return whether row i of every stream is the same example: a picture and its caption."""
    return getattr(task, "is_aligned", False)


def is_joint(task: Task) -> bool:
    """Return whether the loss of a row depends on the others of its step."""
    return getattr(task, "is_joint", False)


def is_run_by_length(task: Task, stream: Stream, device: torch.device) -> bool:
    """Return whether the rows of a step are computed in runs of similar length.

    Where each row is alone, steps hold similar lengths anyway; an accelerator rather pads.
    """
    return is_joint(task) and stream.lengths is not None and device.type == "cpu"


def runs_of_length(lengths: np.ndarray) -> list[np.ndarray]:
    """Return the places of a sorted step in runs, each with enough tokens for a pass of its own.

    >>> [run.tolist() for run in runs_of_length(np.array([100] * 7 + [400]))]
    [[0, 1, 2, 3, 4, 5], [6, 7]]
    """
    starts = [0]
    for end, length in enumerate(lengths.tolist(), start=1):
        if (end - starts[-1]) * length >= FEWEST_TOKENS and end < len(lengths):
            starts.append(end)
    return np.split(np.arange(len(lengths)), starts[1:])


def passes(stream: Stream, rows: np.ndarray, device: torch.device) -> list[np.ndarray]:
    """Cut rows (N,) into what is computed together where nothing is trained: of similar length.

    Returns:
        places in `rows` of each pass; together every place once.
    """
    if not len(rows):
        return []
    places = np.arange(len(rows))
    lengths = None if stream.lengths is None else stream.lengths[rows]
    if lengths is not None:
        places = np.argsort(lengths, kind="stable")
    if lengths is None or device.type != "cpu":
        cuts = range(ROWS_OF_A_PASS, len(rows), ROWS_OF_A_PASS)
        return np.split(places, cuts)
    starts = [0]
    for end, length in enumerate(lengths[places].tolist(), start=1):
        if end - 1 > starts[-1] and (end - starts[-1]) * length > TOKENS_OF_A_PASS:
            starts.append(end - 1)
    return np.split(places, starts[1:])


def epoch_batches(
    task: Task, stream: Stream, batch_size: int, seed: int, epoch: int
) -> list[np.ndarray]:
    """Return the rows of each step of an epoch: as the task draws them, else every row once.

    Args:
        batch_size: examples of a step; what a task draws may have several rows an example.
    """
    draw = getattr(task, "epoch_batches", None)
    if draw is not None:
        return draw(stream, batch_size, seed, epoch)
    return batches(stream.lengths, len(stream), batch_size, seed, epoch)
