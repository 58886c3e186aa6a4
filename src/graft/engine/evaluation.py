"""What a split says while training goes on: its mean loss, and metrics where the task has some."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from graft.engine.ahead import Ahead
from graft.engine.feeds import PhaseFeeds, Streams
from graft.engine.order import ROWS_OF_A_PASS, epoch_batches, is_joint, passes
from graft.engine.processes import Processes
from graft.engine.replay import evaluating
from graft.engine.step import Step, stubbed
from graft.engine.stopping import stop_if_asked
from graft.engine.views import items
from graft.errors import is_out_of_memory
from graft.killpoints import fail_at
from graft.tasks.task import Progress, Stream, Task


def evaluation_batches(task: Task, stream: Stream, device: torch.device) -> list[np.ndarray]:
    """Return the rows that are scored together: as the task draws them, else of similar length."""
    if hasattr(task, "epoch_batches"):
        return epoch_batches(task, stream, ROWS_OF_A_PASS, 0, 0)
    return passes(stream, np.arange(len(stream)), device)


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

    Rows that do not fit into memory together are taken in halves.

    Args:
        ahead: reads the first stream's examples ahead.

    Raises:
        Stopped: a signal asks for it, and this process is alone.
    """
    first, *others = streams.items()
    name, stream = first
    cuts = evaluation_batches(step.task, stream, processes.device)
    # processes take turns, but where parameters are sharded all must run together
    mine = cuts if processes.is_sharded else cuts[processes.rank :: processes.n]
    ahead = ahead if ahead is not None and feeds.reads(split, name) else Ahead()

    def losses(rows: np.ndarray) -> tuple[float, float]:
        fed = {name: feeds.feed(split, name, stream, rows, processes.device)}
        for other, further in others:
            fed[other] = feeds.feed(split, other, further, rows % len(further), processes.device)
        with processes.autocast():
            total, count = step(fed, Progress())
        return float(total), float(count)

    def in_halves(rows: np.ndarray) -> tuple[float, float]:
        try:
            return losses(rows)
        except Exception as error:
            has_others = is_joint(step.task)  # half of it has another loss
            if len(rows) == 1 or has_others or processes.n > 1 or not is_out_of_memory(error):
                raise
        parts = [in_halves(half) for half in np.array_split(rows, 2)]
        return parts[0][0] + parts[1][0], parts[0][1] + parts[1][1]

    total, count = 0.0, 0.0
    with evaluating(step), torch.no_grad():
        for rows in ahead.over(stream, mine):
            if processes.n == 1:
                stop_if_asked()
            part_total, part_count = in_halves(rows)
            total += part_total
            count += part_count
            fail_at("during_eval")
    if processes.is_sharded:
        return processes.agree(total / max(count, 1e-12))
    total, count = processes.sum(torch.tensor([total, count], dtype=torch.float64)).tolist()
    return total / max(count, 1e-12)


def measured(
    step: Step,
    streams: Streams,
    feeds: PhaseFeeds,
    processes: Processes,
    *,
    split: str,
    ahead: Ahead | None = None,
) -> dict[str, float]:
    """Return the metrics that the task takes of a split, in eval mode; none where it takes none.

    Each different item of each stream is predicted once, from what is stored of it where there is
    a store. Every process does the same, and the first one's numbers count.

    Raises:
        Stopped: a signal asks for it, and this process is alone.
    """
    measure = getattr(step.task, "measure", None)
    if measure is None:
        return {}
    outputs = {}
    with evaluating(step), torch.no_grad():
        for name, stream in streams.items():
            own = ahead if ahead is not None and feeds.reads(split, name) else Ahead()
            outputs[name] = _predicted(step, name, stream, feeds, processes, split, own)
    return processes.agree(measure(outputs, streams))


def _predicted(
    step: Step,
    name: str,
    stream: Stream,
    feeds: PhaseFeeds,
    processes: Processes,
    split: str,
    ahead: Ahead,
) -> dict[str, np.ndarray]:
    """Return what the task predicts for each different item of one stream, in their order."""
    rows = _one_row_an_item(stream)
    cuts = passes(stream, rows, processes.device)

    def predicted(some: np.ndarray) -> list[Mapping[str, Tensor]]:
        try:
            feed = feeds.feed(split, name, stream, some, processes.device)
            with processes.autocast(), stubbed(step.model, feed) as batch:
                return [step.task.predict(step.model, batch)]
        except Exception as error:
            if len(some) == 1 or processes.n > 1 or not is_out_of_memory(error):
                raise
        return [part for half in np.array_split(some, 2) for part in predicted(half)]

    parts: list[Mapping[str, Tensor]] = []
    for some in ahead.over(stream, [rows[places] for places in cuts]):
        if processes.n == 1:
            stop_if_asked()
        parts += predicted(some)
    outputs = {key: torch.cat([part[key].float().cpu() for part in parts]) for key in parts[0]}
    back = np.argsort(np.concatenate(cuts))
    return {key: value.numpy()[back] for key, value in outputs.items()}


def _one_row_an_item(stream: Stream) -> np.ndarray:
    """Return the first row (U,) of each of a stream's items, in the items' own order."""
    item_of = getattr(stream, "item_of", None)
    if item_of is None:
        return np.arange(len(stream))
    found, rows = np.unique(item_of, return_index=True)
    assert len(found) == len(items(stream))
    return rows
