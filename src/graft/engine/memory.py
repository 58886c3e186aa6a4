"""Memory: what a phase will need, what there is, and what to do when there is not enough.

Before training, what is sure to be needed is added up (gradients, AdamW's moments, copies of the
weights) with what autograd keeps of a batch, measured on a few rows. While training, a step that
runs out of memory is undone and taken again in halves: the sums of the micro-batches are the same
step.
"""

from __future__ import annotations

import torch

import graft.memory
from graft.engine.groups import Group, trainable
from graft.engine.measuring import kept_bytes, untouched
from graft.engine.modes import set_modes
from graft.engine.order import Order
from graft.engine.step import Step
from graft.errors import OutOfMemory
from graft.methods.plan import Gradient
from graft.tasks.task import Progress
from graft.wording import human_bytes

N_MEASURED = 2
"""Rows whose activations are measured: the longest of an epoch; the rest is in proportion."""


def halved(micro_batch_size: int | None, share: int, least: int = 1) -> int:
    """Return the next smaller micro-batch.

    Args:
        micro_batch_size: that did not fit; None for all of a process's share.
        share: rows of a process in one step.
        least: rows that a pass must have: two where batch norm trains.

    Raises:
        OutOfMemory: it was as small already.
    """
    size = min(micro_batch_size or share, share)
    if size <= least:
        raise OutOfMemory(
            f"out of memory with {size} row{'' if size == 1 else 's'} a pass; choose a smaller "
            "--model, or a method that trains less (probe, head, last:1)"
        )
    return max(least, -(-size // 2))


def refuse_too_large(
    phase: str,
    step: Step,
    by: Gradient,
    groups: tuple[Group, ...],
    order: Order,
    available_bytes: int,
) -> None:
    """Refuse a phase that does not fit into memory, naming the micro-batch that would.

    Args:
        order: knows the rows of its steps.
        available_bytes: what can still be had.

    Raises:
        OutOfMemory: as said.
    """
    fixed = fixed_bytes(by, groups)
    n_rows = max(map(len, order.batches(0)))
    size = min(by.micro_batch_size or n_rows, order.share_of(n_rows))
    per_row = 0
    if fixed < available_bytes:
        per_row = bytes_per_row(step, order)
    needed = fixed + per_row * size
    if needed <= available_bytes:
        return
    fits = (available_bytes - fixed) // per_row if per_row else 0
    mend = "choose a smaller --model, or a method that trains less"
    if fits >= 1:
        mend = f"pass --micro-batch-size {fits}, which gives the same steps"
    raise OutOfMemory(
        f"phase `{phase}` needs about {human_bytes(needed)} of memory beside the model, and "
        f"{human_bytes(available_bytes)} are free; {mend}"
    )


def fixed_bytes(by: Gradient, groups: tuple[Group, ...]) -> int:
    """Return the bytes that a phase needs whatever its batch: gradients, moments, copies."""
    n_copies = 3 + sum(option is not None for option in (by.patience, by.ema, by.l2_sp))
    return sum(
        m.parameter.numel() * m.parameter.element_size() * n_copies for m in trainable(groups)
    )


def bytes_per_row(step: Step, order: Order) -> int:
    """Return what autograd keeps for each of the longest rows; nothing is changed."""
    stream = next(iter(order.streams.values()))
    planned = order.batches(0)
    rows = planned[0]
    if stream.lengths is not None:
        lengths = stream.lengths
        rows = max(planned, key=lambda batch: int(lengths[batch].max()))
        rows = rows[lengths[rows].argsort(kind="stable")]
    rows = rows[-N_MEASURED:]
    with untouched(step):
        set_modes(step.model)
        parts = order.parts(rows, Progress(), None)
        feeds = parts[-1].feeds  # of the longest
        with order.processes.autocast():
            kept = kept_bytes(step, lambda: step(feeds, Progress()))
    return -(-kept // len(next(iter(feeds.values())).batch.rows))


def available_bytes(device: torch.device | None = None) -> int:
    """Return the memory that this process can still get; on a GPU what is free there."""
    if device is not None and device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return graft.memory.available_bytes()
