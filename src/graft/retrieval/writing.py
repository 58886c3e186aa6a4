"""Making the next generation of an index: build, add, delete, rebuild, calibrate.

Whoever writes holds the index's lock, so generations come one after the other. What is written lies
beside what is there and counts only once `index.json` names it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal, NoReturn

import numpy as np

from graft.data.faults import LONGEST_LINE, shorten_path
from graft.errors import InputError, ModelError, StorageError
from graft.locks import Held, locked
from graft.retrieval import qdrant, qdrant_writing
from graft.retrieval.hnsw import build_graph, is_installed, load_faiss, save_graph
from graft.retrieval.index import Index
from graft.retrieval.manifest import NAME, GraphFile, Manifest, read_manifest, sha256, swap
from graft.retrieval.refusals import About, refuse_known, refuse_other_model, refuse_unknown
from graft.retrieval.segments import Batch, check_batch, check_width, write_segment
from graft.retrieval.threshold import Threshold
from graft.storage import fsync, storing

LOCK = ".lock"
GRAPH_FROM_ROWS = 200_000
"""From here on an exact search of one query takes some tenths of a second on one core."""
STALE_SHARE = 0.25

Kind = Literal["auto", "exact", "hnsw"]


def build(
    folder: Path,
    batch: Batch,
    about: About,
    *,
    kind: Kind = "auto",
    n_threads: int = 1,
    replacing: bool = False,
    server: str | None = None,
) -> Manifest:
    """Make an index of rows.

    Args:
        folder: of the index; made where it is not there.
        batch: the rows with their vectors.
        about: what made the vectors.
        kind: `exact`, `hnsw`, or `auto` for a graph from 200,000 rows on where faiss is installed.
        n_threads: that build a graph.
        replacing: take the place of the index that is there; else that is an error.
        server: keep the vectors in Qdrant: `:memory:`, a folder, or an address.

    Raises:
        InputError: there is an index already.
        DataError: a row cannot be indexed.
        MissingExtra: a graph is asked for without faiss.
        StorageError: it cannot be written, or another process writes into it.
    """
    if kind == "hnsw":
        load_faiss()
    with writing(folder):
        before = current(folder, replacing=replacing)
        if before is not None and not replacing:
            refuse_existing(folder)
        generation = before.generation + 1 if before else 1
        width = batch.vectors.shape[1]
        manifest = Manifest(generation, about.model, about.name, width, about.metric)
        if before is not None and (before.model, before.metric) == (about.model, about.metric):
            manifest = replace(manifest, threshold=before.threshold)
        if server is not None:
            manifest = qdrant_writing.create(manifest, batch, server, before)
            swap(folder, manifest, before)
            return manifest
        segment = write_segment(folder, f"segment-{generation:06d}", batch, about.metric)
        manifest = replace(manifest, segments=(segment,))
        return _exchange(folder, manifest, before, kind, n_threads)


def add(folder: Path, batch: Batch, about: About) -> Manifest:
    """Add rows; nothing of the old ones is computed or written again.

    Raises:
        InputError: another model made the index, the width differs, or an id is there already.
        DataError: a row cannot be indexed.
        StorageError: it cannot be written, or another process writes into it.
    """
    with writing(folder):
        before = read_manifest(folder)
        refuse_other_model(before, about)
        check_width(batch.vectors.shape[1], before)
        check_batch(batch, before.metric)
        with open_index(folder) as index:
            refuse_known([row.id for row in batch.rows], index.numbers_of)
        if before.server:
            after = qdrant_writing.add(before, batch)
        else:
            generation = before.generation + 1
            segment = write_segment(folder, f"segment-{generation:06d}", batch, before.metric)
            after = replace(before, generation=generation, segments=(*before.segments, segment))
        swap(folder, after, before)
        return after


def delete(folder: Path, ids: Sequence[str]) -> Manifest:
    """Delete rows by their ids; they are found no more, and `rebuild` frees their space.

    Raises:
        InputError: an id is not there, was deleted before, or is named twice.
        StorageError: it cannot be written, or another process writes into it.
    """
    with writing(folder):
        before = read_manifest(folder)
        with open_index(folder) as index:
            found = index.numbers_of(ids)
            refuse_unknown(ids, found, index.numbers_of(ids, live=False), index.ids)
        points = [found[id_] for id_ in ids]
        after = (
            qdrant_writing.delete(before, points)
            if before.server
            else _deleted(folder, before, points)
        )
        swap(folder, after, before)
        return after


def rebuild(folder: Path, *, kind: Kind = "auto", n_threads: int = 1) -> Manifest:
    """Write what is there into one segment, without what was deleted, and build the graph anew.

    Vectors are taken over; the threshold stays.

    Args:
        folder: of the index.
        kind: as for `build`; `auto` also makes a graph where there was one.
        n_threads: that build a graph.

    Raises:
        InputError: there is no index.
        StorageError: it cannot be written, or another process writes into it.
    """
    with writing(folder):
        before = read_manifest(folder)
        if before.server:
            after = qdrant_writing.rebuild(before)
            swap(folder, after, before)
            return after
        generation = before.generation + 1
        with Index.open(folder) as index:
            numbers = np.flatnonzero(index.live)
            rows = index.rows(numbers.tolist())
            batch = Batch(index.vectors(numbers), [rows[n] for n in numbers.tolist()])
            # under `dot` the lengths count, and under `cosine` they are one: nothing is changed
            segment = write_segment(folder, f"segment-{generation:06d}", batch, "dot")
        if kind == "auto" and before.graph is not None and is_installed():
            kind = "hnsw"
        after = replace(
            before, generation=generation, segments=(segment,), deleted="", n_deleted=0, graph=None
        )
        return _exchange(folder, after, before, kind, n_threads)


def set_threshold(folder: Path, threshold: Threshold | None) -> Manifest:
    """Store which scores are near enough; None takes it away."""
    with writing(folder):
        before = read_manifest(folder)
        after = replace(before, generation=before.generation + 1, threshold=threshold)
        swap(folder, after, before)
        return after


def refuse_existing(folder: Path) -> NoReturn:
    """Raise because a folder holds an index already."""
    text = ": holds an index; pass --add for more rows, or --rebuild to replace them"
    raise InputError(shorten_path(str(folder), LONGEST_LINE - len(text)) + text)


def open_index(folder: Path) -> Index | qdrant.QdrantIndex:
    """Open the current generation of an index, wherever its vectors lie.

    Raises:
        InputError: there is no index.
        ModelError: it is damaged.
    """
    manifest = read_manifest(folder)
    return qdrant.QdrantIndex(manifest) if manifest.server else Index.open(folder)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Hold the lock of an index.

    Raises:
        StorageError: another process holds it, or the folder cannot be written.
    """
    with storing("the index", folder, "choose another --index"):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock = locked(folder / LOCK)
            lock.__enter__()
        except Held as error:
            text = f": {error.holder} writes into it; wait until it is done"
            place = shorten_path(str(folder), LONGEST_LINE - len(text))
            raise StorageError(place + text) from None
    try:
        yield
    finally:
        lock.__exit__(None, None, None)


