"""Transfer on images: digits 0-4 teach a small CNN what helps with 5-9.

    python examples/digits.py [--seeds 5]

A CNN is trained on the digits 0-4 that scikit-learn ships. Its head is replaced, and the network
is adapted to 5-9 with 10 labels per class. The same network from random weights learns from the
same 50 labels until it has converged: it trains on until its loss on 150 validation digits has not
improved for 40 epochs, at the best of several rates. All methods stop and are timed on these same
150; the rest of 5-9 is scored once, at the end.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")  # 8 × 8 pixels: threads would only wait

import numpy as np
import torch
from torch import Tensor, nn

import graft
from graft.backbones.backbone import Backbone
from graft.engine.loop import StepEvent
from graft.engine.predict import predict_rows
from graft.engine.run import Listener, Settings, run
from graft.methods.body import full, lp_ft, scratch, unfreeze
from graft.methods.heads import probe
from graft.model import Model
from graft.tasks.arrays import array_streams
from graft.tasks.classify import Classify

WIDTH = 64
N_PER_CLASS, N_VALIDATION = 10, 150
LEVELS = (0.80, 0.90, 0.95)
UNTIL_CONVERGED = {"epochs": 300, "patience": 40, "batch_size": 10, "schedule": "constant"}


class Block(nn.Sequential):
    """Convolution, batch norm, ReLU."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        conv = nn.Conv2d(n_in, n_out, 3, stride=stride, padding=1, bias=False)
        super().__init__(conv, nn.BatchNorm2d(n_out), nn.ReLU())


class Net(nn.Module):
    """Map digits (N, 1, 8, 8) to features (N, 64)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Block(1, 16, 1)
        self.blocks = nn.Sequential(Block(16, 32, 1), Block(32, 64, 2), Block(64, WIDTH, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(self.stem(x)).mean((2, 3))


# The rates were chosen on validation digits of seeds 100 to 104, for each method alone.
METHODS: dict[str, Callable[[int], graft.Plan]] = {
    "probe": probe,
    "lp-ft": lambda k: lp_ft(k, lr=1e-3, **UNTIL_CONVERGED),
    "unfreeze": lambda k: unfreeze(k, lr=1e-3, head_lr=1e-2, epochs=10, batch_size=10),
    "scratch": lambda k: scratch(k, lr=3e-3, **UNTIL_CONVERGED),
}


@dataclasses.dataclass(frozen=True)
class Split:
    """Images (N, 1, 8, 8) in 0..1 and their class numbers."""

    images: np.ndarray
    labels: np.ndarray

    def take(self, rows: np.ndarray) -> Split:
        return Split(self.images[rows], self.labels[rows])


def read_digits() -> tuple[Split, Split]:
    """Return the digits 0-4, and 5-9 numbered from 0."""
    from sklearn.datasets import load_digits

    found = load_digits()
    images = (found.images / 16).astype(np.float32)[:, None]
    low = found.target < 5
    return Split(images[low], found.target[low]), Split(images[~low], found.target[~low] - 5)


def split_few(digits: Split, seed: int) -> tuple[Split, Split, Split]:
    """Return 10 of each class to learn from, 150 to validate on, and the rest to test on."""
    order = np.random.default_rng(seed).permutation(len(digits.labels))
    few = np.concatenate([order[digits.labels[order] == c][:N_PER_CLASS] for c in range(5)])
    rest = order[~np.isin(order, few)]
    return tuple(map(digits.take, (few, rest[:N_VALIDATION], rest[N_VALIDATION:])))


def declare(net: nn.Module) -> Backbone:
    """Tell graft which modules of the network are its blocks."""
    return graft.backbone(net, blocks="blocks.*", width=WIDTH, fresh=Net)


def pretrain(digits: Split, seed: int) -> Backbone:
    """Train the network on 0-4, with every rate as it would be for any other data."""
    torch.manual_seed(seed)
    own = declare(Net())
    model, _ = Classify(tuple("01234")).build(own)
    plan = full(lr=2e-3, head_lr=2e-3, epochs=12)
    run(
        plan,
        model,
        Classify(tuple("01234")),
        {"train": array_streams(digits.images, digits.labels, own)},
        settings=Settings(seed=seed),
    )
    return own


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What one method came to: accuracy on validation digits by step, and on test digits."""

    curve: tuple[tuple[int, float], ...]
    n_steps: int
    test: float
    seconds: float

    def steps_to(self, accuracy: float) -> int | None:
        """Return the first step at which the validation accuracy was reached."""
        return next((step for step, found in self.curve if found >= accuracy), None)


