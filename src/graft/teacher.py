"""A teacher: a network that answers every row before a student learns from it.

It is a run of graft (its head answers what the data ask), a checkpoint whose own head has the very
classes, or, where its answers are not wanted, any backbone.

Shapes: N rows, C outputs of the student, D width of the teacher's features.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from graft.artifact import load_artifact
from graft.backbones import open_backbone, shown
from graft.backbones.backbone import Backbone
from graft.engine.predict import head_rows
from graft.errors import InputError
from graft.model import Model
from graft.tasks.labelled import Labelled, keeps_head


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


def open_teacher(name: str, place: str, task: Labelled, *, needs_head: bool) -> Teacher:
    """Open a teacher.

    Args:
        name: as the user wrote it.
        place: where it lies.
        task: of the student.
        needs_head: its answers are learned, and not its features alone.

    Raises:
        InputError: it answers another question.
    """
    with torch.random.fork_rng(devices=[]):  # the student begins as it would without a teacher
        folder = _folder_of_ours(place)
        if folder is None:
            return _of_backbone(name, task, open_backbone(place), needs_head=needs_head)
        model, known = load_artifact(folder)
        return _of_ours(name, task, model, known, needs_head=needs_head)


def _folder_of_ours(place: str) -> Path | None:
    """Return the model folder that a run of graft left, where the name means one."""
    folder = Path(place).expanduser()
    inner = folder / "model" if (folder / "record.json").is_file() else folder
    return inner if (inner / "graft.json").is_file() else None


def _of_ours(
    name: str, task: Labelled, model: Model, known: Labelled, *, needs_head: bool
) -> Teacher:
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


def _of_backbone(name: str, task: Labelled, backbone: Backbone, *, needs_head: bool) -> Teacher:
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
