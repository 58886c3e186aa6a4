"""What a writer lays beside an index for its next generation: segments, deletions, graphs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from graft.retrieval.hnsw import Built, build_graph, save_graph
from graft.retrieval.index import Index
from graft.retrieval.manifest import GraphFile, Manifest, Segment, sha256
from graft.retrieval.segments import Batch, check_batch, write_segment
from graft.storage import fsync, storing


def write_segments(folder: Path, generation: int, batch: Batch, metric: str) -> tuple[Segment, ...]:
    """Write the rows of each side into a segment.

    Raises:
        DataError: a row cannot be indexed; nothing is written then.
    """
    check_batch(batch, metric)  # whole: no id may name rows of both sides
    segments = []
    for part in batch.by_side():
        side = part.rows[0].side if part.rows else ""
        name = _named(f"segment-{generation:06d}", side)
        segments.append(write_segment(folder, name, part, metric))
    return tuple(segments)


def write_deleted(folder: Path, before: Manifest, numbers: Sequence[int]) -> Manifest:
    """Write which rows are deleted; returns the generation that says so."""
    old = np.load(folder / before.deleted) if before.deleted else np.zeros(0, np.int64)
    deleted = np.union1d(old, np.asarray(numbers, np.int64))
    generation = before.generation + 1
    name = f"deleted-{generation:06d}.npy"
    with storing("the index", folder, "free some space; the index is as it was"):
        np.save(folder / name, deleted)
        fsync(folder / name)
    return replace(before, generation=generation, deleted=name, n_deleted=len(deleted))


def write_graphs(
    folder: Path, manifest: Manifest, least: float, n_threads: int
) -> tuple[GraphFile, ...]:
    """Build and write a graph for each side of a new generation that has enough rows.

    Args:
        folder: of the index.
        manifest: the generation, of which nothing is deleted.
        least: rows that are enough.
        n_threads: that build a graph.
    """
    found = []
    with Index(folder, manifest) as index:
        for side, part in index.parts.items():
            if index.n_of(side) < least:
                continue
            others = [p.segments for other, p in index.parts.items() if other != side]
            across = [segment for segments in others for segment in segments]
            built = build_graph(part.segments, n_threads=n_threads, across=across)
            found.append(_saved(folder, manifest.generation, side, built))
    return tuple(found)


def _saved(folder: Path, generation: int, side: str, built: Built) -> GraphFile:
    """Write a graph beside the index."""
    name = _named(f"graph-{generation:06d}", side) + ".faiss"
    with storing("the graph of the index", folder, "free some space"):
        save_graph(built.graph, folder / name)
        fsync(folder / name)
    graph, hash_ = built.graph, sha256(folder / name)
    return GraphFile(
        name, graph.n_rows, hash_, graph.width, built.recall, side, built.recall_across
    )


def _named(name: str, side: str) -> str:
    return f"{name}-{side}" if side else name
