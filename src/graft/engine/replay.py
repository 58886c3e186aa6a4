"""Replay: run the upper part of any network from stored tensors, without rewriting it.

Below the cut every module becomes a stub. Most stubs return NaN of the recorded structure; a few,
the *taps*, return what a pass in eval mode put out there. Everything between and above runs live:
masks, rotary tables, and glue code of the architecture, whatever it does. NaN is the proof: an
output of a stub is a tap if, and only if, poisoning it alone reaches the result. So position biases
that cross blocks (T5, WavLM), scales of a detector (RT-DETR) and an encoder's output (Marian) are
found without knowing the architecture, and for a wholly frozen backbone the taps are the fields of
`Features` that the head reads.

Three outcomes for what a stub must return, decided once per cut from two probe batches:
    tap        depends on the example: stored per example
    shared     alike for all examples (a table of positions): computed once per padded length
    poison     nobody reads it: NaN, whose shape follows from the batch

`engine/probe.py` finds a replay and proves it before it is used.

Source: ours; design.md in the project's docs tells what was tried before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from graft.batch import Batch
from graft.engine.cut import Cut
from graft.engine.processes import holds_shards
from graft.engine.stubs import Player, Recorder, replaced

Run = Callable[[Batch], Any]
"""Run the model on a batch; returns tensors in any structure."""


class Unsound(Exception):
    """The upper part cannot be shown to run from stored tensors; the message says why."""


@dataclass(frozen=True)
class Dim:
    """One dimension of a stored or poisoned tensor: `rows · n + length · L + plus`.

    A dimension that follows another rule (the frames of an audio network) has `like`, the number
    and axis of a tap of which it has the size; in a tap itself, `like` is its own.
    """

    rows: int = 0
    length: int = 0
    plus: int = 0
    like: tuple[int, int] | None = None

    def size(self, n: int, length: int, state: Sequence[Tensor]) -> int:
        if self.like is not None:
            tap, axis = self.like
            # taps are held (n, k, …): the axis of the original is one further
            return state[tap].shape[axis + 1]
        return self.rows * n + self.length * length + self.plus


@dataclass(frozen=True)
class Tap:
    """A leaf of a stub's output that is stored per example, held as (n, k, …)."""

    path: str
    call: int
    leaf: int
    dims: tuple[Dim, ...]
    dtype: torch.dtype

    @property
    def ragged(self) -> tuple[int, ...]:
        """Axes of one stored row (k, …) whose size depends on the example's length."""
        return tuple(i for i, d in enumerate(self.dims) if i and (d.length or d.like))


@dataclass(frozen=True)
class Leaf:
    """What a stub returns in one place: a tap, something shared, NaN, or a constant."""

    tap: int | None = None
    shared: bool = False
    dims: tuple[Dim, ...] = ()
    dtype: torch.dtype | None = None
    constant: Any = None


