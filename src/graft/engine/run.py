"""Run a plan: phases one after the other, each with its groups, cut, store and optimiser.

Everything that can be refused is refused before the first step: rules that do not cover, rates that
are all zero, phases that cannot be told apart. Cuts and replays of all phases are found first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from torch import Tensor, nn

from graft.backbones.backbone import towers
from graft.engine.anchor import starting_weights
from graft.engine.checkpoint import restore_optimizer
from graft.engine.feeds import Streams, find_feeds
from graft.engine.groups import set_trainable
from graft.engine.keeper import Keeper, under
from graft.engine.loop import Loop, LoopState, Watch
from graft.engine.modes import set_modes
from graft.engine.prepared import (
    Prepared,
    is_outdated,
    prepare,
    refuse_unless_it_fits,
    regrouped,
)
from graft.engine.processes import Processes
from graft.engine.settings import Listener, Settings
from graft.engine.solve import solve_head
from graft.engine.start import backbone_fingerprint, put_in, reset
from graft.engine.stopping import stop_if_asked
from graft.engine.stores import attach, together
from graft.engine.views import finite, is_endless, n_examples
from graft.methods.plan import Convex, Gradient, Plan
from graft.phase_records import CacheRecord, ConvexRecord, GroupRecord, PhaseRecord
from graft.tasks.task import Task


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
    watch: Watch | None = None,
) -> tuple[PhaseRecord, ...]:
    """Train `model` by `plan`, in place.

    Args:
        plan: what to train, in which order, at which rates.
        model: an `nn.Module` that holds one or more `Backbone`s.
        task: builds losses from what the model encodes.
        splits: `train`, and if there is one `validation`, each with the task's streams.
        state: what the task keeps beside the model.
        resume: go on from the newest checkpoint that verifies, if there is one.
        watch: measures the model after each epoch; its number stands in the epoch's record.

    Returns:
        One record per phase.

    Raises:
        InputError: the plan does not cover every parameter, or trains none.
        OutOfMemory: a phase does not fit, whatever its micro-batches.
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
    put_in(plan, model, task, splits["train"], settings.seed)
    processes.equalise(model, state)
    prepared = [prepare(phase, model, state, task, splits["train"]) for phase in plan.phases]
    original = model
    model = processes.sharded(original, _paths_to_shard)
    if model is not original:
        prepared = [regrouped(p, model, state) for p in prepared]
    start = starting_weights(
        (p.phase.by, p.groups) for p in prepared if isinstance(p.phase.by, Gradient)
    )
    weights = "" if plan.start == "random" else backbone_fingerprint(original)
    keeper = Keeper(settings, processes, weights, listener)
    done, loop_state, restored = keeper.restore(model, state) if resume else ([], None, {})
    if settings.checks_memory:
        for item in prepared[len(done) :]:
            refuse_unless_it_fits(item, model, state, task, splits["train"], processes)
    for index, item in enumerate(prepared):
        if index < len(done):
            continue
        listener.on_phase(item.phase.name, index, len(prepared), item.feeds.cut.label)
        if item.note:
            listener.on_note(item.note)
        if is_outdated(item, prepared[:index]):
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
            start=start,
            watch=watch,
        )
        loop_state, restored = None, {}
        done.append(record)
        keeper.phase_done(done, model, state)
        listener.on_phase_end(record)
        stop_if_asked()  # a signal may have come while the checkpoint was written
    processes.write_back(model, original)
    for parameter in original.parameters():
        parameter.requires_grad_(True)
    original.eval()
    return tuple(done)


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
    start: Mapping[str, Tensor],
    watch: Watch | None,
) -> PhaseRecord:
    began = time.perf_counter()
    item = rest[0]
    if isinstance(item.phase.by, Convex) and any(map(is_endless, splits["train"].values())):
        # what it stores are plain pictures, which no phase by gradient reads
        splits, rest = finite(splits), rest[:1]
    set_trainable(item.groups)
    set_modes(model)
    n_rows = n_examples(next(iter(splits["train"].values())))
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
            on_note=listener.on_note,
        )
    cache = together(caches) or CacheRecord(item.feeds.cut.label, False, item.feeds.reason)
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
        on_note=listener.on_note,
        start=start,
        watch=watch,
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
    streams = splits["train"]
    prefixes = {name: item.feeds.prefixes["train", name] for name in streams}
    with processes.autocast():
        record = solve_head(model, task, streams, prefixes, by, settings.seed)
    processes.equalise(model.head)  # type: ignore[arg-type]
    return record
