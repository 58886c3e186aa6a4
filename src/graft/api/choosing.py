"""What is chosen by looking at frozen features before training: the method, the block.

`method: auto` becomes the method that is chosen, in the recipe too. `at: any` lets a probe read the
block that knows most. The recipe keeps `any`: asked again it finds the same vectors, the same folds
and so the same block; the number of that block, written instead, gives the same weights.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch

from graft.engine.depth import Depths, probe_depths, with_choice
from graft.engine.embed import pooled_features
from graft.engine.processes import Processes
from graft.engine.settings import Settings
from graft.engine.solve import search
from graft.errors import DataError, ModelError
from graft.job import Job
from graft.methods.auto import Choice, Look, decide
from graft.recipe_plan import build_plan, with_own_options
from graft.records import RunRecord
from graft.surgery.truncate import truncated
from graft.tasks.task import ConvexProblem, Stream

N_FOLDS = 5
MOST_ROWS = 20_000
"""Rows on which the method is chosen; more would not change what is seen."""


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


def with_method(job: Job, stream: Stream, settings: Settings) -> Job:
    """Return the job with the method that suits its data, where the recipe says `auto`.

    Args:
        stream: the training rows, plain.
    """
    looked = f"{N_FOLDS}-fold cross-validation on training rows"
    try:
        choice = decide(look_at(job, stream, settings))
    except DataError as why:
        choice = Choice("full", f"a head cannot be solved exactly here ({why})")
        looked = "labels of training rows"
    choice = Processes().agree(choice)
    recipe, left_out = with_own_options(job.recipe.model_copy(update={"method": choice.method}))
    note = f"auto chose {choice.method}: {choice.because}"
    if left_out:
        note += f" ({', '.join(left_out)} is of no use to it)"
    return dataclasses.replace(
        job,
        recipe=recipe,
        plan=build_plan(recipe, job.n_blocks),
        notes=(*job.notes, note),
        chosen_on={**job.chosen_on, "method": looked},
    )


def look_at(job: Job, stream: Stream, settings: Settings) -> Look:
    """Return what is seen of the training rows before a method is chosen."""
    features = pooled_features(job.model, job.task, {"train": stream}, settings)["train"].features
    problem: ConvexProblem = job.task.convex(stream)  # type: ignore[attr-defined]
    n_rows = len(problem.targets)
    if n_rows > MOST_ROWS:
        drawn = np.linspace(0, n_rows - 1, MOST_ROWS).astype(np.int64)
        features, problem = features[drawn], problem.take(drawn)
    found = search(features, problem, N_FOLDS, settings.seed)
    loss = found.losses[found.chosen]
    explained = 1 - loss / _loss_of_nothing(problem)
    if problem.loss == "squared":
        return Look(n_rows, 0, n_rows, explained, explained)
    targets = stream.targets[job.task.target].numpy()  # type: ignore[attr-defined]
    counts = np.bincount(targets) if targets.ndim == 1 else targets.sum(0)
    score = found.accuracies[found.chosen]
    return Look(n_rows, problem.n_classes, float(np.median(counts)), score, explained)


def _loss_of_nothing(problem: ConvexProblem) -> float:
    """Return the mean loss where every answer is the classes' shares, or the mean."""
    targets, weights = problem.targets, problem.weights
    if problem.loss == "squared":
        return max(float(np.var(targets)) / 2, 1e-12)
    if targets.ndim == 1:
        targets = np.eye(problem.n_classes, dtype=np.float32)[targets]
    shares = np.clip(np.average(targets, axis=0, weights=weights), 1e-12, 1 - 1e-12)
    entropies = -shares * np.log(shares)
    if problem.loss == "sigmoid":
        entropies -= (1 - shares) * np.log(1 - shares)
    return max(float(entropies.sum()), 1e-12)


def at_best_block(job: Job, stream: Stream, settings: Settings) -> BlockChoice:
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
