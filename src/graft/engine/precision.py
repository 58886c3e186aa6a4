"""Whether to compute in bfloat16: measured, because on most CPUs it is the slower way.

Autocast to bf16 halves the bytes, and gains where the processor multiplies bf16 by itself; where it
does not, every product is emulated. The decision is taken once, before training, on a batch as
training sees it, and written into the recipe, since another precision gives other bits. Measuring
takes no more than a tenth of the rows that training takes, counted and not timed, and ends early
where its first turns agree.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from graft.batch import Batch
from graft.engine.groups import locate, resolve, trainable
from graft.engine.replay import evaluating
from graft.methods.plan import Gradient, Phase, Plan
from graft.tasks.task import Progress, Stream, Task

GAIN_WANTED = 1.2
N_RUNS = 5
CLEAR_TURNS, CLEAR_GAIN = 2, 1.5
"""So many turns settle it, where in each bf16 was faster by so much, or slower."""
LARGEST_SHARE = 0.1
"""Of the rows that training passes through the network, which may be passed to measure."""
LEAST_ROWS = 4
LEAST_PARAMETERS = 1_000_000
MOST_ROWS = 32
FEATURE_ROWS = 16
"""Rows of a batch where no phase says how many: frozen features are computed in such groups."""

Measure = Callable[[Callable[[], None]], float]
"""Run something and return how many seconds it took."""


@dataclass(frozen=True)
class Precision:
    """A precision, and why it was chosen."""

    name: Literal["fp32", "bf16"]
    because: str


def choose_precision(
    model: nn.Module,
    task: Task,
    stream: Stream,
    plan: Plan,
    *,
    device: torch.device,
    measure: Measure | None = None,
    is_native: bool | None = None,
) -> Precision:
    """Return bf16 where it is clearly faster for this model on this machine, else fp32.

    Nothing of the model or of the random numbers changes.

    Args:
        stream: of the training rows; its first rows make the batch, fewer for a short training.
        plan: says whether a backbone trains, and so what a step computes.
        device: where training will run.
        measure: takes the time; on a CPU that of this process unless given, else the clock's.
        is_native: whether the device multiplies bf16 by itself; asked of it unless given.
    """
    if not (multiplies_bf16(device) if is_native is None else is_native):
        return Precision("fp32", f"this {device.type} does not compute bf16 by itself")
    n_parameters = sum(p.numel() for p in model.parameters())
    if n_parameters < LEAST_PARAMETERS:
        return Precision("fp32", f"{n_parameters:,} parameters are too few to gain by bf16")
    if not len(stream):
        return Precision("fp32", "there is no row to measure with")
    n_passed = _rows_passed(plan, model, len(stream))
    n_affordable = int(LARGEST_SHARE * n_passed) // (2 * (N_RUNS + 1))
    if n_affordable < LEAST_ROWS:
        told = f"training passes {n_passed:,} rows through the network, too few to measure for"
        return Precision("fp32", told)
    model.to(device)
    batch = stream.batch(np.arange(min(_batch_size(plan), n_affordable, len(stream)))).to(device)
    trains = trains_backbone(plan, model)
    runs = {
        "fp32": lambda: _run(model, task, batch, trains=trains, autocast=False),
        "bf16": lambda: _run(model, task, batch, trains=trains, autocast=True),
    }
    if measure is None:
        # a neighbour takes time from the clock on the wall, and not from this process's own
        clock = time.process_time if device.type == "cpu" else time.perf_counter
        measure = partial(_seconds, clock)
    taken: dict[str, list[float]] = {"fp32": [], "bf16": []}
    with evaluating(model), torch.random.fork_rng():
        for run in runs.values():
            run()  # the first pass also builds kernels
        # taking turns, so that a machine that grows slower slows both
        for _ in range(N_RUNS):
            for name, run in runs.items():
                taken[name].append(measure(run))
            if _is_clear(taken["fp32"], taken["bf16"]):
                break
    slow, fast = statistics.median(taken["fp32"]), statistics.median(taken["bf16"])
    share = fast / max(slow, 1e-12)
    told = f"bf16 took {share:.2f} × as long as fp32"
    return Precision("bf16" if share * GAIN_WANTED <= 1 else "fp32", told)


def multiplies_bf16(device: torch.device) -> bool:
    """Return whether a device has instructions for products in bf16."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    asked = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, lambda: False)() for name in asked)


def trains_backbone(plan: Plan, model: nn.Module) -> bool:
    """Return whether any phase trains a parameter of a backbone, or of what was put into it."""
    return bool(_phases_of_backbone(plan, model))


def _phases_of_backbone(plan: Plan, model: nn.Module) -> list[Phase]:
    located = locate(model)
    return [
        phase
        for phase in plan.phases
        if any(
            member.place.role in ("backbone", "inserted")
            for member in trainable(resolve(phase.rules, located, may_be_idle=True))
        )
    ]


def _rows_passed(plan: Plan, model: nn.Module, n_rows: int) -> int:
    """Return how many rows training passes through the network: each once where it is frozen."""
    epochs = [
        phase.by.n_epochs(n_rows)
        for phase in _phases_of_backbone(plan, model)
        if isinstance(phase.by, Gradient)
    ]
    return n_rows * max(1, sum(epochs))


def _batch_size(plan: Plan) -> int:
    sizes = [
        phase.by.micro_batch_size or phase.by.batch_size
        for phase in plan.phases
        if isinstance(phase.by, Gradient)
    ]
    return min(max(sizes, default=FEATURE_ROWS), MOST_ROWS)


def _is_clear(fp32: list[float], bf16: list[float]) -> bool:
    """Return whether all turns so far say the same, and clearly."""
    shares = [fast / max(slow, 1e-12) for slow, fast in zip(fp32, bf16, strict=True)]
    agree = min(shares) > 1 or max(shares) * CLEAR_GAIN < 1
    return len(shares) >= CLEAR_TURNS and agree


def _run(model: nn.Module, task: Task, batch: Batch, *, trains: bool, autocast: bool) -> None:
    """Run the network once, and back where a backbone trains, and leave no gradient."""
    kind = next(model.parameters()).device.type
    precision = torch.autocast(kind, dtype=torch.bfloat16, enabled=autocast)
    with precision, torch.set_grad_enabled(trains):
        encoded = task.encode(model, batch, Progress())
    if trains:
        leaves = [t for t in pytree.tree_leaves(encoded) if _has_gradient(t)]
        torch.stack([t.float().sum() for t in leaves]).sum().backward()
        model.zero_grad(set_to_none=True)
    if kind == "cuda":
        torch.cuda.synchronize()


def _has_gradient(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) and leaf.requires_grad


def _seconds(clock: Callable[[], float], run: Callable[[], None]) -> float:
    began = clock()
    run()
    return clock() - began