def current(folder: Path, *, replacing: bool = False) -> Manifest | None:
    """Return the generation that is there, None where there is none.

    Args:
        folder: of the index.
        replacing: it is to be replaced, so one that cannot be read is as good as none.

    Raises:
        ModelError: it cannot be read.
    """
    if not (folder / NAME).exists():
        return None
    try:
        return read_manifest(folder)
    except ModelError:
        if replacing:
            return None
        raise


def stale_share(manifest: Manifest) -> float:
    """Return the share of rows that a graph does not cover, 0 where there is no graph."""
    if manifest.graph is None or not manifest.n_rows:
        return 0.0
    return 1 - manifest.graph.n_rows / manifest.n_rows


def _deleted(folder: Path, before: Manifest, numbers: Sequence[int]) -> Manifest:
    """Write which rows are deleted; returns the generation that says so."""
    old = np.load(folder / before.deleted) if before.deleted else np.zeros(0, np.int64)
    deleted = np.union1d(old, np.asarray(numbers, np.int64))
    generation = before.generation + 1
    name = f"deleted-{generation:06d}.npy"
    with storing("the index", folder, "free some space; the index is as it was"):
        np.save(folder / name, deleted)
        fsync(folder / name)
    return replace(before, generation=generation, deleted=name, n_deleted=len(deleted))


def _exchange(
    folder: Path, manifest: Manifest, before: Manifest | None, kind: Kind, n_threads: int
) -> Manifest:
    """Add a graph where that is asked for, and make the generation the current one."""
    wants = kind == "hnsw" or (
        kind == "auto" and manifest.n_rows >= GRAPH_FROM_ROWS and is_installed()
    )
    if wants and manifest.n_rows:
        with Index(folder, manifest) as index:
            graph, recall = build_graph(index.segments, n_threads=n_threads)
        name = f"graph-{manifest.generation:06d}.faiss"
        with storing("the graph of the index", folder, "free some space"):
            save_graph(graph, folder / name)
            fsync(folder / name)
        about = GraphFile(name, manifest.n_rows, sha256(folder / name), graph.width, recall)
        manifest = replace(manifest, graph=about)
    swap(folder, manifest, before)
    return manifest
