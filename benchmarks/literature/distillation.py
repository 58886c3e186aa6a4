"""A small network taught by a larger one against the same network with labels alone, on digits.

    python benchmarks/literature/distillation.py --seeds 5 --threads 1

Hinton, Vinyals and Dean 2015, section 3: of 146 errors of a small network on MNIST and 67 of a
large one, softened targets leave 74: 91 % of the gap closes, with 60,000 training rows. Here the
teacher, a convolutional network, sees all 8,000 training digits of digits_mnist with their
labels; 2,000 others are the test. A student has 200 or 1,000 of the labels, or all of them and
no convolutions. The teacher speaks of the student's labelled rows, or of the other digits as well,
whose labels the student never sees.

Weight 0.5 and temperature 4 were chosen on a seed (100) that is not in the table, and so were 40
epochs for 100 hidden units, after ten had gained nothing.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from ledger import Ledger, options, paired, shared

WEIGHT, TEMPERATURE = 0.5, 4.0
TEACHER, N_ROWS = "teacher", 8_000
BATCH, RATE = 32, 2e-3
STUDENTS: dict[str, tuple[int, int, tuple[int, ...] | int]] = {
    "200 labels": (200, 40, (8, 16)),
    "1,000 labels": (1_000, 20, (8, 16)),
    "8,000 labels, 100 hidden units, 40 epochs": (N_ROWS, 40, 100),
    "8,000 labels, 30 hidden units, 40 epochs": (N_ROWS, 40, 30),
    "8,000 labels, 100 hidden units": (N_ROWS, 10, 100),
    "8,000 labels, 30 hidden units": (N_ROWS, 10, 30),
}
"""name → labelled rows, epochs, and filters of the convolutions or units of the hidden layer."""


def digits() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return images (N, 1, 28, 28) from 0 to 1 and their classes (N,), by part."""
    held = np.load(shared("data", "digits_mnist", "data.npz"))
    return {
        part: (
            held[f"{part}_images"].astype(np.float32)[:, None] / 255,
            held[f"{part}_labels"].astype(np.int64),
        )
        for part in ("train", "test")
    }


def network(filters: Sequence[int] | int, seed: int) -> Any:
    """Return a backbone with random weights: convolutions, or one hidden layer of so many units."""
    import torch
    from torch import nn

    import graft

    torch.manual_seed(seed)
    if isinstance(filters, int):
        net, width = nn.Sequential(nn.Flatten(), nn.Linear(784, filters), nn.ReLU()), filters
    else:
        layers: list[nn.Module] = []
        for before, after in zip((1, *filters), filters, strict=False):
            layers += [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after)]
            layers += [nn.ReLU(), nn.MaxPool2d(2)]
        width = 2 * filters[-1]
        side = 28 // 2 ** len(filters)
        dense = nn.Linear(filters[-1] * side * side, width)
        net = nn.Sequential(*layers, nn.Flatten(), dense, nn.ReLU())
    return graft.backbone(net, blocks="*", width=width)


