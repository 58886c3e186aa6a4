"""The teacher that a recipe names, and the student's task under it: `--teacher`.

A teacher is a run of graft (its head answers what the data ask), a checkpoint whose own head has
the very classes, or, where its answers are not wanted, any backbone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from graft.artifact import load_artifact
from graft.backbones import open_backbone, shown
from graft.backbones.backbone import Backbone
from graft.data.table import Table
from graft.data.unlabelled import Unlabelled, read_unlabelled
from graft.engine.precision import trains_backbone
from graft.engine.predict import head_rows
from graft.errors import InputError
from graft.methods.plan import Convex, Gradient, Phase, Plan, Rule
from graft.methods.select import named
from graft.model import Model
from graft.recipe import Recipe, read_recipe
from graft.records import RunRecord, TeacherRecord, from_json
from graft.surgery.truncate import truncated
from graft.tasks.distilled import Beside, Distilled, Kind
from graft.tasks.labelled import Labelled, keeps_head

OPTIONS = ("distil", "distil_temperature", "distil_weight", "unlabeled", "student_blocks")
"""Fields of a recipe that need a teacher."""
WEIGHT, TEMPERATURE = 0.5, 4.0
"""Of the teacher's answers, unless said."""
PROJECTION_LR = 1e-3
SPLITTING = ("seed", "validation", "test", "split_column", "group")
"""Fields of a recipe that say which rows are held out."""


@dataclass(frozen=True, eq=False)
class Teacher:
    """Hold an opened teacher.

    Args:
        name: as the user wrote it.
        model: its backbone under a head of the student's kind, to run the task's loss with.
        state: what the task keeps beside that.
        head: what answers, or None where its features are all that is wanted of it.
        order: (C,) for each of the student's outputs the number of the head's own, or None.
        mean: taken off a number that the head predicts, which is then divided by
        std: this, so that both speak of standardised numbers.
    """

    name: str
    model: Model
    state: nn.Module | None = None
    head: nn.Module | None = None
    order: tuple[int, ...] | None = None
    mean: float = 0.0
    std: float = 1.0

    @property
    def backbone(self) -> Backbone:
        """Return its network."""
        return self.model.backbone

    def to(self, device: torch.device) -> None:
        """Move all of it to a device."""
        for module in (self.model, self.state, self.head):
            if module is not None:
                module.to(device)

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Yield what its answers depend on: backbone and head, by name."""
        for name, module in (("backbone", self.backbone), ("head", self.head)):
            if module is not None:
                yield from ((f"{name}.{key}", t) for key, t in module.state_dict().items())

    def outputs(self, features: np.ndarray) -> np.ndarray:
        """Return what the head makes of pooled features (N, D): (N, C), in the student's order."""
        assert self.head is not None
        found = head_rows(self.head, features)
        found = found if self.order is None else found[:, list(self.order)]
        return (found - self.mean) / self.std


@dataclass(frozen=True, eq=False)
class Taught:
    """Hold what a teacher said.

    Args:
        said: split and stream → (N, D) of each of the stream's items.
        record: for the run's record.
        fingerprint: of the teacher's weights.
    """

    said: Mapping[tuple[str, str], np.ndarray]
    record: TeacherRecord
    fingerprint: str


def refuse_options_of_teachers(recipe: Recipe) -> None:
    """Refuse what only has a meaning beside a teacher, where there is none.

    Raises:
        InputError: such an option is set.
    """
    odd = [name for name in OPTIONS if getattr(recipe, name) is not None]
    if recipe.teacher is None and odd:
        flag = f"--{odd[0].replace('_', '-')}"
        raise InputError(f"{flag} needs --teacher, a run or model to learn from; add it")


def student_of(recipe: Recipe) -> tuple[Recipe, Backbone | None]:
    """Return the recipe with the teacher as its model, and the lowest blocks of that.

    Raises:
        InputError: another model is asked for.
        ModelError: the teacher has no such blocks, or cannot be cut.
    """
    n_blocks = recipe.student_blocks
    if n_blocks is None:
        return recipe, None
    if recipe.model not in (None, recipe.teacher):
        raise InputError(
            "--student-blocks takes the lowest blocks of --teacher for the student; leave out "
            "--model, or --student-blocks"
        )
    recipe = recipe.model_copy(update={"model": recipe.teacher})
    whole = open_backbone(recipe.place("teacher") or "")
    return recipe, truncated(whole, n_blocks)


