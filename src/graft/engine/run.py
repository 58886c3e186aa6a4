"""Run a plan: phases one after the other, each with its groups, cut, store and optimiser.

Everything that can be refused is refused before the first step: rules that do not cover, rates that
are all zero, phases that cannot be told apart. Cuts and replays of all phases are found first.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from graft.backbones.backbone import towers
from graft.engine.checkpoint import (
    Checkpoint,
    Position,
    fail_at,
    load_checkpoint,
    optimizer_tensors,
    restore_optimizer,
    save_checkpoint,
)
from graft.engine.feeds import PhaseFeeds, Streams, attach, find_feeds
from graft.engine.groups import Group, locate, resolve, set_trainable, trainable
from graft.engine.loop import Loop, LoopState, StepEvent
from graft.engine.modes import set_modes
from graft.engine.processes import Processes, Strategy, assign, whole
from graft.engine.solve import solve_head, why_not_convex
from graft.errors import ModelError, StorageError
from graft.methods.plan import Convex, Gradient, Phase, Plan
from graft.records import CacheRecord, ConvexRecord, GroupRecord, PhaseRecord
from graft.tasks.task import Task


@dataclass(frozen=True)
class Settings:
    """Say how to run, as far as it does not change what is learned.

    Args:
        seed: of everything random.
        precision: `fp32` or `bf16` (this one does change bits).
        strategy: `ddp` or `fsdp`, where there are several processes.
        cache: folder of the feature stores; None computes every prefix anew.
        cache_bytes: most bytes of stores per split.
        checkpoints: folder of checkpoints; None writes none.
        checkpoint_every: steps between checkpoints inside an epoch; 0 for epoch ends alone.
        recipe: hash of what is asked, so that a checkpoint of another run is refused.
    """

    seed: int = 0
    precision: str = "fp32"
    strategy: Strategy = "ddp"
    cache: Path | None = None
    cache_bytes: int = 4_000_000_000
    checkpoints: Path | None = None
    checkpoint_every: int = 200
    recipe: str = ""


@dataclass(frozen=True)
class Listener:
    """What a run tells while it goes on; every field is a function that may do nothing."""

    on_phase: Callable[[str, int, int, str], None] = lambda *_: None
    on_step: Callable[[StepEvent], None] = lambda *_: None
    on_phase_end: Callable[[PhaseRecord], None] = lambda *_: None
    on_note: Callable[[str], None] = lambda *_: None


@dataclass
class _Prepared:
    """A phase with everything that is known before it runs."""

    phase: Phase
    groups: tuple[Group, ...]
    feeds: PhaseFeeds
    note: str = ""

    @property
    def frozen(self) -> frozenset[str]:
        return frozenset(m.place.name for g in self.groups if g.rule.lr is None for m in g.members)

    def n_passes(self, n_rows: int, has_validation: bool) -> int:
        """How often the phase wants each row."""
        by = self.phase.by
        return 2 if isinstance(by, Convex) else by.n_epochs(n_rows) * (2 if has_validation else 1)


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
    prepared = [_prepare(phase, model, state, task, splits["train"]) for phase in plan.phases]
    original = model
    model = processes.sharded(original, _paths_to_shard)
    if model is not original:
        prepared = [_regroup(p, model, state) for p in prepared]
    keeper = _Keeper(settings, processes)
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


def _prepare(
    phase: Phase, model: nn.Module, state: nn.Module | None, task: Task, streams: Streams
) -> _Prepared:
    groups = resolve(phase.rules, locate(model, state))
    feeds = find_feeds(model, state, task, groups, streams)
    note = ""
    if isinstance(phase.by, Convex) and (why := why_not_convex(task, model, feeds)):
        phase = dataclasses.replace(phase, by=Gradient(epochs=20, patience=3))
        note = f"phase `{phase.name}` trains the head by gradient: {why}"
    return _Prepared(phase, groups, feeds, note)


def _regroup(item: _Prepared, model: nn.Module, state: nn.Module | None) -> _Prepared:
    """Find the groups again: sharding put new parameters in the place of the old."""
    return dataclasses.replace(item, groups=resolve(item.phase.rules, locate(model, state)))


def _is_outdated(item: _Prepared, before: list[_Prepared]) -> bool:
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
    rest: list[_Prepared],
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
    set_trainable(item.groups)
    set_modes(model)
    has_validation = bool(splits.get("validation"))
    n_rows = len(next(iter(splits["train"].values())))
    with processes.autocast():
        caches = attach(
            model,
            state,
            task,
            [p.feeds for p in rest],
            [p.frozen for p in rest],
            splits,
            n_passes=[p.n_passes(n_rows, has_validation) for p in rest],
            root=settings.cache,
            budget_bytes=settings.cache_bytes,
            processes=processes,
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
    )
    if loop_state is not None:
        loop.at = loop_state
        restore_optimizer(loop.optimizer, _under("optimizer.", restored))
        loop.best = _under("best.", restored)
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
    item: _Prepared,
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


class _Keeper:
    """Write and read checkpoints of a run."""

    def __init__(self, settings: Settings, processes: Processes) -> None:
        self._settings = settings
        self._processes = processes
        self._touched: set[str] = set()
        self._n_steps = 0

    def after(self, done: list[PhaseRecord]) -> Callable[[Loop, bool], None]:
        """Return what a loop calls where a checkpoint may be written."""

        def keep(loop: Loop, at_epoch_end: bool) -> None:
            self._n_steps += 1
            if not at_epoch_end:
                fail_at("mid_epoch")
            every = self._settings.checkpoint_every
            if not at_epoch_end and not (every and self._n_steps % every == 0):
                return
            self._touched |= loop.trained_tensors().keys()
            tensors = {f"optimizer.{k}": v for k, v in optimizer_tensors(loop.optimizer).items()}
            tensors |= {f"best.{k}": v for k, v in loop.best.items()}
            at: dict[str, Any] = dataclasses.asdict(loop.at)
            at["best_loss"] = None if math.isinf(loop.at.best_loss) else loop.at.best_loss
            position = Position(loop.index, loop.at.epoch, loop.at.step)
            self._save(done, position, loop.model, loop.state, tensors, at)

        return keep

    def phase_done(
        self, done: list[PhaseRecord], model: nn.Module, state: nn.Module | None
    ) -> None:
        """Write a checkpoint between two phases."""
        fail_at("phase_edge")
        self._touched |= {m.place.name for m in locate(model) if m.parameter.requires_grad}
        self._save(done, Position(len(done)), model, state, {}, None)

    def restore(
        self, model: nn.Module, state: nn.Module | None, listener: Listener
    ) -> tuple[list[PhaseRecord], LoopState | None, dict[str, Tensor]]:
        """Load the newest checkpoint; returns phases done, the loop's state and its tensors."""
        from graft.records import build

        if self._settings.checkpoints is None:
            return [], None, {}
        found, notes = load_checkpoint(self._settings.checkpoints, self._settings.recipe)
        for note in notes:
            listener.on_note(note)
        position = None if found is None else found.position
        # also nobody writes the next one before everybody has read this one
        if not self._processes.everywhere(position == self._processes.agree(position)):
            raise StorageError(
                f"{self._settings.checkpoints}: the processes see different checkpoints; "
                "put the run into a folder that all machines share"
            )
        if found is None:
            listener.on_note("no checkpoint to resume from: training begins anew")
            return [], None, {}
        own = _all_tensors(model, state)
        weights = _under("model.", found.tensors)
        with torch.no_grad():
            for name, tensor in weights.items():
                assign(own[name], tensor)
        self._touched |= weights.keys()
        done = [build(PhaseRecord, d) for d in found.values["done"]]
        at = found.values["loop"]
        if at is None:
            return done, None, {}
        at["best_loss"] = math.inf if at["best_loss"] is None else at["best_loss"]
        return done, LoopState(**at), dict(found.tensors)

    def _save(
        self,
        done: list[PhaseRecord],
        position: Position,
        model: nn.Module,
        state: nn.Module | None,
        tensors: Mapping[str, Tensor],
        at: Mapping[str, Any] | None,
    ) -> None:
        if self._settings.checkpoints is None:
            return
        everything = _all_tensors(model, state)
        kept = {
            f"model.{name}": whole(t)
            for name, t in everything.items()
            if name in self._touched or not isinstance(t, nn.Parameter)
        }
        kept |= {name: whole(t) for name, t in tensors.items()}
        if not self._processes.is_main:
            return
        values = {"done": [dataclasses.asdict(d) for d in done], "loop": at}
        save_checkpoint(
            self._settings.checkpoints,
            Checkpoint(position, kept, values, self._settings.recipe),
        )


def _all_tensors(model: nn.Module, state: nn.Module | None) -> dict[str, Tensor]:
    """Return every parameter and buffer, a tied one under its lowest name."""
    found: dict[str, Tensor] = {m.place.name: m.parameter for m in locate(model, state)}
    found |= dict(model.named_buffers())
    if state is not None:
        found |= {f"state.{name}": b for name, b in state.named_buffers()}
    return found


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
