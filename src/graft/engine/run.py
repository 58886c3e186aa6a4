"""Run a plan: phases one after the other, each with its groups, cut, store and optimiser.

Everything that can be refused is refused before the first step: rules that do not cover, rates that
are all zero, phases that cannot be told apart. Cuts and replays of all phases are found first.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from graft.backbones.backbone import towers
from graft.engine.checkpoint import (
    restore_optimizer,
)
from graft.engine.feeds import PhaseFeeds, Streams, find_feeds
from graft.engine.groups import Group, locate, resolve, set_trainable, trainable
from graft.engine.keeper import Keeper, under
from graft.engine.loop import Loop, LoopState
from graft.engine.modes import set_modes
from graft.engine.processes import Processes
from graft.engine.settings import Listener, Settings
from graft.engine.solve import solve_head, why_not_convex
from graft.engine.stores import MANY, Wish, attach
from graft.engine.views import finite, is_endless
from graft.errors import ModelError
from graft.methods.plan import Convex, Gradient, Phase, Plan
from graft.records import CacheRecord, ConvexRecord, GroupRecord, PhaseRecord
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


def run(
    plan: Plan,
    model: nn.Module,
    task: Task,
    splits: Mapping[str, Streams],
    *,
    state: nn.Module | None = None,
    settings: Settings | None = None,
    listener: Listener | None = None,
    resume: bool = False,
) -> tuple[PhaseRecord, ...]:
    """Train `model` by `plan`, in place.

    Args:
        plan: what to train, in which order, at which rates.
        model: an `nn.Module` that holds one or more `Backbone`s.
        task: builds losses from what the model encodes.
        splits: `train`, and if there is one `validation`, each with the task's streams.
        state: what the task keeps beside the model.
        resume: go on from the newest checkpoint that verifies, if there is one.

    Returns:
        One record per phase.

    Raises:
        InputError: the plan does not cover every parameter, or trains none.
        Diverged: the loss was not finite for three steps in a row.
        StorageError: a checkpoint or a store could not be written.
    """
    settings = settings or Settings()
    processes = Processes(precision=settings.precision, strategy=settings.strategy)
    listener = listener if listener is not None and processes.is_main else Listener()
    model.to(processes.device)
    if state is not None:
        state.to(processes.device)
    if plan.start == "random":
        reset(model, settings.seed)
    processes.equalise(model, state)
    prepared = [prepare(phase, model, state, task, splits["train"]) for phase in plan.phases]
    original = model
    model = processes.sharded(original, _paths_to_shard)
    if model is not original:
        prepared = [_regroup(p, model, state) for p in prepared]
    keeper = Keeper(settings, processes)
    done, loop_state, restored = (
        keeper.restore(model, state, listener) if resume else ([], None, {})
    )
    for index, item in enumerate(prepared):
        if index < len(done):
            continue
        listener.on_phase(item.phase.name, index, len(prepared), item.feeds.cut.label)
        if item.note:
            listener.on_note(item.note)
        if _is_outdated(item, prepared[:index]):
            item.feeds = find_feeds(model, state, task, item.groups, splits["train"])
        record = _run_phase(
            prepared[index:],
            index,
            model,
            state,
            task,
            splits,
            settings=settings,
            processes=processes,
            listener=listener,
            keeper=keeper.after(done),
            loop_state=loop_state,
            restored=restored,
        )
        loop_state, restored = None, {}
        done.append(record)
        keeper.phase_done(done, model, state)
        listener.on_phase_end(record)
    processes.write_back(model, original)
    for parameter in original.parameters():
        parameter.requires_grad_(True)
    original.eval()
    return tuple(done)


def reset(model: nn.Module, seed: int) -> None:
    """Give every backbone random weights of its own kind.

    Raises:
        ModelError: the source cannot make such a network anew.
    """
    for tower in towers(model):
        backbone = model.get_submodule(tower.path)
        fresh = backbone.origin.fresh  # type: ignore[union-attr]
        if fresh is None:
            raise ModelError(
                f"{backbone.origin.name}: cannot be made anew with random weights; declare "  # type: ignore[union-attr]
                "`fresh=` with graft.backbone to train it from scratch"
            )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            net = fresh()
        backbone.net.load_state_dict(net.state_dict())  # type: ignore[union-attr]


def prepare(
    phase: Phase, model: nn.Module, state: nn.Module | None, task: Task, streams: Streams
) -> Prepared:
    """Find the groups, cut and replay of a phase; a convex one without such a form is changed."""
    groups = resolve(phase.rules, locate(model, state))
    feeds = find_feeds(model, state, task, groups, streams)
    note = ""
    if isinstance(phase.by, Convex) and (why := why_not_convex(task, model, feeds)):
        phase = dataclasses.replace(phase, by=Gradient(epochs=20, patience=3))
        note = f"phase `{phase.name}` trains the head by gradient: {why}"
    return Prepared(phase, groups, feeds, note)


def _regroup(item: Prepared, model: nn.Module, state: nn.Module | None) -> Prepared:
    """Find the groups again: sharding put new parameters in the place of the old."""
    return dataclasses.replace(item, groups=resolve(item.phase.rules, locate(model, state)))


def _is_outdated(item: Prepared, before: list[Prepared]) -> bool:
    """Return whether a phase's replay remembers tensors whose weights have since trained."""
    trained = {m.place.name for p in before for m in trainable(p.groups)}
    return bool(trained & item.frozen) and any(
        replay.holds_weights for replay in item.feeds.replays.values()
    )


