"""What a recipe asks of a teacher and its student: `--teacher`.

recipe, task ─open_teacher_of, distilled→ the teacher, the task under it
recipe       ─student_of→ the student's network, where it comes from the teacher
recipe       ─read_unlabelled_rows→ rows of which the teacher alone speaks
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from torch import nn

from graft.backbones import shown
from graft.backbones.backbone import Backbone
from graft.data.table import Table
from graft.data.unlabelled import Unlabelled
from graft.engine.precision import trains_backbone
from graft.errors import InputError
from graft.methods.plan import Convex, Gradient, Phase, Plan, Rule
from graft.methods.select import named
from graft.model import Model
from graft.prepare import read_beside
from graft.recipe import Recipe, read_recipe
from graft.records import RunRecord, TeacherRecord
from graft.serial import from_json
from graft.surgery.inserting import inserted
from graft.surgery.opening import open_whole
from graft.surgery.shorten import shortened
from graft.tasks.distilled import Beside, Distilled, Kind
from graft.tasks.labelled import Labelled
from graft.teacher import Teacher, open_teacher
from graft.wording import flag

OPTIONS = ("distil", "distil_temperature", "distil_weight", "unlabeled", "student_blocks")
"""Fields of a recipe that need a teacher."""
WEIGHT, TEMPERATURE = 0.5, 4.0
"""Of the teacher's answers, unless said."""
PROJECTION_LR = 1e-3
SPLITTING = ("seed", "validation", "test", "split_column", "group")
"""Fields of a recipe that say which rows are held out."""


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
        raise InputError(f"{flag(odd[0])} needs --teacher, a run or model to learn from; add it")


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
    whole = open_whole(recipe.place("teacher") or "")
    if any(inserted(whole)):
        name = shown(recipe.teacher or "")
        raise InputError(
            f"--student-blocks: teacher `{name}` has adapters in its blocks, which no library "
            "builds; name the student with --model"
        )
    return recipe, shortened(whole, n_blocks)


def open_teacher_of(recipe: Recipe, task: Labelled, modality: str) -> Teacher | None:
    """Open the teacher that a recipe names; None where it names none.

    Args:
        task: of the student.
        modality: of the rows that it learns from.

    Raises:
        InputError: it takes other inputs, or answers another question.
    """
    place = recipe.place("teacher")
    if place is None:
        return None
    needs_head = kind_of(recipe, task) == "logits"
    teacher = open_teacher(recipe.teacher or "", place, task, needs_head=needs_head)
    if teacher.backbone.modality != modality:
        raise InputError(
            f"teacher `{shown(place)}` takes {teacher.backbone.modality}, and `{recipe.data}` "
            f"holds {modality}; choose another --teacher"
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
    if temperature is None:  # only logits of classes and labels are softened
        temperature = TEMPERATURE if kind == "logits" and task.name != "regress" else 1.0
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
        temperature,
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
    how = f"{flag(odd[0])} {getattr(before, odd[0])}"
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
    return read_beside(recipe, table, place)


def projecting(recipe: Recipe, task: Distilled, plan: Plan, state: nn.Module | None) -> Plan:
    """Return the plan with a rate of its own for the projection to the teacher's width, if any.

    It begins at random, whatever the head begins at. Where a head is solved it stays.
    """
    if not isinstance(state, Beside) or state.projection is None:
        return plan

    def projecting_too(phase: Phase) -> Phase:
        is_solved = isinstance(phase.by, Convex) and not task.why_not_convex
        rate = None if is_solved else recipe.head_lr or PROJECTION_LR
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
    """Refuse to teach features, or vectors that no head makes, to a network that does not train.

    Raises:
        InputError: as said.
    """
    is_of_body = task.reads_features or not any(True for _ in model.head.parameters())
    if is_of_body and not trains_backbone(plan, model):
        raise InputError(
            f"--distil {task.kind} moves the body, which this method does not train; pass "
            "--method full, or leave out --teacher"
        )
