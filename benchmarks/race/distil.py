"""Race an epoch under a teacher whose answers are stored against the same epoch without one.

    python benchmarks/race/distil.py --rows 1000 --repeats 5 --threads 1 --clock cpu

Both sides are graft: the lowest three blocks of MiniLM, `full`, one epoch. The teacher is MiniLM
whole. It was asked for every row before; the distilled side pays for opening its store, hashing its
weights, reading back what it said and its head, and for learning it.
"""

from __future__ import annotations

import dataclasses
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from racing import chosen, finish, interleave, now, options, race

DATA = ("sst2",)
MARK = 1.1
N_BLOCKS = 3


class Lesson:
    """Hold a teacher that was asked for every row, and what a student starts from."""

    def __init__(self, texts: Any, folder: Path) -> None:
        import torch

        from graft.backbones import open_backbone
        from graft.engine.embed import pooled_features
        from graft.engine.settings import Settings
        from graft.tasks.classify import Classify
        from graft.teacher import Teacher

        self.texts, self.folder = texts, folder
        self.task = Classify(texts.classes)
        self.whole = open_backbone("minilm")
        torch.manual_seed(1)
        model, _ = self.task.build(self.whole)
        self.teacher = Teacher("minilm", model, None, model.head, tuple(range(len(texts.classes))))
        self.rows = {"train": self.task.streams(texts.train, self.whole)["train"]}
        self.settings = Settings(cache=folder / "cache")
        pooled_features(model, self.task, self.rows, self.settings)

    def said(self, kind: str) -> Any:
        """Return what the teacher says of every row, read back."""
        import numpy as np

        from graft.engine.embed import pooled_features

        found = pooled_features(self.teacher.model, self.task, self.rows, self.settings)["train"]
        assert found.cache is not None and not found.cache.n_computed
        features = np.array(found.features)
        return self.teacher.outputs(features) if kind == "logits" else features

    def seconds(self, kind: Any) -> float:
        """Train a student for an epoch, taught or, where `kind` is None, not."""
        import torch

        from graft.engine.run import run
        from graft.methods.body import full
        from graft.surgery.truncate import truncated
        from graft.tasks.distilled import Distilled, say

        task: Any = self.task
        if kind is not None:
            width = len(self.texts.classes) if kind == "logits" else self.whole.width
            task = Distilled(self.task, kind, 0.5, 2.0, width)
        student = truncated(self.whole, N_BLOCKS)
        torch.manual_seed(0)
        model, state = task.build(student)
        streams = task.streams(self.texts.train, student)
        points = self.folder / f"points {now()}"
        settings = dataclasses.replace(self.settings, checkpoints=points)
        began = now()
        if kind is not None:
            say(streams["train"], self.said(kind))
        plan = full(N_BLOCKS, epochs=1)
        run(plan, model, task, {"train": streams}, state=state, settings=settings)
        return now() - began


def main() -> None:
    asked = options(__doc__)
    from texts import read_texts

    lines = []
    for name in chosen(asked, DATA):
        texts = read_texts(name, asked.rows)
        with tempfile.TemporaryDirectory() as folder:
            lesson = Lesson(texts, Path(folder))
            kinds = {"plain": None, "logits": "logits", "features": "features"}
            sides = {side: partial(lesson.seconds, kind) for side, kind in kinds.items()}
            seen = interleave(sides, asked.repeats)
        for kind in ("logits", "features"):
            work = f"an epoch of `full` learning {kind}, {name}, {len(texts.labels)} rows"
            note = "the peer is the same epoch without a teacher"
            lines.append(race(work, seen, kind, "plain", MARK, note=note, of_graft=True))
    finish(asked, lines)


if __name__ == "__main__":
    main()
