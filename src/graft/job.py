"""A job: everything that is known before training, made from a recipe.

This is where words become objects: data, split, backbone, task and plan. What can be refused is
refused here, before any work is done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from graft.backbones.backbone import Backbone
from graft.backbones.pair import BackbonePair
from graft.data.augment import Augment, read_augment
from graft.data.doctor.near import Near
from graft.data.doctor.tokens import N_LOOKED_AT, TokenCounts, token_faults
from graft.data.faults import Finding
from graft.data.split import Part, Splits
from graft.data.table import Table
from graft.data.unlabelled import Unlabelled
from graft.domain_job import (
    Target,
    adapted_plan,
    adapted_task,
    read_target,
    refuse_frozen_body,
    refuse_target,
)
from graft.embedding_job import (
    embed_task,
    refuse_options_of_embeddings,
    rows_that_count,
    without_idle_phases,
    without_options_of_labels,
)
from graft.engine.start import put_in
from graft.errors import InputError
from graft.labelled_job import labelled_task, refuse_options_of_classes
from graft.match_job import (
    match_plan,
    match_task,
    matches,
    pair_of,
    refuse_options_of_towers,
    refuse_options_without_meaning,
)
from graft.methods.plan import Plan
from graft.model import Model, Towers
from graft.prepare import Prepared, embeds, prepare
from graft.recipe import DEFAULT_TEXT_MODEL, Recipe
from graft.recipe_plan import build_plan
from graft.records import Wording
from graft.remember_job import OldRows, read_old_rows
from graft.surgery.channels import with_channels
from graft.surgery.inserting import is_mergeable
from graft.surgery.opening import open_whole
from graft.surgery.truncate import truncated
from graft.tasks.adapted import SOURCE, TARGET, Adapted
from graft.tasks.augmented import AugmentedStream, pictures_of
from graft.tasks.classify import Classify
from graft.tasks.distilled import UNLABELLED, Distilled, say
from graft.tasks.labelled import Labelled
from graft.teacher import Teacher
from graft.teacher_job import (
    Taught,
    distilled,
    note_on_epochs,
    notes_on_rows,
    open_teacher_of,
    projecting,
    read_unlabelled_rows,
    refuse_frozen_students,
    refuse_options_of_teachers,
    student_of,
)
from graft.zero_shot_job import begin_at_names, names_of, tower_for

N_CHARACTERS_LOOKED_AT = 5_000_000
PARTS: tuple[Part, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class Job:
    """Everything that is known before training.

    Args:
        backbone: a `Backbone`, or a `BackbonePair` where pictures come with captions.
        state: what the task keeps beside the model while it trains, or None.
        target: unlabelled rows of another domain that the task also sees, or None.
        teacher: that the task learns from, or None.
        taught: what it says of every row, once it was asked.
        unlabelled: rows that are learned from its answers alone, or None.
        old_rows: what the network could do before is measured on, or None.
    """

    recipe: Recipe
    table: Table
    splits: Splits
    findings: tuple[Finding, ...]
    backbone: Any
    task: Labelled
    model: Model | Towers
    plan: Plan
    state: nn.Module | None = None
    augment: Augment | None = None
    notes: tuple[str, ...] = ()
    chosen_on: Mapping[str, str] = field(default_factory=dict)
    near: Mapping[int, Near] = field(default_factory=dict)
    wordings: tuple[Wording, ...] = ()
    target: Target | None = None
    teacher: Teacher | None = None
    taught: Taught | None = None
    unlabelled: Unlabelled | None = None
    old_rows: OldRows | None = None

    @property
    def n_blocks(self) -> int:
        """Blocks of the backbone's longest chain."""
        return count_blocks(self.backbone)

    @property
    def varies_without_end(self) -> bool:
        """Whether every epoch sees new variants of the training pictures."""
        return self.augment is not None and self.augment.views is None

    @property
    def data_hash(self) -> str:
        """Return a hash of all rows, those beside the data too, and of who teaches them."""
        hashes = [self.table.content_hash()]
        hashes += [] if self.target is None else [self.target.table.content_hash()]
        hashes += [] if self.unlabelled is None else [self.unlabelled.table.content_hash()]
        hashes += [] if self.old_rows is None else [self.old_rows.table.content_hash()]
        hashes += [] if self.taught is None else [self.taught.fingerprint]
        return " ".join(hashes)

    def streams(self) -> dict[str, dict[str, Any]]:
        """Return the task's streams for each split, with what a teacher said of their rows.

        Training pictures vary where that is asked.
        """
        streams: dict[str, dict[str, Any]] = {part: self.streams_of(part) for part in PARTS}
        for (part, name), said in ({} if self.taught is None else self.taught.said).items():
            say(streams[part][name], said)
        if self.augment is not None:
            streams["train"] = {
                name: AugmentedStream(stream, self.augment)
                for name, stream in streams["train"].items()
            }
        return streams

    def streams_of(self, part: Part, most: int | None = None) -> dict[str, Any]:
        """Return the task's streams for one part of the split, as they are.

        Args:
            most: rows of each stream.
        """
        rows = getattr(self.splits, part)[:most]
        streams: dict[str, Any] = dict(self.task.streams(self.table.take(rows), self.backbone))
        is_idle = part == "train" and isinstance(self.task, Adapted) and self.task.is_watching
        if self.target is not None and not is_idle:
            rows = getattr(self.target.splits, part)[:most]
            if len(rows):
                streams[TARGET] = self.task.streams(self.target.table.take(rows), self.backbone)[
                    SOURCE
                ]
        if self.unlabelled is not None and part == "train":
            assert isinstance(self.task, Distilled)
            table = self.unlabelled.table
            some = table.take(np.arange(len(table))[:most])
            streams[UNLABELLED] = self.task.unlabelled(some, self.backbone)
        return streams


