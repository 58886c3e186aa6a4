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

Before it is used, a replay must show that it equals the network itself: results and gradients in
eval mode, and in training mode gradients from one RNG state with and without the poison.

Source: ours; design.md in the project's docs tells what was tried before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from graft.batch import Batch
from graft.engine.cut import Cut
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
class _Leaf:
    """What a stub returns in one place: a tap, a shared tensor, NaN of some shape, or a constant."""

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
    structure: Mapping[tuple[str, int], tuple[Any, tuple[_Leaf, ...]]]
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
        if self.has_shared and batch.length not in self.shared:
            self.shared[batch.length] = self._share(model, batch, run)
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
    def has_shared(self) -> bool:
        return any(leaf.shared for _, leaves in self.structure.values() for leaf in leaves)

    def _share(
        self, model: nn.Module, batch: Batch, run: Run
    ) -> dict[tuple[str, int, int], Tensor]:
        with evaluating(model), torch.no_grad():
            record = _record(model, self.stubs, run, batch)
        return {
            (*key, i): pytree.tree_leaves(record[key])[i]
            for key, (_, leaves) in self.structure.items()
            for i, leaf in enumerate(leaves)
            if leaf.shared
        }

    def _value(self, leaf: _Leaf, state: Sequence[Tensor], batch: Batch) -> Any:
        if leaf.tap is not None:
            held = state[leaf.tap]
            # cloned: live code above may change it in place
            return held.reshape(held.shape[0] * held.shape[1], *held.shape[2:]).clone()
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
    """Run the model in eval mode and return the state at each of several cuts, from one pass.

    Returns:
        For each replay its taps, each (n, k, …).
    """
    wanted = {(t.path, t.call) for replay in replays for t in replay.taps}
    recorder = Recorder(submodules(model, sorted({path for path, _ in wanted})))
    forwards = recorder.forwards()

    def stop_when_seen(forward: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **kwargs: Any) -> Any:
            output = forward(*args, **kwargs)
            if wanted <= recorder.outputs.keys():
                raise _Captured
            return output

        return watched

    with evaluating(model), torch.no_grad():
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


def find_replay(
    model: nn.Module,
    cut: Cut,
    run: Run,
    probes: tuple[Batch, Batch],
    *,
    set_modes: Callable[[], None],
    tolerance: float = 1e-4,
) -> Replay:
    """Find the taps of a cut and prove the replay on two batches.

    Args:
        model: the model, weights final below the cut.
        cut: not empty.
        run: runs model and objective on a batch; every tensor that it returns counts as result.
        probes: two batches of different size and, where lengths vary, different padded length;
            padded lengths must not stand in the ratio of the sizes.
        set_modes: puts the model into the mode in which this phase trains.
        tolerance: largest difference allowed, relative to the largest value.

    Raises:
        Unsound: no replay could be shown to equal the network.
    """
    first, second = probes
    stubs = _not_shadowed(model, cut.below)
    with evaluating(model), torch.no_grad():
        records = [_record(model, stubs, run, batch) for batch in probes]
        called = [path for path in stubs if any(p == path for p, _ in records[0])]
        if records[0].keys() != records[1].keys():
            raise Unsound("the number of calls of a frozen module differs between two batches")
        needed = _needed_leaves(model, called, run, first, records[0])
        replay = _assemble(cut, called, records, needed, probes)
        replay = _find_unread(model, replay, run, first)
    for batch in probes:
        _prove(model, replay, run, batch, set_modes, tolerance)
    return replay


def submodules(model: nn.Module, paths: Sequence[str]) -> dict[str, nn.Module]:
    """Return modules by path; the empty path is the model itself."""
    return {path: model.get_submodule(path) for path in paths}


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put the whole model into eval mode and give every module its own mode back."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _blank(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    value = float("nan") if dtype.is_floating_point or dtype.is_complex else 0
    return torch.full(tuple(shape), value, dtype=dtype, device=device)


def _not_shadowed(model: nn.Module, paths: Sequence[str]) -> list[str]:
    """Keep one path for each module: a tied module may be registered under several."""
    seen: set[int] = set()
    kept = []
    for path in paths:
        module = model.get_submodule(path)
        if id(module) not in seen and not isinstance(module, nn.ModuleList | nn.ModuleDict):
            seen.add(id(module))
            kept.append(path)
    return kept


Record = dict[tuple[str, int], Any]


def _record(model: nn.Module, stubs: Sequence[str], run: Run, batch: Batch) -> Record:
    recorder = Recorder(submodules(model, stubs))
    with replaced(recorder.forwards()):
        run(batch)
    return recorder.outputs


def _needed_leaves(
    model: nn.Module, stubs: Sequence[str], run: Run, batch: Batch, record: Record
) -> list[tuple[str, int, int]]:
    """Poison one leaf at a time, all others as recorded, and keep those that reach the result."""
    expected = _played(model, stubs, run, batch, record)
    return [
        (path, call, i)
        for (path, call), output in record.items()
        for i, leaf in enumerate(pytree.tree_leaves(output))
        if isinstance(leaf, Tensor)
        and _poison_shows(model, stubs, run, batch, record, (path, call, i), expected)
    ]


