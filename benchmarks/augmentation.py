"""Time steps of training on pictures that vary: how much of a step is the network?

python benchmarks/augmentation.py [--shared FOLDER] [--threads 2] [--rows 64] [--json FILE]

A MobileNetV2 with real weights trains on the photographs of hymenoptera. `network` is a step whose
pictures lie ready, `forward` the network alone without its way back, as where all of it is frozen;
the other rows read, vary and scale them, with so many threads that read ahead.
Nothing is kept in memory, as where the pictures do not fit it.

Seen once on 2 busy cores, one thread: the network took 3.4 of 3.4 to 3.8 s of the loop's own thread
a step, whatever was read and by whom. Reading costs 4 ms of CPU a picture (`strong`: 9), the step
245: with this network what reading ahead can gain is at most 4 %, less than the noise.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from graft.backbones import open_backbone
from graft.data.augment import read_augment
from graft.data.images import decode
from graft.data.readers import read
from graft.engine.predict import predict_rows
from graft.engine.run import run
from graft.engine.settings import Listener, Settings
from graft.methods.body import full
from graft.tasks.augmented import AugmentedStream
from graft.tasks.classify import Classify
from graft.tasks.streams import TableStream

BATCH_SIZE = 16
N_WARM = 1
"""Steps that are not counted: they build kernels and fill the queue."""


class Ready:
    """Feed one batch that lies ready, whatever rows are asked for."""

    lengths = None

    def __init__(self, stream: Any, n_rows: int) -> None:
        self.key, self._n = "ready", n_rows
        self._batch = stream.batch(np.arange(BATCH_SIZE))

    def __len__(self) -> int:
        return self._n

    def batch(self, rows: np.ndarray, **_: Any) -> Any:
        return self._batch


Cost = tuple[float, float]
"""Seconds on the clock, and of the loop's own thread: the second hardly sees a busy machine."""


def seconds_per_step(model: Any, task: Classify, stream: Any, workers: int) -> Cost:
    """Return the mean seconds of a step, the first ones left out."""
    moments: list[tuple[float, float]] = []
    run(
        full(epochs=1, batch_size=BATCH_SIZE),
        copy.deepcopy(model),
        task,
        {"train": {"train": stream}},
        settings=Settings(workers=workers),
        listener=Listener(on_step=lambda _: moments.append(now())),
    )
    n = len(moments) - N_WARM
    return tuple((b - a) / n for a, b in zip(moments[N_WARM - 1], moments[-1], strict=True))


def now() -> Cost:
    return time.perf_counter(), time.thread_time()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    shared = Path(__file__).resolve().parents[2] / "shared"
    parser.add_argument("--shared", type=Path, default=shared)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    backbone = open_backbone(f"timm:local-dir:{options.shared / 'weights' / 'mobilenetv2_100'}")
    table = read(options.shared / "data" / "hymenoptera")
    table = table.take(np.flatnonzero(np.asarray(table.column("split")) == "train"))
    task = Classify(("ants", "bees"))
    model, _ = task.build(backbone)
    table = table.take(np.arange(options.rows))
    labels = np.asarray([task.classes.index(x) for x in table.labels()])

    def fresh(names: str | None) -> Any:
        plain = TableStream(
            table.inputs(),
            backbone.processor,
            targets={"label": labels},
            key="hymenoptera",
            load=decode,
            budget_bytes=0,
        )
        return plain if names is None else AugmentedStream(plain, read_augment(names))

    cases: dict[str, tuple[Any, int]] = {"network": (lambda: Ready(fresh(None), len(table)), 0)}
    for names in (None, "light", "strong"):
        for workers in (0, 1, 2):
            case = f"{names or 'plain'}, {workers} ahead"
            cases[case] = (lambda names=names: fresh(names), workers)
    taken: dict[str, list[Cost]] = {name: [] for name in cases}
    # cases take turns, or a neighbour's work would fall on one of them
    for _ in range(options.repeats):
        for name, (make, workers) in cases.items():
            taken[name].append(seconds_per_step(model, task, make(), workers))
            print(name, taken[name][-1], flush=True)
        for workers in (0, 1, 2):
            name = f"forward, {workers} ahead"
            began = now()
            predict_rows(model, task, fresh(None), n_workers=workers)
            share = BATCH_SIZE / len(table)
            cost = tuple((b - a) * share for a, b in zip(began, now(), strict=True))
            taken.setdefault(name, []).append(cost)
    found = {
        name: tuple(map(statistics.median, zip(*costs, strict=True)))
        for name, costs in taken.items()
    }
    network = found["network"][1]
    print(f"{len(table)} pictures, batches of {BATCH_SIZE}, {options.threads} threads")
    print(f"{'':22} {'s/step':>8} {'own CPU':>8} {'network':>8}")
    for name, (seconds, own) in found.items():
        share = "" if name.startswith("forward") else f"{min(1, network / own):8.0%}"
        print(f"{name:22} {seconds:8.3f} {own:8.3f} {share}")
    if options.json:
        about = {"threads": options.threads, "batch_size": BATCH_SIZE, "seconds_per_step": found}
        options.json.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
