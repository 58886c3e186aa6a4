"""Segments on disk: vectors that are opened as a memory map, and the rows that they stand for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from graft.data.faults import data_error, listed
from graft.errors import InputError, ModelError
from graft.killpoints import fail_at
from graft.retrieval.manifest import ROWS, VECTORS, Manifest, Segment, sha256
from graft.retrieval.rows import Row, write_rows
from graft.storage import storing, whole_folder

METRICS = ("cosine", "dot")
BLOCK_ROWS = 65_536


@dataclass(frozen=True, eq=False)
class Batch:
    """Hold rows to be indexed, with their vectors (N, D)."""

    vectors: np.ndarray
    rows: Sequence[Row]

    def __post_init__(self) -> None:
        assert self.vectors.ndim == 2 and len(self.vectors) == len(self.rows)

    def by_side(self) -> list[Batch]:
        """Return the rows of each side by themselves; one batch where there is one side."""
        sides = list(dict.fromkeys(row.side for row in self.rows))
        if len(sides) < 2:
            return [self]
        of_side = [[i for i, row in enumerate(self.rows) if row.side == side] for side in sides]
        return [Batch(self.vectors[some], [self.rows[i] for i in some]) for some in of_side]


def check_batch(batch: Batch, metric: str) -> None:
    """Refuse rows that cannot be indexed.

    Raises:
        DataError: a vector holds a NaN, an infinity, or zeros alone; an id names two rows.
    """
    for start in range(0, len(batch.rows), BLOCK_ROWS):
        block = batch.vectors[start : start + BLOCK_ROWS]
        is_finite = np.asarray(np.isfinite(block).all(1))
        usable = is_finite & block.any(1) if metric == "cosine" else is_finite
        if not usable.all():
            at = int(np.argmin(usable))
            row = batch.rows[start + at]
            what = (
                "zeros alone, which have no direction"
                if is_finite[at]
                else "a value that is NaN or infinite"
            )
            message = f"the vector of `{row.id}` holds {what}; drop the row or mend the model"
            raise data_error(message, path=row.path, row=row.number)
    seen: dict[str, Row] = {}
    for row in batch.rows:
        if row.id in seen:
            message = (
                f"id `{row.id}` names an earlier row too; give every row an id of its own, or "
            )
            raise data_error(
                message + "name another column with --id", path=row.path, row=row.number
            )
        seen[row.id] = row


def check_width(n_columns: int, manifest: Manifest) -> None:
    """Refuse vectors of another width than the index has.

    Raises:
        InputError: as said.
    """
    if n_columns != manifest.width:
        raise InputError(
            f"vectors of {n_columns} numbers, and the index holds {manifest.width}; embed them "
            f"with the index's own model ({manifest.model_name[-60:]})"
        )


def prepared(vectors: np.ndarray, metric: str) -> np.ndarray:
    """Return vectors (N, D) as they are compared: float32, under `cosine` of length one.

    Raises:
        InputError: there is no such metric.
    """
    if metric not in METRICS:
        raise InputError(f"metric {metric!r} is not known; pass one of: {listed(METRICS)}")
    vectors = np.asarray(vectors, np.float32)
    if metric == "dot":
        return vectors
    length = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    return (vectors / np.maximum(length, 1e-30)).astype(np.float32)


def write_segment(folder: Path, name: str, batch: Batch, metric: str) -> Segment:
    """Write rows of one side into a new segment; it is there whole or not at all.

    Raises:
        StorageError: it cannot be written.
    """
    size = batch.vectors.size * 4
    mend = "free some space; the index is as it was"
    with storing("the index", folder, mend, needed_bytes=size), whole_folder(folder / name) as into:
        shape = batch.vectors.shape
        stored = np.lib.format.open_memmap(into / VECTORS, mode="w+", dtype=np.float32, shape=shape)
        for start in range(0, len(stored), BLOCK_ROWS):
            stop = start + BLOCK_ROWS
            stored[start:stop] = prepared(batch.vectors[start:stop], metric)
        stored.flush()
        del stored
        fail_at("in_segment")
        write_rows(into / ROWS, batch.rows)
        hashes = sha256(into / VECTORS), sha256(into / ROWS)
    return Segment(name, len(batch.rows), *hashes, side=batch.rows[0].side if batch.rows else "")


def open_vectors(folder: Path, segment: Segment, width: int) -> np.ndarray:
    """Map the vectors (n, D) of a segment.

    Raises:
        ModelError: they are not what the index says.
    """
    path = folder / segment.name / VECTORS
    try:
        # copy on write: torch takes no array that may not be written, and the file never changes
        found = np.asarray(np.load(path, mmap_mode="c" if segment.n_rows else None))
    except ValueError:
        found = None
    if found is None or found.shape != (segment.n_rows, width) or found.dtype != np.float32:
        raise ModelError(f"{str(path)[-120:]}: is damaged; build the index again with --rebuild")
    return found