def open_teacher(recipe: Recipe, task: Labelled, table: Table) -> Teacher:
    """Open the teacher that a recipe names.

    Args:
        task: of the student.
        table: what it learns from.

    Raises:
        InputError: it takes other inputs, or answers another question.
    """
    place = recipe.place("teacher") or ""
    kind = kind_of(recipe, task)
    with torch.random.fork_rng(devices=[]):  # the student begins as it would without a teacher
        folder = _folder_of_ours(place)
        if folder is not None:
            model, known = load_artifact(folder)
            teacher = _of_ours(recipe, task, model, known, needs_head=kind == "logits")
        else:
            teacher = _of_backbone(recipe, task, open_backbone(place), needs_head=kind == "logits")
    if teacher.backbone.modality != table.roles.modality:
        raise InputError(
            f"teacher `{shown(place)}` takes {teacher.backbone.modality}, and `{recipe.data}` "
            f"holds {table.roles.modality}; choose another --teacher"
        )
    return teacher


def kind_of(recipe: Recipe, task: Labelled) -> Kind:
    """Return which of the teacher's numbers are learned.

    Raises:
        InputError: embeddings have no logits, or softening has no meaning.
    """
    kind: Kind = recipe.distil or ("embedding" if task.name == "embed" else "logits")
    if kind == "logits" and task.name == "embed":
        raise InputError("embeddings have no logits; pass --distil embedding, or features")
    if recipe.distil_temperature is not None and (kind != "logits" or task.name == "regress"):
        what = "numbers" if kind == "logits" else f"the teacher's {kind}"
        raise InputError(f"--distil-temperature softens logits, and not {what}; leave it out")
    return kind


def distilled(recipe: Recipe, task: Labelled, teacher: Teacher) -> Distilled:
    """Return the student's task under its teacher."""
    kind = kind_of(recipe, task)
    weight, temperature = recipe.distil_weight, recipe.distil_temperature
    if kind == "logits":
        width = len(task.classes)
    elif kind == "embedding" and task.name == "embed" and teacher.head is not None:
        width = int(teacher.head.width)  # type: ignore[arg-type]
    else:
        width = teacher.backbone.width
    return Distilled(
        task,
        kind,
        WEIGHT if weight is None else weight,
        TEMPERATURE if temperature is None else temperature,
        width,
    )


def notes_on_rows(recipe: Recipe, table: Table) -> tuple[str, ...]:
    """Return a note where the teacher was trained on these very rows, split in another way.

    What it is worth on held-out rows then says little, and what it teaches of them is known.
    """
    folder = Path(recipe.place("teacher") or "").expanduser()
    path, asked = folder / "record.json", folder / "recipe.yaml"
    if not (path.is_file() and asked.is_file()):
        return ()
    record = from_json(RunRecord, path.read_text(encoding="utf-8"))
    before = read_recipe({}, asked)
    odd = [name for name in SPLITTING if getattr(before, name) != getattr(recipe, name)]
    if not odd or record.data_hash != table.content_hash():
        return ()
    how = f"--{odd[0].replace('_', '-')} {getattr(before, odd[0])}"
    note = (
        f"teacher `{shown(recipe.teacher or '')}` was trained on these rows split in another way "
        f"({how}): rows that judge the student may be among those"
    )
    return (note,)


def read_unlabelled_rows(recipe: Recipe, table: Table) -> Unlabelled | None:
    """Return the rows that only the teacher speaks of; None where there are none.

    Raises:
        InputError: they cannot be used, or rows of the data have several inputs.
    """
    place = recipe.place("unlabeled")
    if place is None:
        return None
    if len(table.roles.inputs) > 1:
        raise InputError(
            f"--unlabeled goes with one input a row, not with {recipe.data}; leave it out"
        )
    return read_unlabelled(
        place,
        table,
        encoding=recipe.encoding,
        sep=recipe.sep,
        max_pixels=recipe.max_pixels,
        max_skip=recipe.max_skip,
        follow_links=recipe.follow_links,
    )