class Lesson:
    """Hold the digits of a seed and its teacher, which is trained when it is first needed."""

    def __init__(self, seed: int) -> None:
        self.seed, self.parts = seed, digits()
        self._said: dict[str, np.ndarray] = {}
        self.accuracy = float("nan")

    def rows(self, n: int) -> np.ndarray:
        """Return the rows whose labels a student sees, as many of each class."""
        labels = self.parts["train"][1]
        rng = np.random.default_rng(self.seed)
        drawn = [rng.permutation(np.flatnonzero(labels == c))[: n // 10] for c in range(10)]
        return np.arange(N_ROWS) if n == N_ROWS else np.concatenate(drawn)

    def said(self, kind: str) -> np.ndarray:
        """Return the teacher's logits, or features, of every training row."""
        if not self._said:
            from graft.engine.predict import feature_rows
            from graft.features import Features

            model, self.accuracy = self._trained(network((16, 32), self.seed), self.all(), 5)
            stream = self._streams(model.backbone, np.arange(N_ROWS))["train"]
            features = feature_rows(model.backbone, stream)
            self._said = {"features": features, "logits": _logits(model.head, Features, features)}
        return self._said[kind]

    def all(self) -> dict[str, Any]:
        """Return how a network is trained that sees every label."""
        return {"rows": np.arange(N_ROWS)}

    def teach(self, filters: Any, n: int, epochs: int, kind: str, rest: bool) -> dict[str, float]:
        """Return the accuracy of a student."""
        how: dict[str, Any] = {"rows": self.rows(n), "kind": kind, "rest": rest}
        return {"accuracy": self._trained(network(filters, self.seed), how, epochs)[1]}

    def teacher(self) -> dict[str, float]:
        """Return the accuracy of the teacher."""
        self.said("logits")
        return {"accuracy": self.accuracy}

    def _streams(self, backbone: Any, rows: np.ndarray, part: str = "train") -> dict[str, Any]:
        from graft.tasks.arrays import array_streams

        images, labels = self.parts[part]
        return dict(array_streams(images[rows], labels[rows], backbone))

    def _trained(self, backbone: Any, how: dict[str, Any], epochs: int) -> tuple[Any, float]:
        import torch

        from graft.engine.predict import predict_rows
        from graft.engine.run import run
        from graft.engine.settings import Settings
        from graft.methods.body import full
        from graft.tasks.classify import Classify
        from graft.tasks.distilled import SAID, UNLABELLED, Distilled, say
        from graft.tasks.streams import TableStream

        task: Any = Classify(tuple("0123456789"))
        streams, kind = self._streams(backbone, how["rows"]), how.get("kind")
        if kind:
            said = self.said(kind)
            spread = float(said.var(0).mean()) if kind == "features" else 1.0
            task = Distilled(task, kind, WEIGHT, TEMPERATURE, said.shape[1], spread)
            say(streams["train"], said[how["rows"]])
            if how["rest"]:
                others = np.setdiff1d(np.arange(N_ROWS), how["rows"])
                streams[UNLABELLED] = TableStream(
                    self.parts["train"][0][others],
                    backbone.processor,
                    targets={SAID: said[others]},
                    key=f"all but {len(how['rows'])} of seed {self.seed}",
                )
        torch.manual_seed(self.seed)
        model, state = task.build(backbone)
        plan = full(lr=RATE, head_lr=RATE, epochs=epochs, batch_size=BATCH)
        settings = Settings(seed=self.seed)
        run(plan, model, task, {"train": streams}, state=state, settings=settings)
        rows = np.arange(len(self.parts["test"][1]))
        test = self._streams(backbone, rows, "test")["train"]
        answers = predict_rows(model, task, test)["probabilities"].argmax(1)
        return model, float((answers == self.parts["test"][1]).mean())


def _logits(head: Any, record: Any, features: np.ndarray) -> np.ndarray:
    import torch

    with torch.no_grad():
        return head(record(pooled=torch.from_numpy(features))).numpy()


WAYS = {
    "labels alone": ("", False),
    "logits": ("logits", False),
    "logits, other digits too": ("logits", True),
    "features, other digits too": ("features", True),
}


def main() -> None:
    asked = options(__doc__, seeds=5)
    ledger = Ledger("distillation")
    for seed in range(asked.seeds):
        lesson = Lesson(seed)
        ledger.cell(lesson.teacher, method=TEACHER, seed=seed)
        for name, (n, epochs, filters) in STUDENTS.items():
            for way, (kind, rest) in WAYS.items():
                if rest and n == N_ROWS:
                    continue
                work = partial(lesson.teach, filters, n, epochs, kind, rest)
                ledger.cell(work, method=f"{name}: {way}", seed=seed)
    print(closed(ledger))


def closed(ledger: Ledger) -> str:
    """Return how much of the gap to the teacher each way of teaching closes, as Markdown."""
    of = {
        method: {row["seed"]: row["accuracy"] for row in ledger.rows if row["method"] == method}
        for method in dict.fromkeys(row["method"] for row in ledger.rows)
    }
    top = of[TEACHER]
    lines = [
        "| student | learns | accuracy | teacher | gap | of it closed (95 % interval) |",
        "|---|---|---|---|---|---|",
    ]
    for name in STUDENTS:
        plain = of.get(f"{name}: labels alone", {})
        for way in WAYS:
            found = of.get(f"{name}: {way}", {})
            seeds = sorted(found.keys() & plain.keys() & top.keys())
            if not seeds:
                continue
            mean, best = (100 * statistics.mean(a[s] for s in seeds) for a in (found, top))
            gap = best - 100 * statistics.mean(plain[s] for s in seeds)
            share = "–"
            if way != "labels alone":
                share = str(paired([(found[s] - plain[s]) / (top[s] - plain[s]) for s in seeds]))
            lines.append(f"| {name} | {way} | {mean:.1f} % | {best:.1f} % | {gap:.1f} | {share} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
