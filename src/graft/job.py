"""A job: everything that is known before training, made from a recipe.

This is where words become objects: data, split, backbone, task and plan. What can be refused is
refused here, before any work is done.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from graft.backbones import open_backbone
from graft.backbones.backbone import Backbone
from graft.data.augment import Augment, read_augment
from graft.data.doctor.near import Near
from graft.data.doctor.tokens import N_LOOKED_AT, TokenCounts, token_faults
from graft.data.faults import Finding
from graft.data.split import Splits
from graft.data.table import Table
from graft.errors import InputError
from graft.engine.groups import locate
from graft.methods.plan import Phase, Plan
from graft.model import Model
from graft.prepare import embeds, prepare
from graft.recipe import Recipe, build_plan
from graft.surgery.channels import with_channels
from graft.surgery.truncate import truncated
from graft.tasks.augmented import AugmentedStream, pictures_of
from graft.tasks.aims import DEFAULTS, Kind
from graft.tasks.classify import Classify, balanced_weights
from graft.tasks.embed import N_PER_CLASS, Embed
from graft.tasks.labelled import Labelled
from graft.tasks.multilabel import Multilabel
from graft.tasks.regress import Regress

EMBEDDING_OPTIONS = ("margin", "temperature", "learn_temperature", "mining", "distance")
DEFAULT_TEXT_MODEL = "minilm"
N_CHARACTERS_LOOKED_AT = 5_000_000


@dataclass(frozen=True)
class Job:
    """Everything that is known before training.

    Args:
        state: what the task keeps beside the model while it trains, or None.
    """

    recipe: Recipe
    table: Table
    splits: Splits
    findings: tuple[Finding, ...]
    backbone: Backbone
    task: Labelled
    model: Model
    plan: Plan
    state: nn.Module | None = None
    augment: Augment | None = None
    notes: tuple[str, ...] = ()
    chosen_on: Mapping[str, str] = field(default_factory=dict)
    near: Mapping[int, Near] = field(default_factory=dict)

    @property
    def n_blocks(self) -> int:
        """Blocks of the backbone's longest chain."""
        return count_blocks(self.backbone)

    @property
    def varies_without_end(self) -> bool:
        """Whether every epoch sees new variants of the training pictures."""
        return self.augment is not None and self.augment.views is None

    def streams(self) -> dict[str, dict[str, Any]]:
        """Return the task's streams for each split; training pictures vary where that is asked."""
        parts = {
            "train": self.splits.train,
            "validation": self.splits.validation,
            "test": self.splits.test,
        }
        streams: dict[str, dict[str, Any]] = {
            name: self.task.streams(self.table.take(rows), self.backbone)
            for name, rows in parts.items()
        }
        if self.augment is not None:
            streams["train"] = {
                name: AugmentedStream(stream, self.augment)
                for name, stream in streams["train"].items()
            }
        return streams


def open_job(recipe: Recipe, backbone: Backbone | None = None, plan: Plan | None = None) -> Job:
    """Read the data, split it, open the backbone and build model and plan.

    Args:
        recipe: what is asked.
        backbone: a network declared in Python, instead of the one that the recipe names.
        plan: a plan made in Python, instead of the method that the recipe names.

    Raises:
        InputError: data, recipe or model are not usable, or do not go together.
    """
    prepared = prepare(recipe)
    table, splits, findings = prepared.table, prepared.splits, prepared.findings
    if embeds(recipe, table):
        recipe = _refuse_options_of_labels(recipe)
    else:
        _refuse_options_of_classes(recipe, table)
        _refuse_options_of_embeddings(recipe)
    if recipe.patience is not None and not len(splits.validation):
        raise InputError("--patience needs validation rows: raise --validation, or leave it out")
    if recipe.model is None and backbone is None:
        if table.roles.modality != "text":
            raise InputError(
                f"{recipe.data}: pictures need a backbone; pass --model with a folder or a name "
                "such as timm:mobilenetv3_small_100"
            )
        recipe = recipe.model_copy(update={"model": EMBEDDING_OPTIONS = ("margin", "temperature", "learn_temperature", "mining", "distance")
DEFAULT_TEXT_MODEL})
    if backbone is None:
        assert recipe.model is not None
        is_random = recipe.method == "scratch" if plan is None else plan.start == "random"
        backbone = open_backbone(recipe.model, random=is_random)
    if recipe.channels is not None:
        backbone = with_channels(backbone, recipe.channels)
    if recipe.at is not None and recipe.at != "any":
        backbone = truncated(backbone, int(recipe.at) + 1)
    if backbone.modality != table.roles.modality:
        raise InputError(
            f"model `{recipe.model}` takes {backbone.modality}, and `{recipe.data}` holds "
            f"{table.roles.modality}; choose another --model or --input"
        )
    findings = (*findings, *token_faults(table, counted_tokens(backbone, table)))
    augment = _augment(recipe, backbone)
    task = _embed(recipe, table, splits) if embeds(recipe, table) else _task(recipe, table, splits)
    torch.manual_seed(recipe.seed)
    model, state = task.build(backbone)
    plan = plan or build_plan(recipe, count_blocks(backbone))
    plan, notes = without_idle_phases(plan, model, state)
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
    )


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


