"""Filling stores: who may write, what it will take, and what becomes of a disk that is full.

A store is a convenience: cached equals uncached bit for bit. So where it cannot be written, because
the disk is full or read-only, training goes on without it and says so. Two runs that want the same
store do not both write it: the second waits for the first, and then reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from graft.engine.prefix import OnRows, estimate_bytes, fill, open_store
from graft.engine.processes import Processes
from graft.engine.replay import Replay, Run
from graft.engine.store import RowStore
from graft.errors import StorageError
from graft.locks import locked
from graft.storage import free_bytes, storing
from graft.tasks.task import Stream
from graft.wording import human_bytes

OnNote = Callable[[str], None]
WORTH_SAYING = 1_000_000
"""Bytes from which on it is said that they will be written."""

Wanted = list[tuple[Replay, RowStore]]


@dataclass(frozen=True)
class Filling:
    """Say where stores lie and how they are filled.

    Args:
        root: folder of the stores.
        processes: one of them writes; all take part in a pass where parameters are sharded.
        n_workers: threads that read ahead.
        on_rows: told how far a pass has come.
        on_note: told what is about to be written, and what cannot be.
    """

    root: Path
    processes: Processes
    n_workers: int = 0
    on_rows: OnRows = lambda *_: None
    on_note: OnNote = lambda _: None


def filled(
    model: nn.Module, by_key: Mapping[str, Replay], run: Run, stream: Stream, how: Filling
) -> tuple[RowStore | None, int, str]:
    """Return the first store, complete, how many rows had to be computed, and why there is none.

    To open a store is to mend it, and what it lacks decides who waits for whom: so the others open
    it after the first process did, and take its word for what is there.
    """
    processes = how.processes
    keys, replays = processes.agree(list(by_key)), list(by_key.values())
    with ExitStack() as held:
        wanted, why = [], ""
        if processes.is_main:
            try:
                wanted = _open_to_fill(keys, replays, stream, how, held)
            except StorageError as error:
                why = str(error)
        why = processes.agree(why)
        if why:
            how.on_note(f"{why}; features are computed anew each time")
            return None, 0, why
        wanted = wanted or _opened(how.root, keys, replays, stream)
        found = processes.agree([(store.is_complete, store.n_groups) for _, store in wanted])
        for (_, store), (is_complete, n_groups) in zip(wanted, found, strict=True):
            store.is_complete, store.n_groups = is_complete, n_groups
        n_computed = 0
        if not wanted[0][1].is_complete:
            if processes.is_main or processes.is_sharded:
                n_computed, why = fill(
                    model,
                    wanted,
                    run,
                    stream,
                    write=processes.is_main,
                    is_alone=not processes.is_sharded,
                    n_workers=how.n_workers,
                    on_rows=how.on_rows,
                )
            processes.barrier()
    why = processes.agree(why)
    if why:
        how.on_note(f"{why}; features are computed anew each time")
    store = wanted[0][1]
    if not processes.is_main:
        [(_, store)] = _opened(how.root, keys[:1], replays[:1], stream)
    if processes.everywhere(store.is_complete):
        return store, n_computed, ""
    return None, n_computed, why or "the processes do not see one folder of stores"


def fill_all(
    model: nn.Module, by_key: Mapping[str, Replay], run: Run, stream: Stream, how: Filling
) -> list[RowStore] | None:
    """Return the store of each key, completed where needed by one pass over the stream.

    Returns:
        None where one of them cannot be written.
    """

    def open_all() -> list[RowStore]:
        return [
            store for _, store in _opened(how.root, list(by_key), list(by_key.values()), stream)
        ]

    stores = open_all()
    lacking = how.processes.agree(
        [k for k, store in zip(by_key, stores, strict=True) if not store.is_complete]
    )
    # the first one's state decides whether a pass is made: those that are complete stay outside
    if not lacking:
        return stores
    _, _, why = filled(model, {key: by_key[key] for key in lacking}, run, stream, how)
    return None if why else open_all()


def _opened(root: Path, keys: list[str], replays: list[Replay], stream: Stream) -> Wanted:
    """Open stores to read them, whatever state they are in."""
    return [
        (replay, open_store(root, key, replay, stream, mend=False))
        for key, replay in zip(keys, replays, strict=True)
    ]


def _open_to_fill(
    keys: list[str], replays: list[Replay], stream: Stream, how: Filling, held: ExitStack
) -> Wanted:
    """Open stores, and lock those that are not complete; wait for who fills them already.

    Raises:
        StorageError: the folder cannot be written, or has too little space.
    """
    found = dict(zip(keys, _opened(how.root, keys, replays, stream), strict=True))
    lacking = [key for key, (_, store) in found.items() if not store.is_complete]
    if not lacking:
        return list(found.values())
    mend = "free some space, or pass --cache off"
    with storing("the feature store", how.root, mend):
        how.root.mkdir(parents=True, exist_ok=True)
        for key in sorted(lacking):  # in one order, or two runs could wait for each other
            held.enter_context(locked(how.root / f"{key}.lock", _waiting(how)))
    for key in lacking:
        replay = found[key][0]
        found[key] = replay, open_store(how.root, key, replay, stream)
    _say_size([pair for pair in found.values() if not pair[1].is_complete], stream, how)
    return list(found.values())


def _say_size(lacking: Wanted, stream: Stream, how: Filling) -> None:
    """Tell what will be written, or refuse what has no place.

    Raises:
        StorageError: the disk has less space.
    """
    needed = sum(max(0, estimate_bytes(r, stream) - store.size_bytes) for r, store in lacking)
    free = free_bytes(how.root)
    if needed > free:
        raise StorageError(
            f"{how.root}: the feature store needs {human_bytes(needed)}, {human_bytes(free)} are "
            "free; free some space, or pass --cache with another folder"
        )
    if needed >= WORTH_SAYING:
        how.on_note(f"features are stored: about {human_bytes(needed)} in {how.root}")


def _waiting(how: Filling) -> OnNote:
    def tell(holder: str) -> None:
        how.on_note(f"{holder} fills the same feature store: waiting for it")

    return tell