@dataclass(frozen=True)
class Replay:
    """Know how to take the state of a batch at a cut, and how to run the rest from it.

    Args:
        cut: where.
        taps: what is stored, in order.
        unread: inputs of the network that the upper part never reads, with their shapes.
        shared: what stubs return for every example alike, by padded length, filled when met.
        pads_to_bucket: the stored shapes follow the bucket, not the example's own length.
    """

    cut: Cut
    taps: tuple[Tap, ...]
    unread: Mapping[str, tuple[tuple[Dim, ...], torch.dtype]]
    pads_to_bucket: bool
    stubs: tuple[str, ...]
    structure: Mapping[tuple[str, int], tuple[Any, tuple[Leaf, ...]]]
    shared: dict[int, dict[tuple[str, int, int], Tensor]] = field(default_factory=dict)

    @contextmanager
    def from_state(
        self, model: nn.Module, state: Sequence[Tensor], batch: Batch, run: Run
    ) -> Iterator[Batch]:
        """Stub the model inside the context and yield the batch to run it on.

        Args:
            state: the taps of the batch's examples, each (n, k, …).
            batch: may lack the inputs in `unread`.
            run: runs the bare model; used once for each new length, where tensors are shared.
        """
        self.learn(model, batch, run)
        shared = self.shared.get(batch.length, {})

        def emit(path: str, call: int) -> Any:
            if (path, call) not in self.structure:
                raise Unsound(f"`{path}` was called more often than when the cut was probed")
            spec, leaves = self.structure[path, call]
            values = [
                shared[path, call, i].clone() if leaf.shared else self._value(leaf, state, batch)
                for i, leaf in enumerate(leaves)
            ]
            return pytree.tree_unflatten(values, spec)

        device = state[0].device if state else torch.device("cpu")
        poisoned = {
            name: _blank([d.size(batch.n, batch.length, state) for d in dims], dtype, device)
            for name, (dims, dtype) in self.unread.items()
        }
        with replaced(Player(submodules(model, self.stubs), emit).forwards()):
            yield batch.with_inputs({**batch.inputs, **poisoned})

    @property
    def holds_weights(self) -> bool:
        """Whether it remembers tensors that follow from the weights below the cut."""
        leaves = [leaf for _, leaves in self.structure.values() for leaf in leaves]
        return any(leaf.shared or isinstance(leaf.constant, Tensor) for leaf in leaves)

    def learn(self, model: nn.Module, batch: Batch, run: Run) -> None:
        """Compute what all examples of this batch's length share, unless it is known."""
        if self.has_shared and batch.length not in self.shared:
            self.shared[batch.length] = self._share(model, batch, run)

    @property
    def has_shared(self) -> bool:
        return any(leaf.shared for _, leaves in self.structure.values() for leaf in leaves)

    def _share(
        self, model: nn.Module, batch: Batch, run: Run
    ) -> dict[tuple[str, int, int], Tensor]:
        # some networks draw random numbers in eval mode too (wav2vec2's layer drop)
        with evaluating(model), torch.no_grad(), torch.random.fork_rng():
            record = record_stubs(model, self.stubs, run, batch)
        return {
            (*key, i): pytree.tree_leaves(record[key])[i]
            for key, (_, leaves) in self.structure.items()
            for i, leaf in enumerate(leaves)
            if leaf.shared
        }

    def _value(self, leaf: Leaf, state: Sequence[Tensor], batch: Batch) -> Any:
        if leaf.tap is not None:
            held = state[leaf.tap]
            # cloned: live code above may change it in place
            return held.reshape(held.shape[0] * held.shape[1], *held.shape[2:]).clone()
        if isinstance(leaf.constant, Tensor):
            return leaf.constant.clone()
        if leaf.dtype is None:
            return leaf.constant
        device = state[0].device if state else torch.device("cpu")
        shape = [d.size(batch.n, batch.length, state) for d in leaf.dims]
        return _blank(shape, leaf.dtype, device)


class _Captured(Exception):
    """All taps have been seen: the rest of the pass is not needed."""


def capture(
    model: nn.Module, replays: Sequence[Replay], run: Run, batch: Batch
) -> list[list[Tensor]]:
    """Run a model that is in eval mode and return the state at each of several cuts, from one pass.

    Returns:
        For each replay its taps, each (n, k, …).
    """
    wanted = {(t.path, t.call) for replay in replays for t in replay.taps}
    recorder = Recorder(submodules(model, sorted({path for path, _ in wanted})))
    forwards = recorder.forwards()
    # a pass through sharded parameters must end, or they stay gathered
    may_stop = not holds_shards(model)

    def stop_when_seen(forward: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **kwargs: Any) -> Any:
            output = forward(*args, **kwargs)
            if may_stop and wanted <= recorder.outputs.keys():
                raise _Captured
            return output

        return watched

    with torch.no_grad():
        try:
            with replaced({m: stop_when_seen(f) for m, f in forwards.items()}):
                run(batch)
        except _Captured:
            pass
    states = []
    for replay in replays:
        state = []
        for tap in replay.taps:
            leaf = pytree.tree_leaves(recorder.outputs[tap.path, tap.call])[tap.leaf]
            state.append(leaf.reshape(batch.n, -1, *leaf.shape[1:]))
        states.append(state)
    return states


def submodules(model: nn.Module, paths: Sequence[str]) -> dict[str, nn.Module]:
    """Return modules by path; the empty path is the model itself."""
    return {path: model.get_submodule(path) for path in paths}


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put the whole model into eval mode and give every module its own mode back."""
    trained = [module for module in model.modules() if module.training]
    if trained:  # walking hundreds of modules once more for each group of rows is felt
        model.eval()
    try:
        yield
    finally:
        for module in trained:
            module.training = True


def _blank(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    value = float("nan") if dtype.is_floating_point or dtype.is_complex else 0
    return torch.full(tuple(shape), value, dtype=dtype, device=device)


Record = dict[tuple[str, int], Any]


def record_stubs(model: nn.Module, stubs: Sequence[str], run: Run, batch: Batch) -> Record:
    """Run on a batch and keep what each call of each stubbed module returned."""
    recorder = Recorder(submodules(model, stubs))
    with replaced(recorder.forwards()):
        run(batch)
    return recorder.outputs


def copied(record: Record, path: str, call: int) -> Any:
    """Copy what was recorded: live code above may change it in place."""
    return pytree.tree_map(
        lambda leaf: leaf.clone() if isinstance(leaf, Tensor) else leaf, record[path, call]
    )