def _refuse_options_of_classes(recipe: Recipe, table: Table) -> None:
    """Refuse what only has a meaning where each row has one class.

    Raises:
        InputError: such an option is set.
    """
    if table.target_kind == "single":
        return
    kind = "numbers" if table.target_kind == "number" else "several labels a row"
    given = ["--class-weights"] if recipe.class_weights else []
    if table.target_kind == "number":
        given += ["--label-smoothing"] * bool(recipe.label_smoothing)
        given += ["--focal"] * (recipe.focal is not None)
    if given:
        raise InputError(
            f"{recipe.data}: column `{table.roles.label}` holds {kind}, for which {given[0]} has "
            "no meaning; leave it out, or pass --target-kind single if they are classes"
        )


def _refuse_options_of_labels(recipe: Recipe) -> Recipe:
    """Refuse what has no meaning for embeddings; return the recipe with the head that they have.

    Raises:
        InputError: such an option is set.
    """
    given = {
        "--class-weights": recipe.class_weights,
        "--label-smoothing": recipe.label_smoothing,
        "--focal": recipe.focal,
        "--at": recipe.at,
        "--method auto": recipe.method == "auto",
    }
    odd = [flag for flag, value in given.items() if value]
    if odd:
        raise InputError(f"{odd[0]} has no meaning for embeddings; leave it out")
    head = "pooled" if recipe.head == "linear" else recipe.head
    return recipe.model_copy(update={"head": head})


def _refuse_options_of_embeddings(recipe: Recipe) -> None:
    """Refuse what only has a meaning for embeddings.

    Raises:
        InputError: such an option is set.
    """
    odd = [name for name in (*EMBEDDING_OPTIONS, "objective", "items_per_class") if _is_set(recipe, name)]
    if odd:
        flag = f"--{odd[0].replace('_', '-')}"
        raise InputError(f"{flag} is for embeddings; add --task embed, or leave it out")


def _is_set(recipe: Recipe, name: str) -> bool:
    return getattr(recipe, name) not in (None, False)


def _embed(recipe: Recipe, table: Table, splits: Splits) -> Embed:
    """Return the embedding task that the table's examples ask for.

    Raises:
        InputError: the objective takes other examples, or too few classes can be told apart.
    """
    kind, classes, n_classes = kind_of(table), (), 0
    if kind == "labels":
        labels = table.labels() or []
        trained = sorted({labels[i] for i in splits.train.tolist()} - {""})
        rest = sorted({label for label in labels if label} - set(trained))
        classes, n_classes = (*trained, *rest), len(trained)
        if n_classes < 2:
            raise InputError(
                f"{recipe.data}: the training rows hold one class, and nothing to lie far from; "
                "add rows of another, or pass pairs"
            )
    settings = {
        name: getattr(recipe, name)
        for name in EMBEDDING_OPTIONS
        if name != "learn_temperature" and _is_set(recipe, name)
    }
    return Embed(
        classes,
        recipe.head,
        kind=kind,
        objective=recipe.objective or DEFAULTS[kind],
        options=settings,
        n_classes=n_classes,
        n_per_class=recipe.items_per_class or N_PER_CLASS,
        learns_temperature=recipe.learn_temperature,
    )


def kind_of(table: Table) -> Kind:
    """Return what an example of a table is to an embedding."""
    n_roles = len(table.roles.inputs)
    if n_roles == 1:
        return "labels"
    if n_roles > 2:
        return "triplets"
    numbers = table.numbers()
    if numbers is None:
        return "pairs"
    return "binary" if np.isin(numbers, (0.0, 1.0)).all() else "scores"


def without_idle_phases(
    plan: Plan, model: nn.Module, state: nn.Module | None
) -> tuple[Plan, tuple[str, ...]]:
    """Return a plan without the phases that would train nothing, and a note on each.

    The head of an embedding may have no parameter, so a phase for the head alone has nothing to do.
    """
    located = locate(model, state)

    def works(phase: Phase) -> bool:
        firsts = [next((r for r in phase.rules if r.where(m.place)), None) for m in located]
        return any(rule is None or rule.lr for rule in firsts)

    kept = tuple(phase for phase in plan.phases if works(phase))
    if not kept or len(kept) == len(plan.phases):
        return plan, ()
    idle = [phase.name for phase in plan.phases if phase not in kept]
    notes = tuple(f"phase `{name}` is left out: the head has nothing to train" for name in idle)
    return dataclasses.replace(plan, phases=kept), notes


def _task(recipe: Recipe, table: Table, splits: Splits) -> Labelled:
    """Return the task that the table's targets ask for, as seen from its training rows."""
    if table.target_kind == "number":
        numbers = table.numbers()
        assert numbers is not None and table.roles.label is not None
        trained = numbers[splits.train]
        std = float(trained.std()) or 1.0
        return Regress((table.roles.label,), recipe.head, float(trained.mean()), std)
    lists = table.label_lists()
    assert lists is not None
    counts = Counter(label for row in splits.train for label in lists[row] or ())
    classes = tuple(sorted(counts))
    if table.target_kind == "multi":
        return Multilabel(classes, recipe.head, recipe.label_smoothing, focal=recipe.focal)
    weights = None
    if recipe.class_weights == "balanced":
        by_name = balanced_weights(counts)
        weights = tuple(by_name[c] for c in classes)
    return Classify(classes, recipe.head, weights, recipe.label_smoothing, focal=recipe.focal)


def count_blocks(backbone: Backbone) -> int:
    """Return the number of blocks of the longest chain."""
    return max(chain.n_blocks for chain in backbone.chains)