def _paths_to_shard(model: nn.Module) -> list[str]:
    """Return what is gathered at once where parameters are sharded: blocks, then backbones."""
    parts = [p for t in towers(model) for chain in t.chains for p in chain.parts[1:-1]]
    return [*(path for part in parts for path in part), *(t.path for t in towers(model))]


def _run_phase(
    rest: list[Prepared],
    index: int,
    model: nn.Module,
    state: nn.Module | None,
    task: Task,
    splits: Mapping[str, Streams],
    *,
    settings: Settings,
    processes: Processes,
    listener: Listener,
    keeper: Callable[[Loop, bool], None],
    loop_state: LoopState | None,
    restored: Mapping[str, Tensor],
) -> PhaseRecord:
    began = time.perf_counter()
    item = rest[0]
    if isinstance(item.phase.by, Convex) and any(map(is_endless, splits["train"].values())):
        # what it stores are plain pictures, which no phase by gradient reads
        splits, rest = finite(splits), rest[:1]
    set_trainable(item.groups)
    set_modes(model)
    n_rows = len(next(iter(splits["train"].values())))
    with processes.autocast():
        caches = attach(
            model,
            task,
            [p.wish(n_rows) for p in rest],
            splits,
            root=settings.cache,
            budget_bytes=settings.cache_bytes,
            processes=processes,
            n_workers=settings.workers,
            on_rows=lambda done, n: listener.on_rows(item.feeds.cut.label, done, n),
        )
    cache = caches[0] if caches else CacheRecord(item.feeds.cut.label, False, item.feeds.reason)
    groups = tuple(
        GroupRecord(str(g.rule.where), g.rule.lr, len(g.members), g.n_parameters)
        for g in item.groups
        if g.members
    )
    by = item.phase.by
    if isinstance(by, Convex):
        convex = _solve(item, model, task, splits, by, settings, processes)
        seconds = time.perf_counter() - began
        return PhaseRecord(item.phase.name, groups, cache, convex=convex, seconds=seconds)
    loop = Loop(
        item.phase.name,
        index,
        model,
        state,
        task,
        by,
        item.groups,
        item.feeds,
        splits,
        processes,
        settings.seed,
        listener.on_step,
        keeper,
        n_workers=settings.workers,
    )
    if loop_state is not None:
        loop.at = loop_state
        restore_optimizer(loop.optimizer, under("optimizer.", restored))
        loop.best = under("best.", restored)
    loop.begin_average(under("average.", restored))
    epochs = loop.run()
    return PhaseRecord(
        item.phase.name,
        groups,
        cache,
        epochs,
        best_epoch=loop.at.best_epoch,
        stopped_early=loop.at.stopped,
        n_steps=loop.n_steps_done,
        seconds=time.perf_counter() - began,
    )


def _solve(
    item: Prepared,
    model: nn.Module,
    task: Task,
    splits: Mapping[str, Streams],
    by: Convex,
    settings: Settings,
    processes: Processes,
) -> ConvexRecord:
    name, stream = next(iter(splits["train"].items()))
    prefix = item.feeds.prefixes["train", name]
    with processes.autocast():
        record = solve_head(model, task, stream, prefix, by, settings.seed)
    processes.equalise(model.head)  # type: ignore[arg-type]
    return record
