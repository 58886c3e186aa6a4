"""Two domains that a network can tell classes in by what both share, or by what only one has.

The first number says the class in both domains. The second says it more clearly, but in the source
alone; in the target it is always the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

import graft
from graft.backbones.backbone import Backbone
from graft.engine.predict import predict_rows
from graft.engine.run import run
from graft.engine.settings import Settings
from graft.methods.body import full
from graft.phase_records import PhaseRecord
from graft.tasks.adapted import SOURCE, TARGET, Adapted
from graft.tasks.arrays import array_streams
from graft.tasks.classify import Classify
from graft.tasks.streams import TableStream

N_ROWS = 400


def points(seed: int, *, is_target: bool = False, n: int = N_ROWS) -> tuple[np.ndarray, np.ndarray]:
    """Return points (n, 2) and their classes."""
    random = np.random.default_rng(seed)
    classes = random.integers(0, 2, n)
    sides = 2 * classes - 1
    found = random.normal(0, 0.5, (n, 2))
    found[:, 0] += sides
    found[:, 1] += 3.0 if is_target else 2.0 * sides
    return found.astype(np.float32), classes


class Net(nn.Module):
    """Map points (n, 2) to features (n, 8)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(2, 16)
        self.blocks = nn.Sequential(nn.Sequential(nn.ReLU(), nn.Linear(16, 8), nn.Tanh()))

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(self.stem(x))


def network(seed: int = 0) -> Backbone:
    """Return a new network with random weights."""
    torch.manual_seed(seed)
    return graft.backbone(Net(), blocks="blocks.*", width=8, fresh=Net)


def stream(own: Backbone, seed: int, **options) -> TableStream:
    """Return points as a stream; those of the target have no label."""
    values, classes = points(seed, **options)
    if options.get("is_target"):
        classes = np.full(len(values), -1)
    return array_streams(values, classes, own)["train"]


@dataclass(frozen=True)
class Outcome:
    """What a training came to: accuracies on new rows, the phase, the weights."""

    source: float
    target: float
    phase: PhaseRecord
    weights: dict[str, Tensor]


def learned(adapt: str | None, seed: int = 0, *, epochs: int = 25, **options) -> Outcome:
    """Train with an adaptation, or without, and score on new rows of both domains."""
    own = network(seed)
    task = Classify(("a", "b")) if adapt is None else Adapted(Classify(("a", "b")), adapt)
    model, state = task.build(own)
    splits = {"train": {SOURCE: stream(own, seed)}, "validation": {SOURCE: stream(own, seed + 1)}}
    if adapt is not None:
        splits["train"][TARGET] = stream(own, seed + 2, is_target=True)
        splits["validation"][TARGET] = stream(own, seed + 3, is_target=True)
    plan = full(lr=3e-3, head_lr=3e-3, epochs=epochs, **options)
    phases = run(plan, model, task, splits, state=state, settings=Settings(seed=seed))

    def accuracy(*, is_target: bool) -> float:
        values, classes = points(seed + 4, is_target=is_target)
        fed = array_streams(values, classes, own)["train"]
        found = predict_rows(model, task, fed, n_workers=0)["probabilities"].argmax(1)
        return float((found == classes).mean())

    weights = {k: v.clone() for k, v in model.state_dict().items()}
    return Outcome(accuracy(is_target=False), accuracy(is_target=True), phases[0], weights)