def open_job(
    recipe: Recipe,
    backbone: Backbone | None = None,
    plan: Plan | None = None,
    *,
    prepared: Prepared | None = None,
) -> Job:
    """Read the data, split it, open the backbone and build model and plan.

    Args:
        recipe: what is asked.
        backbone: a network declared in Python, instead of the one that the recipe names.
        plan: a plan made in Python, instead of the method that the recipe names.
        prepared: the examples of this recipe, where several jobs share them.

    Raises:
        InputError: data, recipe or model are not usable, or do not go together.
    """
    prepared = prepared or prepare(recipe)
    table, splits, findings = prepared.table, prepared.splits, prepared.findings
    refuse_options_of_teachers(recipe)
    refuse_target(recipe, table)
    target = read_target(recipe, table)
    if matches(table):
        return _pair_job(recipe, prepared, plan)
    refuse_options_of_towers(recipe)
    if embeds(recipe, table):
        recipe = without_options_of_labels(recipe, table)
        splits = rows_that_count(recipe, table, splits)
    else:
        refuse_options_of_classes(recipe, table)
        refuse_options_of_embeddings(recipe)
    if recipe.patience is not None and not len(splits.validation):
        raise InputError("--patience needs validation rows: raise --validation, or leave it out")
    recipe, student = student_of(recipe)
    backbone = backbone if student is None else student
    if recipe.model is None and backbone is None:
        if table.roles.modality != "text":
            raise InputError(
                f"{recipe.data}: pictures need a backbone; pass --model with a folder or a name "
                "such as timm:mobilenetv3_small_100"
            )
        recipe = recipe.model_copy(update={"model": DEFAULT_TEXT_MODEL})
    names = names_of(recipe, table)
    if names is not None:
        recipe, backbone = recipe.model_copy(update={"head": names.head}), names.pair.image
    elif backbone is None and recipe.model is not None:
        backbone = tower_for(recipe.place("model") or "", table)
    is_random = recipe.method == "scratch" if plan is None else plan.start == "random"
    backbone = _network(recipe, table, backbone, random=is_random)
    old_rows = read_old_rows(recipe, table.roles.modality)
    findings = (*findings, *token_faults(table, counted_tokens(backbone, table)))
    augment = _augment(recipe, backbone)
    make = embed_task if embeds(recipe, table) else labelled_task
    own = make(recipe, table, splits)
    if target is not None and recipe.teacher is not None:
        raise InputError("--teacher and --target do not go together; train twice, first with one")
    task: Any = own if target is None else adapted_task(recipe, own)
    teacher = open_teacher_of(recipe, own, table.roles.modality)
    if teacher is not None:
        task = distilled(recipe, own, teacher)
    unlabelled = read_unlabelled_rows(recipe, table)
    torch.manual_seed(recipe.seed)
    model, state = task.build(backbone)
    plan = plan or adapted_plan(recipe, build_plan(recipe, count_blocks(backbone)))
    insert(plan, model, task, table.take(splits.train[:2]), backbone, recipe.seed)
    plan, notes = without_idle_phases(plan, model, state)
    if target is not None:
        refuse_frozen_body(recipe, plan, model)
        findings, notes = (*findings, *target.read.findings), (*notes, target.note)
    if isinstance(task, Distilled):
        plan = projecting(recipe, task, plan, state)
        refuse_frozen_students(task, plan, model)
        notes = (*notes, *notes_on_rows(recipe, table))
    if unlabelled is not None:
        findings, notes = (*findings, *unlabelled.findings), (*notes, unlabelled.note)
        notes += note_on_epochs(plan, len(splits.train), len(unlabelled.table))
    wordings: tuple[Wording, ...] = ()
    if names is not None:
        recipe = recipe.model_copy(update={"head": "linear"})  # as it was asked
        assert isinstance(own, Classify)
        wordings, note = begin_at_names(names, model, own, table, splits)
        notes = (*notes, note)
    return Job(
        recipe,
        table,
        splits,
        findings,
        backbone,
        task,
        model,
        plan,
        state,
        augment,
        notes,
        near=prepared.near,
        wordings=wordings,
        target=target,
        teacher=teacher,
        unlabelled=unlabelled,
        old_rows=old_rows,
    )


