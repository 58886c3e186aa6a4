"""What a plan would take, in seconds and bytes, measured on a few batches without training.

No weight moves: there is no optimiser step (its time is taken on a stand-in of a million numbers),
gradients are dropped, and buffers, modes and random numbers are put back. What Python and its
libraries hold comes on top of the bytes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from graft.engine.feeds import Streams
from graft.engine.measuring import untouched
from graft.engine.prepared import prepare
from graft.engine.settings import Settings
from graft.engine.start import put_in
from graft.engine.trial import Bench, Clock, Cost
from graft.engine.views import n_examples
from graft.methods.plan import Convex, Phase, Plan, Rule
from graft.methods.select import everything, head
from graft.tasks.task import Task

FEATURES = Phase("features", (Rule(head(), 1.0), Rule(everything(), None)), Convex())
WHOLE = "above the backbone"


@dataclass(frozen=True)
class Estimate:
    """What a plan would take.

    Args:
        phases: one cost for each.
        before_seconds: features of the untouched backbone for all rows, and finding the cuts.
        after_seconds: scoring the held-out rows.
        before_bytes: of the features on disk.
    """

    phases: tuple[Cost, ...]
    before_seconds: float
    after_seconds: float
    before_bytes: int

    @property
    def seconds(self) -> float:
        return self.before_seconds + sum(c.seconds for c in self.phases) + self.after_seconds

    @property
    def store_bytes(self) -> int:
        return self.before_bytes + sum(c.store_bytes for c in self.phases)

    @property
    def memory_bytes(self) -> int:
        return max((c.memory_bytes for c in self.phases), default=0)


def estimate(
    plan: Plan,
    model: nn.Module,
    task: Task,
    splits: Mapping[str, Streams],
    *,
    n_rows: Mapping[str, int] | None = None,
    state: nn.Module | None = None,
    settings: Settings | None = None,
    clock: Clock = time.perf_counter,
) -> Estimate:
    """Estimate what running a plan would take; the model is left as it was.

    Only what the plan inserts stays in it, where it was not there: as the identity.

    Args:
        plan: its phases are measured one by one.
        model: on the device on which it would train.
        task: encodes and scores.
        splits: `train`, and perhaps `validation` and `test`, each with the task's streams.
        n_rows: rows of each split, and by `split/stream` of further streams, where the streams hold
            only some of them.
        state: what the task keeps beside the model.
        settings: whether and where features would be stored.
        clock: returns seconds.
    """
    settings = settings or Settings()
    scale = {
        name: (n_rows or {}).get(name, n) / n
        for name, streams in splits.items()
        if (n := n_examples(next(iter(streams.values()))))
    }
    splits = {name: splits[name] for name in scale}
    put_in(plan, model, task, splits["train"], settings.seed)
    scale |= {
        f"{split}/{name}": n / len(stream)
        for split, streams in splits.items()
        for name, stream in streams.items()
        if (n := (n_rows or {}).get(f"{split}/{name}"))
    }
    bench = Bench(model, state, task, splits, scale, settings, clock)
    with untouched(model):
        began = clock()
        prepared = [prepare(p, model, state, task, splits["train"]) for p in plan.phases]
        # a phase that freezes the whole backbone reads what the untouched one is scored by
        features = next((p for p in prepared if p.feeds.cut.label == WHOLE), None)
        features = features or prepare(
            FEATURES, model, state, task, splits["train"], may_be_idle=True
        )
        found_seconds = clock() - began
        with bench.processes.autocast():
            before, after, before_bytes = bench.around(features)
            costs = [bench.phase(prepared[i:]) for i in range(len(prepared))]
    return Estimate(tuple(costs), found_seconds + before, after, before_bytes)
