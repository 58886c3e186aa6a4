"""Making the next generation of an index: build, add, delete, rebuild, calibrate.

Whoever writes holds the index's lock, so generations come one after the other. What is written lies
beside what is there and counts only once `index.json` names it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal, NoReturn

import numpy as np

from graft.data.faults import LONGEST_LINE, shorten_path
from graft.errors import InputError, ModelError, StorageError
from graft.locks import Held, locked
from graft.retrieval import qdrant, qdrant_writing
from graft.retrieval.files import write_deleted, write_graphs, write_segments
from graft.retrieval.hnsw import is_installed, load_faiss
from graft.retrieval.index import Index
from graft.retrieval.manifest import NAME, Manifest, read_manifest, swap
from graft.retrieval.refusals import About, refuse_known, refuse_other_model, refuse_unknown
from graft.retrieval.segments import Batch, check_batch, check_width
from graft.retrieval.threshold import Threshold
from graft.storage import storing

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
            manifest = replace(manifest, thresholds=before.thresholds)
        if server is not None:
            manifest = qdrant_writing.create(manifest, batch, server, before)
            swap(folder, manifest, before)
            return manifest
        segments = write_segments(folder, generation, batch, about.metric)
        manifest = replace(manifest, segments=segments)
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
            more = write_segments(folder, generation, batch, before.metric)
            after = replace(before, generation=generation, segments=(*before.segments, *more))
        swap(folder, after, before)
        return after


def delete(folder: Path, ids: Sequence[str]) -> Manifest:
    """Delete rows by their ids, and what belongs to them; `rebuild` frees their space.

    Raises:
        InputError: an id is not there, was deleted before, or is named twice.
        StorageError: it cannot be written, or another process writes into it.
    """
    with writing(folder):
        before = read_manifest(folder)
        with open_index(folder) as index:
            found = index.numbers_of(ids)
            refuse_unknown(ids, found, index.numbers_of(ids, live=False), index.ids)
            owned = index.owned_by(ids)
        points = list(dict.fromkeys([*(found[id_] for id_ in ids), *owned]))
        after = (
            qdrant_writing.delete(before, points)
            if before.server
            else write_deleted(folder, before, points)
        )
        swap(folder, after, before)
        return after


def rebuild(folder: Path, *, kind: Kind = "auto", n_threads: int = 1) -> Manifest:
    """Write each side into one segment, without what was deleted, and build its graph anew.

    Vectors are taken over; thresholds stay.

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
            segments = write_segments(folder, generation, batch, "dot")
        if kind == "auto" and before.graphs and is_installed():
            kind = "hnsw"
        after = replace(
            before, generation=generation, segments=segments, deleted="", n_deleted=0, graphs=()
        )
        return _exchange(folder, after, before, kind, n_threads)


def set_thresholds(folder: Path, found: Mapping[str, Threshold]) -> Manifest:
    """Store which scores are near enough; what is known of other pairs of sides stays.

    Args:
        folder: of the index.
        found: by the pair of sides, as `manifest.between` names it.
    """
    with writing(folder):
        before = read_manifest(folder)
        thresholds = {**before.thresholds, **found}
        after = replace(before, generation=before.generation + 1, thresholds=thresholds)
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
    """Return the share of rows that their side's graph does not cover, 0 without graphs."""
    sides = [graph.side for graph in manifest.graphs]
    n_rows = sum(s.n_rows for s in manifest.segments if s.side in sides)
    return 1 - sum(graph.n_rows for graph in manifest.graphs) / n_rows if n_rows else 0.0


def _exchange(
    folder: Path, manifest: Manifest, before: Manifest | None, kind: Kind, n_threads: int
) -> Manifest:
    """Add graphs where that is asked for, and make the generation the current one."""
    least = {"exact": math.inf, "hnsw": 1, "auto": GRAPH_FROM_ROWS if is_installed() else math.inf}
    graphs = write_graphs(folder, manifest, least[kind], n_threads)
    manifest = replace(manifest, graphs=graphs)
    swap(folder, manifest, before)
    return manifest