def _played(
    model: nn.Module,
    stubs: Sequence[str],
    run: Run,
    batch: Batch,
    record: Record,
    poisoned: tuple[str, int, int] | None = None,
) -> Any:
    """Run with every stub as recorded, but for one leaf."""

    def emit(path: str, call: int) -> Any:
        leaves, spec = pytree.tree_flatten(record[path, call])
        copies = [leaf.clone() if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        if poisoned is not None and (path, call) == poisoned[:2]:
            copies[poisoned[2]] = _poison(copies[poisoned[2]])
        return pytree.tree_unflatten(copies, spec)

    with replaced(Player(submodules(model, stubs), emit).forwards()):
        return run(batch)


def _poison(leaf: Tensor) -> Tensor:
    """Return NaN, or for masks and numbers something other than what was there."""
    if leaf.is_floating_point() or leaf.is_complex():
        return torch.full_like(leaf, float("nan"))
    return ~leaf if leaf.dtype == torch.bool else torch.zeros_like(leaf)


def _poison_shows(
    model: nn.Module,
    stubs: Sequence[str],
    run: Run,
    batch: Batch,
    record: Record,
    where: tuple[str, int, int],
    expected: Any,
) -> bool:
    try:
        result = _played(model, stubs, run, batch, record, where)
    except (ValueError, RuntimeError, IndexError):
        return True  # code that stumbles over poison has read it
    return _has_nan(result) or not all(
        torch.equal(x, y)
        for x, y in zip(pytree.tree_leaves(result), pytree.tree_leaves(expected), strict=True)
        if isinstance(x, Tensor)
    )


def _has_nan(result: Any) -> bool:
    return any(
        bool(torch.isnan(leaf).any())
        for leaf in pytree.tree_leaves(result)
        if isinstance(leaf, Tensor) and leaf.is_floating_point()
    )


def _per_example(
    records: Sequence[Record], key: tuple[str, int], i: int, probes: tuple[Batch, Batch]
) -> bool:
    sizes = [
        leaf.shape[0] if (leaf := pytree.tree_leaves(record[key])[i]).ndim else 0
        for record in records
    ]
    first, second = probes
    return sizes[0] * second.n == sizes[1] * first.n and sizes[0] > 0


def _assemble(
    cut: Cut,
    stubs: Sequence[str],
    records: Sequence[Record],
    needed: Sequence[tuple[str, int, int]],
    probes: tuple[Batch, Batch],
) -> Replay:
    taps: list[Tap] = []
    tap_shapes: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
    shared = {key for key in needed if not _per_example(records, key[:2], key[2], probes)}
    for path, call, i in needed:
        if (path, call, i) in shared:
            continue
        a, b = (pytree.tree_leaves(record[path, call])[i] for record in records)
        dims = [
            _dim(sizes, axis, probes) or Dim(like=(len(taps), axis))
            for axis, sizes in enumerate(zip(a.shape, b.shape, strict=True))
        ]
        taps.append(Tap(path, call, i, tuple(dims), a.dtype))
        tap_shapes.append((tuple(a.shape), tuple(b.shape)))
    index = {(t.path, t.call, t.leaf): n for n, t in enumerate(taps)}
    structure = {}
    for key in records[0]:
        leaves_a, spec = pytree.tree_flatten(records[0][key])
        leaves_b, spec_b = pytree.tree_flatten(records[1][key])
        if spec != spec_b:
            raise Unsound(f"`{key[0]}` returns another structure for another batch")
        structure[key] = (
            spec,
            tuple(
                _shared_leaf(a, b)
                if (*key, i) in shared
                else _leaf(key, index.get((*key, i)), a, b, tap_shapes, probes)
                for i, (a, b) in enumerate(zip(leaves_a, leaves_b, strict=True))
            ),
        )
    to_bucket = any(d.like is not None for t in taps for d in t.dims)
    return Replay(cut, tuple(taps), {}, to_bucket, tuple(stubs), structure)


def _leaf(
    key: tuple[str, int],
    tap: int | None,
    a: Any,
    b: Any,
    tap_shapes: Sequence[tuple[tuple[int, ...], tuple[int, ...]]],
    probes: tuple[Batch, Batch],
) -> _Leaf:
    if tap is not None:
        return _Leaf(tap=tap)
    if isinstance(a, Tensor):
        return _Leaf(dims=_dims(key[0], a, b, tap_shapes, probes), dtype=a.dtype)
    if a != b:
        raise Unsound(f"`{key[0]}` returns a value that depends on the batch and is no tensor")
    return _Leaf(constant=a)


def _shared_leaf(a: Tensor, b: Tensor) -> _Leaf:
    return _Leaf(constant=a) if torch.equal(a, b) else _Leaf(shared=True)


def _dims(
    path: str,
    a: Tensor,
    b: Tensor,
    tap_shapes: Sequence[tuple[tuple[int, ...], tuple[int, ...]]],
    probes: tuple[Batch, Batch],
) -> tuple[Dim, ...]:
    dims = []
    for axis, sizes in enumerate(zip(a.shape, b.shape, strict=True)):
        dim = _dim(sizes, axis, probes)
        for n, (shape_a, shape_b) in enumerate(tap_shapes):
            for tap_axis, tap_sizes in enumerate(zip(shape_a, shape_b, strict=True)):
                if dim is None and tap_axis and tap_sizes == sizes:
                    dim = Dim(like=(n, tap_axis))
        if dim is None:
            raise Unsound(f"the shape of an output of `{path}` does not follow from the batch")
        dims.append(dim)
    return tuple(dims)


def _dim(sizes: tuple[int, int], axis: int, probes: tuple[Batch, Batch]) -> Dim | None:
    """Explain one size by the batch, or return None."""
    a, b = sizes
    first, second = probes
    if a == b:
        return Dim(plus=a)
    by_rows = Dim(rows=a // first.n) if a % first.n == 0 and a * second.n == b * first.n else None
    by_length = (
        Dim(length=1, plus=a - first.length) if a - first.length == b - second.length else None
    )
    return by_rows or by_length if axis == 0 else by_length or by_rows


def _find_unread(model: nn.Module, replay: Replay, run: Run, batch: Batch) -> Replay:
    """Find the float inputs that the upper part never reads: they need not be loaded again."""
    [state] = capture(model, [replay], run, batch)
    unread = {}
    for name, value in batch.inputs.items():
        if not value.is_floating_point():
            continue
        poisoned = batch.with_inputs({**batch.inputs, name: torch.full_like(value, float("nan"))})
        try:
            with replay.from_state(model, state, poisoned, run) as stubbed:
                shows = _has_nan(run(stubbed))
        except (ValueError, RuntimeError, IndexError):
            shows = True
        if not shows:
            dims = [
                Dim(rows=1)
                if axis == 0
                else Dim(length=1)
                if size == batch.length
                else Dim(plus=size)
                for axis, size in enumerate(value.shape)
            ]
            unread[name] = (tuple(dims), value.dtype)
    if unread and replay.has_shared and batch.length:
        raise Unsound("what all examples share depends on their length, and inputs are not kept")
    return replace(replay, unread=unread)


def _prove(
    model: nn.Module,
    replay: Replay,
    run: Run,
    batch: Batch,
    set_modes: Callable[[], None],
    tolerance: float,
) -> None:
    """Compare the replay with the network itself; raise Unsound where they differ."""
    [state] = capture(model, [replay], run, batch)

    def replayed(poison: bool) -> tuple[list[Tensor], list[Tensor]]:
        if poison:
            with replay.from_state(model, state, batch, run) as stubbed:
                return _results_and_gradients(model, run, stubbed)
        with torch.no_grad(), evaluating(model):
            record = _record(model, replay.stubs, run, batch)
        player = Player(submodules(model, replay.stubs), lambda path, call: record[path, call])
        with replaced(player.forwards()):
            return _results_and_gradients(model, run, batch)

    with evaluating(model):
        _compare(_results_and_gradients(model, run, batch), replayed(True), tolerance, "eval")
    modes = [(module, module.training) for module in model.modules()]
    buffers = {name: b.clone() for name, b in model.named_buffers()}
    rng = torch.get_rng_state()
    try:
        set_modes()
        expected = replayed(False)
        _restore(model, buffers)
        torch.set_rng_state(rng)
        found = replayed(True)
    finally:
        _restore(model, buffers)
        torch.set_rng_state(rng)
        for module, training in modes:
            module.training = training
    _compare(expected, found, tolerance, "training")


def _restore(model: nn.Module, buffers: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            buffer.copy_(buffers[name])


def _results_and_gradients(
    model: nn.Module, run: Run, batch: Batch
) -> tuple[list[Tensor], list[Tensor]]:
    parameters = [p for p in model.parameters() if p.requires_grad]
    with torch.enable_grad():
        result = [leaf for leaf in pytree.tree_leaves(run(batch)) if isinstance(leaf, Tensor)]
        total = sum(r.float().mean() for r in result if r.requires_grad)
        if not isinstance(total, Tensor):
            return [r.detach() for r in result], []
        gradients = torch.autograd.grad(total, parameters, allow_unused=True)
    zeros = (
        torch.zeros_like(p) if g is None else g for p, g in zip(parameters, gradients, strict=True)
    )
    return [r.detach() for r in result], list(zeros)


def _compare(
    expected: tuple[list[Tensor], list[Tensor]],
    found: tuple[list[Tensor], list[Tensor]],
    tolerance: float,
    mode: str,
) -> None:
    for what, xs, ys in zip(("results", "gradients"), expected, found, strict=True):
        # gradients are held to the largest of them: tiny ones are sums of float noise
        whole = max((float(x.abs().max()) for x in xs if x.numel()), default=0.0)
        for x, y in zip(xs, ys, strict=True):
            if not x.is_floating_point() or not x.numel():
                continue
            scale = max(whole if what == "gradients" else float(x.abs().max()), 1e-6)
            difference = float((x - y).abs().max())
            if not difference <= tolerance * scale:
                raise Unsound(
                    f"{what} in {mode} mode differ by {difference / scale:.1e} of the scale"
                )