def adapt(plan: graft.Plan, own: Backbone, parts: tuple[Split, Split, Split], seed: int) -> Outcome:
    """Put a new head on the backbone and run the plan."""
    began = time.perf_counter()
    torch.manual_seed(seed)
    task = Classify(tuple("56789"))
    model, _ = task.build(own)
    train, validation, test = (array_streams(p.images, p.labels, own) for p in parts)
    curve: list[tuple[int, float]] = []
    n_before = 0

    def score(streams: dict, model: Model = model) -> float:
        found = predict_rows(model, task, streams["train"])["probabilities"].argmax(1)
        return float((found == streams["train"].targets["label"].numpy()).mean())

    def on_step(event: StepEvent) -> None:
        step = n_before + event.step
        if step <= 100 or step % 5 == 0:
            curve.append((step, score(validation)))

    def on_phase_end(record: object) -> None:
        nonlocal n_before
        n_before += record.n_steps  # type: ignore[attr-defined]
        curve.append((n_before, score(validation)))

    listener = Listener(on_step=on_step, on_phase_end=on_phase_end)
    splits = {"train": train, "validation": validation}
    run(plan, model, task, splits, settings=Settings(seed=seed), listener=listener)
    return Outcome(tuple(curve), n_before, score(test), time.perf_counter() - began)


def measure(n_seeds: int, first: int = 0) -> dict[str, list[Outcome]]:
    """Return the outcomes of every method, one per seed."""
    low, high = read_digits()
    found: dict[str, list[Outcome]] = {name: [] for name in METHODS}
    for seed in range(first, first + n_seeds):
        parts = split_few(high, seed)
        pretrained = pretrain(low, seed)
        for name, method in METHODS.items():
            own = copy.deepcopy(pretrained)
            found[name].append(adapt(method(own.chains[0].n_blocks), own, parts, seed))
    return found


def show(found: dict[str, list[Outcome]]) -> None:
    """Print one line per method."""
    columns = [f"to {level:.0%}" for level in LEVELS]
    print(f"{'':10}{'gradient steps (median)':>27}{'steps':>10}{'test accuracy':>18}{'seconds':>9}")
    print(f"{'':10}{columns[0]:>9}{columns[1]:>9}{columns[2]:>9}{'in all':>10}{'mean ± sd':>18}")
    for name, outcomes in found.items():
        cells = [_median(o.steps_to(level) for o in outcomes) for level in LEVELS]
        tests = [o.test for o in outcomes]
        spread = statistics.stdev(tests) if len(tests) > 1 else 0.0
        steps = statistics.median(o.n_steps for o in outcomes)
        seconds = statistics.mean(o.seconds for o in outcomes)
        print(
            f"{name:10}{cells[0]:>9}{cells[1]:>9}{cells[2]:>9}{steps:>10.0f}"
            f"{statistics.mean(tests):>11.3f} ± {spread:.3f}{seconds:>9.1f}"
        )


def _median(steps: object) -> str:
    known = list(steps)  # type: ignore[call-overload]
    if all(s is not None for s in known):
        return f"{statistics.median(known):.0f}"
    n = sum(s is not None for s in known)
    return f"{n} of {len(known)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    show(measure(options.seeds))


if __name__ == "__main__":
    main()
