"""Let a probe read the block that knows most: `at: any`.

The recipe keeps `any`. Asked again it finds the same vectors, the same folds and so the same block;
the number of that block, written instead, gives the same weights.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch

from graft.engine.depth import Depths, probe_depths, with_choice
from graft.engine.settings import Settings
from graft.errors import ModelError
from graft.job import Job
from graft.records import RunRecord
from graft.surgery.truncate import truncated
from graft.tasks.streams import TableStream


@dataclass(frozen=True, eq=False)
class BlockChoice:
    """Hold what was asked of all depths, and the job that goes on from the answer.

    Args:
        job: its network ends at the chosen block.
        depths: what a head on each block would reach.
        chosen: index of the depth at which the network ends.
        notes: for the user.
    """

    job: Job
    depths: Depths
    chosen: int
    notes: tuple[str, ...]


def at_best_block(job: Job, stream: TableStream, settings: Settings) -> BlockChoice:
    """Find the block that knows most on training rows, and end the job's network above it.

    Where the network cannot end above a block the job stays as it is, and a note says so.
    """
    depths = probe_depths(job.model, job.task, stream, settings)
    block, end = depths.blocks[depths.best], len(depths.records) - 1
    if block is None:
        return BlockChoice(job, depths, end, depths.notes)
    try:
        backbone = truncated(job.backbone, block + 1)
    except ModelError as why:
        note = (
            f"block {block} knows most, but the head was trained on the features at the end: {why}"
        )
        return BlockChoice(job, depths, end, (*depths.notes, note))
    torch.manual_seed(job.recipe.seed)
    model, _ = job.task.build(backbone)
    job = dataclasses.replace(job, backbone=backbone, model=model)
    return BlockChoice(job, depths, depths.best, depths.notes)


def with_depths(record: RunRecord, choice: BlockChoice) -> RunRecord:
    """Return the record of a run together with what was asked of all depths."""
    how = f"{choice.depths.n_folds}-fold cross-validation on training rows"
    return dataclasses.replace(
        record,
        depths=with_choice(choice.depths, choice.chosen),
        notes=(*record.notes, *choice.notes),
        chosen_on={**record.chosen_on, "block": how},
    )