def projecting(recipe: Recipe, plan: Plan, state: nn.Module | None) -> Plan:
    """Return the plan with a rate of its own for the projection to the teacher's width, if any.

    It begins at random, whatever the head begins at. Where a head is solved it stays.
    """
    if not isinstance(state, Beside) or state.projection is None:
        return plan

    def projecting_too(phase: Phase) -> Phase:
        rate = None if isinstance(phase.by, Convex) else recipe.head_lr or PROJECTION_LR
        return replace(phase, rules=(Rule(named("state.projection.*"), rate), *phase.rules))

    return replace(plan, phases=tuple(map(projecting_too, plan.phases)))


def note_on_epochs(plan: Plan, n_train: int, n_unlabelled: int) -> tuple[str, ...]:
    """Return a note where training ends before every row without a label was seen once.

    An epoch goes through the rows with labels, and takes as many of the others.
    """
    passes = [p.by.n_epochs(n_train) for p in plan.phases if isinstance(p.by, Gradient)]
    n_seen = sum(passes) * n_train
    if not passes or n_seen >= n_unlabelled:
        return ()
    wanted = -(-n_unlabelled // n_train)
    of = f"{n_seen:,} of the {n_unlabelled:,} rows without labels"
    return (f"{of} are seen; --epochs {wanted} sees all",)


def refuse_frozen_students(task: Distilled, plan: Plan, model: Model) -> None:
    """Refuse to teach features to a network that does not train.

    Raises:
        InputError: as said.
    """
    if task.reads_features and not trains_backbone(plan, model):
        raise InputError(
            f"--distil {task.kind} moves the body, which this method does not train; pass "
            "--method full, or --distil logits"
        )


def _folder_of_ours(place: str) -> Path | None:
    """Return the model folder that a run of graft left, where the name means one."""
    folder = Path(place).expanduser()
    inner = folder / "model" if (folder / "record.json").is_file() else folder
    return inner if (inner / "graft.json").is_file() else None


def _of_ours(
    recipe: Recipe, task: Labelled, model: Model, known: Labelled, *, needs_head: bool
) -> Teacher:
    name = recipe.teacher or ""
    student, state = task.build(model.backbone)
    answers = known.name == task.name and sorted(known.classes) == sorted(task.classes)
    if task.name == "embed" or not answers:
        if needs_head:
            raise _other_answers(name, task, known.name, known.classes)
        is_embedding = task.name == known.name == "embed"
        return Teacher(name, student, state, model.head if is_embedding else None)
    order = tuple(known.classes.index(c) for c in task.classes)
    unit = (getattr(task, "mean", 0.0), getattr(task, "std", 1.0))
    return Teacher(name, student, state, model.head, order, *unit)


def _of_backbone(
    recipe: Recipe, task: Labelled, backbone: Backbone, *, needs_head: bool
) -> Teacher:
    name = recipe.teacher or ""
    kept: Any = task if task.name == "embed" else replace(task, head="linear", keep_head=True)  # type: ignore[type-var]
    model, state = kept.build(backbone)
    if task.name != "embed" and keeps_head(kept, backbone):
        return Teacher(name, model, state, model.head)
    if needs_head:
        raise _other_answers(name, task, "", backbone.origin.classes)
    return Teacher(name, model, state)


def _other_answers(name: str, task: Labelled, kind: str, classes: tuple[str, ...]) -> InputError:
    """Return the error for a teacher that answers another question than the data ask."""
    mend = "choose another --teacher, or pass --distil features"
    lacks = sorted(set(task.classes) - set(classes))
    more = sorted(set(classes) - set(task.classes))
    if not classes:
        fault = "has no head that answers"
    elif kind and kind != task.name:
        fault = f"was trained to `{kind}`, and the data ask to `{task.name}`"
    elif lacks:
        fault = f"does not know {lacks[0]!r} among its {len(classes)} classes"
    else:
        fault = f"also knows {more[0]!r}, which the training rows do not have"
    return InputError(f"teacher `{shown(name)}` {fault}; {mend}")
