"""A grid of 30 small trainings to be killed: every method, task and way of the loop.

Each runs in a fraction of a second in a process that has imported everything, and ends with the
hash of the weights. `kill_until_done` lives through many lives of one of them.
"""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from graft.backbones.own import backbone
from graft.engine.fingerprint import fingerprint
from graft.engine.run import run
from graft.engine.settings import Listener, Settings
from graft.heads import Linear
from graft.killpoints import POINTS
from graft.methods.adapters import bias, bottleneck, lora, residual
from graft.methods.body import full, last, layerwise, lp_ft, scratch, unfreeze
from graft.methods.heads import head_only, probe
from graft.methods.plan import Plan
from graft.model import Model
from graft.tasks.classify import Classify
from graft.tasks.multilabel import Multilabel
from graft.tasks.regress import Regress
from tests.engine.streams import ArrayStream
from tests.faults.killer import forked

N_ROWS, N_BLOCKS, WIDTH, N_CLASSES = 24, 2, 8, 3

MOMENTS = POINTS[: POINTS.index("in_artifact")]
"""The named points that an engine's run may pass."""


class Net(nn.Module):
    """Blocks of a linear layer, batch norm and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(WIDTH, WIDTH)
        self.layers = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH), nn.Tanh(), nn.Dropout(0.2)
                )
                for _ in range(N_BLOCKS)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(self.stem(x))


class Residuals(nn.Module):
    """Blocks whose layer joins a stream, as a transformer's do."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(WIDTH, WIDTH)
        self.layers = nn.ModuleList(Joining() for _ in range(N_BLOCKS))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for layer in self.layers:
            x = layer(x)
        return x


class Joining(nn.Module):
    """A layer between norm and dropout, added to what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.layer = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH)
        self.dropout = nn.Dropout(0.2)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.dropout(self.layer(self.norm(x)))


class Convolutions(nn.Module):
    """3×3 convolutions with batch norm over pictures of two channels and four places."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(WIDTH, WIDTH)
        self.layers = nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), nn.BatchNorm2d(2), nn.Tanh())
                for _ in range(N_BLOCKS)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(self.stem(x).reshape(-1, 2, 2, 2)).flatten(1)


class Varied(ArrayStream):
    """Rows that vary in each epoch, as augmented pictures do; `expect` makes threads read them."""

    n_numbers = None

    def __init__(self, plain: ArrayStream) -> None:
        super().__init__(plain.inputs, plain.targets, f"{plain.key}-varied")
        self.plain = plain
        self.pending: dict[int, Any] = {}

    def numbers(self, rows: Any, phase: int, epoch: int) -> Any:
        return rows + len(self) * (1 + phase * 100 + epoch)

    def expect(self, rows: Any, submit: Any) -> None:
        for number in rows.tolist():
            if number not in self.pending:
                self.pending[number] = submit(self.vary, number)

    def forget(self) -> None:
        self.pending.clear()

    def vary(self, number: int) -> Tensor:
        noise = torch.Generator().manual_seed(number)
        row = self.inputs["x"][number % len(self)]
        return row + 0.1 * torch.randn(row.shape, generator=noise)

    def batch(self, rows: Any, **options: Any) -> Any:
        batch = super().batch(rows % len(self), **options)
        made = {n: self.pending.pop(n, None) for n in rows.tolist()}
        varied = [self.vary(n) if f is None else f.result() for n, f in made.items()]
        if "x" in batch.inputs:
            batch.inputs["x"] = torch.stack(varied)
        return batch


@dataclass(frozen=True)
class Training:
    """One cell of the grid.

    Args:
        plan: makes the plan.
        kind: of the targets.
        every: steps between checkpoints in the first life; later ones draw their own.
        options: of the task.
        net: makes the network.
    """

    plan: Callable[[], Plan]
    kind: str = "single"
    every: int = 3
    workers: int = 0
    varied: bool = False
    cached: bool = True
    options: dict[str, Any] = field(default_factory=dict)
    net: Callable[[], nn.Module] = Net


BY: dict[str, Any] = {"lr": 1e-2, "head_lr": 1e-2, "epochs": 2, "batch_size": 8}
HEAD: dict[str, Any] = {"head_lr": 1e-2, "epochs": 4, "batch_size": 8}
MANY = {**BY, "epochs": 3}