def _network(recipe: Recipe, table: Table, backbone: Backbone | None, *, random: bool) -> Backbone:
    """Return the network that a recipe asks for, changed as it asks, for the rows of a table.

    Args:
        backbone: that is known already.

    Raises:
        InputError: it cannot be opened or changed so, or takes another modality.
    """
    if backbone is None:
        backbone = open_whole(recipe.place("model") or "", random=random)
    if recipe.channels is not None:
        backbone = with_channels(backbone, recipe.channels)
    if recipe.at is not None and recipe.at != "any":
        backbone = truncated(backbone, int(recipe.at) + 1)
    if backbone.modality != table.roles.modality:
        raise InputError(
            f"model `{recipe.model}` takes {backbone.modality}, and `{recipe.data}` holds "
            f"{table.roles.modality}; choose another --model or --input"
        )
    return backbone


def _pair_job(recipe: Recipe, prepared: Prepared, plan: Plan | None) -> Job:
    """Return the job of two towers."""
    refuse_options_without_meaning(recipe)
    recipe = without_options_of_labels(recipe, prepared.table)
    if recipe.patience is not None and not len(prepared.splits.validation):
        raise InputError("--patience needs validation rows: raise --validation, or leave it out")
    pair = pair_of(recipe)
    task: Any = match_task(recipe, pair)
    torch.manual_seed(recipe.seed)
    model, state = task.build(pair)
    plan = match_plan(recipe, pair, plan)
    insert(plan, model, task, prepared.table.take(prepared.splits.train[:2]), pair, recipe.seed)
    if not is_mergeable(model):
        raise InputError(
            f"the adapters of method `{recipe.method}` cannot be folded into the weights, as those "
            "of two towers must be; choose --method lora"
        )
    plan, notes = without_idle_phases(plan, model, state)
    return Job(
        recipe,
        prepared.table,
        prepared.splits,
        prepared.findings,
        pair,
        task,
        model,
        plan,
        state,
        notes=notes,
    )


def insert(
    plan: Plan,
    model: Model | Towers,
    task: Labelled,
    examples: Table,
    backbone: Any,
    seed: int,
) -> None:
    """Put what a plan inserts into a model; a few examples show where it belongs."""
    if plan.insert:
        put_in(plan, model, task, task.streams(examples, backbone), seed)


def counted_tokens(
    backbone: Backbone, table: Table, most: int | None = N_LOOKED_AT
) -> TokenCounts | None:
    """Return what a backbone's tokenizer makes of texts; None where it cannot say.

    Args:
        most: rows that are looked at, evenly spread; None for all.
    """
    count = getattr(backbone.processor, "counts", None)
    is_single_text = table.roles.modality == "text" and len(table.roles.inputs) == 1
    if count is None or not is_single_text or not len(table):
        return None
    n = len(table) if most is None else min(most, len(table))
    rows = np.linspace(0, len(table) - 1, n).astype(np.int64)
    texts = table.take(rows).inputs()
    if most is not None:
        # fewer of them where texts are very long: a tokenizer reads some MB a second
        step = 1 + sum(map(len, texts)) // N_CHARACTERS_LOOKED_AT
        rows, texts = rows[::step], texts[::step]
    return TokenCounts(rows, *count(texts))


def _augment(recipe: Recipe, backbone: Backbone) -> Augment | None:
    """Return how training pictures vary, or None where they do not."""
    if recipe.augment is None:
        if recipe.views is not None:
            raise InputError("--views needs --augment, which says how pictures vary")
        return None
    found = read_augment(recipe.augment, seed=recipe.seed, views=recipe.views)
    if backbone.modality != "image":
        raise InputError(
            f"--augment varies pictures, and `{recipe.data}` holds {backbone.modality}; leave it "
            "out"
        )
    if pictures_of(backbone.processor) is None:
        raise InputError("--augment needs a backbone with an ImageProcessor; leave it out")
    return found


def count_blocks(backbone: Backbone | BackbonePair) -> int:
    """Return the number of blocks of the longest chain."""
    return max(chain.n_blocks for chain in backbone.chains)
