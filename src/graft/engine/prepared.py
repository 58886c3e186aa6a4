"""A phase with what is known before it runs: groups, cut, replay, and whether it fits."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from torch import nn

from graft.engine.feeds import PhaseFeeds, Streams, find_feeds
from graft.engine.groups import Group, locate, resolve, set_trainable, trainable
from graft.engine.memory import available_bytes, refuse_too_large
from graft.engine.order import Order
from graft.engine.processes import Processes
from graft.engine.solve import why_not_convex
from graft.engine.step import Step
from graft.engine.stores import MANY, Wish
from graft.methods.plan import Convex, Gradient, Phase
from graft.tasks.task import Task


@dataclass
class Prepared:
    """Hold a phase with everything that is known before it runs."""

    phase: Phase
    groups: tuple[Group, ...]
    feeds: PhaseFeeds
    note: str = ""

    @property
    def frozen(self) -> frozenset[str]:
        return frozenset(m.place.name for g in self.groups if g.rule.lr is None for m in g.members)

    def wish(self, n_rows: int) -> Wish:
        """Return what the phase would like to have stored."""
        by = self.phase.by
        # a solver goes over its features many times
        n_passes = MANY if isinstance(by, Convex) else by.n_epochs(n_rows)
        return Wish(self.feeds, self.frozen, n_passes)


def prepare(
    phase: Phase,
    model: nn.Module,
    state: nn.Module | None,
    task: Task,
    streams: Streams,
    *,
    may_be_idle: bool = False,
) -> Prepared:
    """Find the groups, cut and replay of a phase; a convex one without such a form is changed.

    Args:
        may_be_idle: the phase may train nothing: only what it freezes is asked.
    """
    groups = resolve(phase.rules, locate(model, state), may_be_idle=may_be_idle)
    feeds = find_feeds(model, state, task, groups, streams)
    note = ""
    if isinstance(phase.by, Convex) and (why := why_not_convex(task, model, feeds)):
        phase = dataclasses.replace(phase, by=Gradient(epochs=20, patience=3))
        note = f"phase `{phase.name}` trains the head by gradient: {why}"
    return Prepared(phase, groups, feeds, note)


def regrouped(item: Prepared, model: nn.Module, state: nn.Module | None) -> Prepared:
    """Find the groups again: sharding put new parameters in the place of the old."""
    return dataclasses.replace(item, groups=resolve(item.phase.rules, locate(model, state)))


def is_outdated(item: Prepared, before: list[Prepared]) -> bool:
    """Return whether a phase's replay remembers tensors whose weights have since trained."""
    trained = {m.place.name for p in before for m in trainable(p.groups)}
    return bool(trained & item.frozen) and any(
        replay.holds_weights for replay in item.feeds.replays.values()
    )


def refuse_unless_it_fits(
    item: Prepared,
    model: nn.Module,
    state: nn.Module | None,
    task: Task,
    streams: Streams,
    processes: Processes,
) -> None:
    """Refuse a phase whose steps do not fit into memory.

    Raises:
        OutOfMemory: as said.
    """
    by = item.phase.by
    if not isinstance(by, Gradient):
        return
    # which rows are measured is all that the order is asked: the longest of an epoch
    order = Order(streams, task, PhaseFeeds(item.feeds.cut), processes, 0, 0, by.batch_size)
    set_trainable(item.groups)
    refuse_too_large(
        item.phase.name,
        Step(model, state, task),
        by,
        item.groups,
        order,
        available_bytes(processes.device),
    )