TRAININGS: dict[str, Training] = {
    "probe": Training(probe),
    "probe, numbers": Training(probe, kind="number"),
    "probe, labels": Training(partial(probe, l2=0.01), kind="multi"),
    "head": Training(partial(head_only, **HEAD)),
    "head, no store, epoch ends": Training(partial(head_only, **HEAD), cached=False, every=0),
    "head, focal": Training(partial(head_only, **HEAD), options={"focal": 2.0}),
    "last:1": Training(partial(last, N_BLOCKS, n=1, **BY)),
    "last:1, every step, patience": Training(
        partial(last, N_BLOCKS, n=1, patience=1, **MANY), every=1
    ),
    "last:1, labels": Training(partial(last, N_BLOCKS, n=1, **BY), kind="multi"),
    "full": Training(partial(full, **BY)),
    "full, every step": Training(partial(full, **BY), every=1),
    "full, micro-batches": Training(partial(full, micro_batch_size=3, **BY)),
    "full, averaged": Training(partial(full, ema=0.9, **BY)),
    "full, varied, two readers": Training(partial(full, **BY), varied=True, workers=2),
    "full, numbers, cosine": Training(partial(full, schedule="cosine", **BY), kind="number"),
    "layerwise": Training(partial(layerwise, N_BLOCKS, **BY)),
    "layerwise, averaged, patience": Training(
        partial(layerwise, N_BLOCKS, ema=0.8, patience=1, **MANY), every=2
    ),
    "lp-ft": Training(partial(lp_ft, N_BLOCKS, **BY)),
    "lp-ft, varied": Training(lambda: probe(l2=0.01) + full(**BY), varied=True),
    "unfreeze": Training(partial(unfreeze, N_BLOCKS, **BY)),
    "unfreeze, every step, micro-batches": Training(
        partial(unfreeze, N_BLOCKS, micro_batch_size=5, **BY), every=1
    ),
    "unfreeze, epoch ends, averaged": Training(
        partial(unfreeze, N_BLOCKS, ema=0.9, patience=1, **BY), every=0
    ),
    "scratch": Training(partial(scratch, lr=1e-2, epochs=2, batch_size=8)),
    "scratch, smooth labels, two readers": Training(
        partial(scratch, lr=1e-2, epochs=2, batch_size=8),
        varied=True,
        workers=2,
        options={"label_smoothing": 0.1},
    ),
    "lora": Training(partial(lora, rank=2, **BY)),
    "lora after a probe, every step": Training(
        lambda: probe(l2=0.01) + lora(rank=2, **BY), every=1
    ),
    "bottleneck": Training(partial(bottleneck, size=3, **BY), net=Residuals),
    "bottleneck beside, averaged": Training(
        partial(bottleneck, size=3, placement="parallel", ema=0.9, **BY), net=Residuals
    ),
    "residual": Training(partial(residual, **BY), net=Convolutions),
    "bias, every step": Training(partial(bias, **BY), every=1),
}
assert len(TRAININGS) == 30


def train(
    name: str,
    folder: Path | None,
    every: int | None = None,
    listener: Listener | None = None,
) -> str:
    """Train a cell, or go on training it in `folder`; returns the hash of the final weights."""
    cell = TRAININGS[name]
    torch.manual_seed(0)
    fresh = backbone(cell.net(), blocks="layers.*", width=WIDTH, fresh=cell.net)
    task: Any = {
        "single": partial(Classify, tuple("abc")),
        "multi": partial(Multilabel, tuple("abc")),
        "number": partial(Regress, ("y",)),
    }[cell.kind](**cell.options)
    model = Model(fresh, Linear(WIDTH, 1 if cell.kind == "number" else N_CLASSES))
    stream: Any = rows(0, N_ROWS, cell.kind)
    settings = Settings(
        checkpoints=folder and folder / "checkpoints",
        checkpoint_every=cell.every if every is None else every,
        cache=folder / "cache" if folder is not None and cell.cached else None,
        workers=cell.workers,
        recipe=name,
    )
    run(
        cell.plan(),
        model,
        task,
        {
            "train": {"train": Varied(stream) if cell.varied else stream},
            "validation": {"train": rows(1, 8, cell.kind)},
        },
        settings=settings,
        listener=listener,
        resume=folder is not None,
    )
    digest = fingerprint(model.state_dict().items())
    if folder is not None:
        (folder / "sha256").write_text(digest, encoding="utf-8")
    return digest


def rows(seed: int, n: int, kind: str) -> ArrayStream:
    source = torch.Generator().manual_seed(seed)
    x = torch.randn(n, WIDTH, generator=source)
    y = x[:, :N_CLASSES] + 0.3 * torch.randn(n, N_CLASSES, generator=source)
    targets = {
        "single": {"label": y.argmax(1)},
        "multi": {"labels": (y > 0).float()},
        "number": {"number": y[:, 0].clone()},
    }[kind]
    return ArrayStream({"x": x}, targets, key=f"{kind}-{seed}-{n}")


@dataclass
class Outcome:
    """What became of the kills of one recipe."""

    n_kills: int = 0
    n_trainings: int = 0
    n_identical: int = 0


def kill_until_done(name: str, folder: Path, *, n_kills: int, seed: int) -> Outcome:
    """Kill a training `n_kills` times, at named points and at random moments, and compare.

    A training that gets to its end before it was killed often enough is compared too, and begun
    anew. Each life draws its own interval of checkpoints, which may change nothing.
    """
    source = random.Random(f"{name} {seed}")
    began = time.monotonic()
    whole = train(name, None)
    seconds = time.monotonic() - began
    outcome = Outcome()

    def finish(is_done: bool) -> None:
        if not is_done:
            assert not forked(lambda: train(name, folder))
        outcome.n_trainings += 1
        outcome.n_identical += (folder / "sha256").read_text(encoding="utf-8") == whole
        shutil.rmtree(folder)
        folder.mkdir()

    folder.mkdir(parents=True, exist_ok=True)
    while outcome.n_kills < n_kills:
        every = source.choice([TRAININGS[name].every, 1, 2, 5])
        point = f"{source.choice(MOMENTS)}:{source.randint(1, 4)}"
        moment: dict[str, Any] = {"point": point}
        if source.random() < 0.5:
            moment = {"after": source.uniform(0, 0.8) * max(seconds, 0.02)}
        was_killed = forked(lambda every=every: train(name, folder, every), **moment)
        outcome.n_kills += was_killed
        if not was_killed or source.random() < 0.25:
            finish(not was_killed)
    finish(False)
    return outcome
