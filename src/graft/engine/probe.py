"""Find a replay, and prove it before it is used.

Two probe batches of different size and length say how shapes follow from the batch. Poisoning one
output of one stub at a time says which of them the upper part reads. Then the replay must show that
it equals the network itself: results and gradients in eval mode, and in training mode gradients
from one RNG state with and without the poison.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from graft.batch import Batch
from graft.engine.cut import Cut
from graft.engine.proof import prove
from graft.engine.replay import (
    Dim,
    Leaf,
    Record,
    Replay,
    Run,
    Tap,
    Unsound,
    capture,
    copied,
    evaluating,
    record_stubs,
    submodules,
)
from graft.engine.stubs import Player, replaced


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
    first = probes[0]
    run = _from_one_seed(run)
    stubs = _not_shadowed(model, cut.below)
    with evaluating(model), torch.no_grad():
        records = [record_stubs(model, stubs, run, batch) for batch in probes]
        called = [path for path in stubs if any(p == path for p, _ in records[0])]
        if records[0].keys() != records[1].keys():
            raise Unsound("the number of calls of a frozen module differs between two batches")
        needed = _needed_leaves(model, called, run, first, records[0])
        replay = _assemble(cut, called, records, needed, probes)
        replay = _find_unread(model, replay, run, first)
    for batch in probes:
        prove(model, replay, run, batch, set_modes, tolerance)
    return replay


def _from_one_seed(run: Run) -> Run:
    """Let every run draw the same random numbers, or a task's own noise would look like poison."""

    def seeded(batch: Batch) -> Any:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return run(batch)

    return seeded


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
        copies, spec = pytree.tree_flatten(copied(record, path, call))
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
) -> Leaf:
    if tap is not None:
        return Leaf(tap=tap)
    if isinstance(a, Tensor):
        return Leaf(dims=_dims(key[0], a, b, tap_shapes, probes), dtype=a.dtype)
    if a != b:
        raise Unsound(f"`{key[0]}` returns a value that depends on the batch and is no tensor")
    return Leaf(constant=a)


def _shared_leaf(a: Tensor, b: Tensor) -> Leaf:
    return Leaf(constant=a) if torch.equal(a, b) else Leaf(shared=True)


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
