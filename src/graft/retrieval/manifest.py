"""`index.json`: what one generation of an index is made of, exchanged whole.

A generation names immutable files by their SHA-256. The next one is written beside it and takes its
name by one rename; files that neither of the two names are then removed. Whoever opened the one
before keeps its files open, and whoever reads the old name and comes late reads it again.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from graft.data.faults import LONGEST_LINE, shorten_path
from graft.errors import InputError, ModelError
from graft.killpoints import fail_at
from graft.retrieval.threshold import Threshold
from graft.storage import write_text

NAME = "index.json"
FORMAT = 2
VECTORS, ROWS = "vectors.npy", "rows.sqlite"


@dataclass(frozen=True)
class Segment:
    """Name a folder of vectors and rows of one side, with the SHA-256 of both files."""

    name: str
    n_rows: int
    vectors_sha256: str
    rows_sha256: str
    side: str = ""


@dataclass(frozen=True)
class GraphFile:
    """Name an approximate graph over the first rows of a side of an index.

    Args:
        name: of the file.
        n_rows: rows that it covers; those added since are searched exactly.
        sha256: of the file.
        width: how many candidates a search keeps.
        recall: share of the true ten nearest to rows of its own kind that it found when it was
            built.
        side: whose rows it covers.
        recall_across: the same for queries of the other side; None where there is none.
    """

    name: str
    n_rows: int
    sha256: str
    width: int
    recall: float
    side: str = ""
    recall_across: float | None = None


@dataclass(frozen=True)
class Manifest:
    """Say what one generation is.

    Args:
        generation: counts up from 1.
        model: fingerprint of the weights and the processor that made the vectors.
        model_name: what the model is called, for people.
        width: D.
        metric: `cosine` or `dot`.
        segments: in the order of their rows.
        deleted: file with the numbers of deleted rows, empty where there are none.
        n_deleted: how many.
        graphs: the approximate ones, one for a side at most.
        thresholds: which scores are near enough, where that was calibrated: by `between`.
        server: where the vectors lie, if not in segments: place and collection.
    """

    generation: int
    model: str
    model_name: str
    width: int
    metric: str
    segments: tuple[Segment, ...] = ()
    deleted: str = ""
    n_deleted: int = 0
    graphs: tuple[GraphFile, ...] = ()
    thresholds: dict[str, Threshold] = field(default_factory=dict)
    server: dict[str, Any] = field(default_factory=dict)

    @property
    def n_rows(self) -> int:
        """Rows on disk, deleted ones too."""
        return sum(segment.n_rows for segment in self.segments)

    @property
    def sides(self) -> tuple[str, ...]:
        """Sides that have rows, or had some; an index of one kind of rows has the side ``""``."""
        found = self.server["sides"] if self.server else [s.side for s in self.segments]
        return tuple(dict.fromkeys(found))

    def threshold_of(self, found: str = "", asked: str = "") -> Threshold | None:
        """Return which scores are near enough where queries of a side find rows of a side."""
        return self.thresholds.get(between(found, asked))

    def files(self) -> Iterator[str]:
        """Yield the names of what the generation needs."""
        yield from (segment.name for segment in self.segments)
        yield from filter(None, (self.deleted, *(graph.name for graph in self.graphs)))


def between(one: str, other: str) -> str:
    """Return the name of pairs of two sides; who asks whom does not matter to their scores.

    >>> between("text", "image"), between("image", "image"), between("", "")
    ('image-text', 'image-image', 'rows')
    """
    return "-".join(sorted(filter(None, (one, other)))) or "rows"


def read_manifest(folder: Path) -> Manifest:
    """Read the current generation of an index.

    Raises:
        InputError: there is no index.
        ModelError: it cannot be read, or a later graft wrote it.
    """
    path = folder / NAME
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(
            _placed(folder, "holds no index; make one with `graft index RUN DATA`")
        ) from None
    except (OSError, ValueError):
        raise ModelError(_placed(path, "cannot be read; build the index again")) from None
    try:
        values: dict[str, Any] = json.loads(text)
        if values.pop("format") != FORMAT:
            raise ModelError(
                _placed(path, "was written by another graft; update, or build it again")
            )
        graphs, thresholds = values.pop("graphs"), values.pop("thresholds")
        segments = tuple(Segment(**s) for s in values.pop("segments"))
        return Manifest(
            **values,
            segments=segments,
            graphs=tuple(GraphFile(**g) for g in graphs),
            thresholds={name: Threshold(**t) for name, t in thresholds.items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ModelError(
            _placed(path, "is damaged; build the index again with --rebuild")
        ) from None


def swap(folder: Path, manifest: Manifest, before: Manifest | None) -> None:
    """Make a generation the current one, and remove what neither it nor the last one names.

    Only who holds the index's lock may call it.
    """
    values = {"format": FORMAT, **asdict(manifest)}
    fail_at("before_swap")
    write_text(folder / NAME, json.dumps(values, indent=1) + "\n", what="the index")
    fail_at("after_swap")
    kept = {NAME, ".lock", *manifest.files(), *(before.files() if before else ())}
    for path in folder.iterdir():
        if path.name not in kept and _is_ours(path.name):
            remove(path)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remove(path: Path) -> None:
    """Remove a file or a folder."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _is_ours(name: str) -> bool:
    return name.lstrip(".").startswith(("segment-", "deleted-", "graph-"))


def _placed(path: Path, text: str) -> str:
    return f"{shorten_path(str(path), LONGEST_LINE - len(text) - 2)}: {text}"
