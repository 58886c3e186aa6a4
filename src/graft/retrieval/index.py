"""Reading one generation of an index: what was opened stays, whatever others write meanwhile."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

import numpy as np

from graft.errors import InputError, ModelError
from graft.retrieval.exact import Found, gathered, rescored, top_k
from graft.retrieval.filters import Condition, read_conditions
from graft.retrieval.hnsw import Graph, is_installed, read_graph
from graft.retrieval.manifest import ROWS, VECTORS, Manifest, read_manifest, sha256
from graft.retrieval.rows import Row, RowFile
from graft.retrieval.segments import check_width, open_vectors, prepared

N_TRIES = 20


@dataclass(frozen=True)
class Hit:
    """Hold one answer.

    Args:
        row: what the index knows of it.
        score: cosine or inner product.
        is_known: whether the score reaches the index's threshold; true where there is none.
    """

    row: Row
    score: float
    is_known: bool = True


class Searchable(Protocol):
    """What is searched: an `Index`, or a collection on a server."""

    manifest: Manifest

    @property
    def n_rows(self) -> int:
        """Rows that can be found."""
        ...

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that conditions may name."""
        ...

    def hits(
        self, queries: np.ndarray, k: int, *, where: Sequence[str] = (), exact: bool = False
    ) -> list[list[Hit]]:
        """Return the answers to queries (Q, D), best first."""
        ...

    def close(self) -> None:
        """Let go of what is open."""
        ...


class Index:
    """Hold one generation of an index open.

    Args:
        folder: of the index.
        manifest: the generation.

    >>> index = Index.open("runs/tickets/index")              # doctest: +SKIP
    >>> index.hits(vectors, 5, where=["label=delivery"])      # doctest: +SKIP
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest
        self._open = ExitStack()
        self._graph: Graph | None = None
        self._graph_file: IO[bytes] | None = None
        try:
            self.segments = [open_vectors(folder, s, manifest.width) for s in manifest.segments]
            self._rows = [RowFile(folder / s.name / ROWS) for s in manifest.segments]
            for file in self._rows:
                self._open.callback(file.close)
            deleted = np.load(folder / manifest.deleted) if manifest.deleted else np.zeros(0, int)
            if manifest.graph is not None:
                file = (folder / manifest.graph.name).open("rb")
                self._graph_file = self._open.enter_context(file)
        except BaseException:
            self._open.close()
            raise
        self._starts = np.cumsum([0, *(len(s) for s in self.segments)])
        self.live = np.ones(manifest.n_rows, bool)
        self.live[deleted] = False

    @classmethod
    def open(cls, folder: str | Path) -> Index:
        """Open the current generation.

        Raises:
            InputError: there is no index.
            ModelError: it is damaged.
        """
        folder = Path(folder)
        for _ in range(N_TRIES):
            manifest = read_manifest(folder)
            try:
                return cls(folder, manifest)
            except FileNotFoundError as error:
                missing = error.filename
                if read_manifest(folder).generation == manifest.generation:
                    break  # nobody has exchanged it meanwhile: the file is really gone
            except Exception as error:
                # SQLite says in its own words that there is no file
                if not str(error).startswith("unable to open") or _unchanged(folder, manifest):
                    raise
                missing = ROWS
        else:
            missing = "what it names"
        raise ModelError(
            f"{str(folder)[-90:]}: {str(missing)[-50:]} is missing; build the index again"
        )

    def __enter__(self) -> Index:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the files."""
        self._open.close()

    @property
    def n_rows(self) -> int:
        """Rows that can be found."""
        return self.manifest.n_rows - self.manifest.n_deleted

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that conditions may name."""
        return tuple(dict.fromkeys(name for file in self._rows for name in file.columns))

    def search(
        self, queries: np.ndarray, k: int, *, where: Sequence[str] = (), exact: bool = False
    ) -> Found:
        """Return the k nearest rows to each query.

        Rows that conditions leave are searched exactly, and so is what the graph does not cover.

        Args:
            queries: (Q, D), of any length.
            k: at least 1; where fewer rows are there, all of them are found.
            where: conditions such as `label=animal`; all must hold.
            exact: leave the graph aside.

        Raises:
            InputError: the index is empty, a query has another width or is not finite, k is less
                than 1, or a condition cannot be read.
        """
        asked = check_queries(self, queries, k)
        k = min(k, self.n_rows)
        wanted = self._wanted(read_conditions(where, self.columns)) if where else None
        if wanted is None and self.manifest.n_deleted:
            wanted = self.live
        if where or exact or self.manifest.graph is None or not is_installed():
            return top_k(self.segments, asked, k, wanted=wanted)
        graph = self.graph()
        parts = [graph.candidates(asked, k, wanted=wanted)]
        n = graph.n_rows
        if n < len(self.live):
            tail = self.segments[int(np.searchsorted(self._starts, n)) :]
            rows = top_k(tail, asked, k, wanted=self.live[n:]).rows
            parts.append(np.where(rows >= 0, rows + n, -1))
        return rescored(self.segments, asked, np.concatenate(parts, 1), k)

    def hits(
        self, queries: np.ndarray, k: int, *, where: Sequence[str] = (), exact: bool = False
    ) -> list[list[Hit]]:
        """Return the answers to queries (Q, D), best first: `search` and the rows."""
        found = self.search(queries, k, where=where, exact=exact)
        known = self.rows(np.unique(found.rows[found.rows >= 0]).tolist())
        threshold = self.manifest.threshold
        least = -np.inf if threshold is None else threshold.score
        return [
            [Hit(known[r], s, s >= least) for r, s in zip(rows, scores, strict=True) if r >= 0]
            for rows, scores in zip(found.rows.tolist(), found.scores.tolist(), strict=True)
        ]

    def rows(self, numbers: Iterable[int]) -> dict[int, Row]:
        """Return what is known of rows, by their number."""
        wanted = np.asarray(list(numbers), np.int64)
        homes = np.searchsorted(self._starts, wanted, side="right") - 1
        found: dict[int, Row] = {}
        for home in np.unique(homes):
            start = int(self._starts[home])
            there = self._rows[home].rows((wanted[homes == home] - start).tolist())
            found.update((number + start, row) for number, row in there.items())
        return found

    def numbers_of(self, ids: Sequence[str], *, live: bool = True) -> dict[str, int]:
        """Return the numbers of those ids that are here, or were before they were deleted."""
        found: dict[str, int] = {}
        for start, file in zip(self._starts.tolist(), self._rows, strict=False):
            there = {id_: number + start for id_, number in file.numbers_of(ids).items()}
            found.update((id_, n) for id_, n in there.items() if self.live[n] or not live)
        return found

    def ids(self) -> list[str]:
        """Return the ids of all rows that can be found."""
        ids = [id_ for file in self._rows for id_ in file.ids()]
        return [ids[number] for number in np.flatnonzero(self.live)]

    def vectors(self, numbers: np.ndarray) -> np.ndarray:
        """Return the vectors (m, D) of rows by their number."""
        return gathered(self.segments, numbers)

    def graph(self) -> Graph:
        """Return the approximate graph, read when it is first wanted."""
        about = self.manifest.graph
        assert about is not None and self._graph_file is not None
        if self._graph is None:
            self._graph = read_graph(self._graph_file, about.width)
        return self._graph

    def verify(self) -> None:
        """Read every file and compare its SHA-256.

        Raises:
            ModelError: one is not what was written.
        """
        stated = {}
        for segment in self.manifest.segments:
            stated[self.folder / segment.name / VECTORS] = segment.vectors_sha256
            stated[self.folder / segment.name / ROWS] = segment.rows_sha256
        if self.manifest.graph is not None:
            stated[self.folder / self.manifest.graph.name] = self.manifest.graph.sha256
        for path, expected in stated.items():
            if sha256(path) != expected:
                raise ModelError(
                    f"{str(path)[-100:]}: is not what was written; build the index again"
                )

    def _wanted(self, conditions: Sequence[Condition]) -> np.ndarray:
        wanted = np.zeros(len(self.live), bool)
        for start, file in zip(self._starts.tolist(), self._rows, strict=False):
            wanted[file.matching(conditions) + start] = True
        return wanted & self.live


def check_queries(index: Searchable, queries: np.ndarray, k: int) -> np.ndarray:
    """Return queries (Q, D) as they are compared.

    Raises:
        InputError: as `Index.search` says.
    """
    if k < 1:
        raise InputError(f"k is {k}; pass at least 1")
    if not index.n_rows:
        raise InputError("the index holds no rows; add some with `graft index RUN DATA --add`")
    queries = np.atleast_2d(np.asarray(queries))
    check_width(queries.shape[1], index.manifest)
    usable = np.isfinite(queries).all(1)
    if not usable.all():
        number = int(np.argmin(usable)) + 1
        raise InputError(f"query {number}: its vector is not finite; leave it out")
    return prepared(queries, index.manifest.metric)


def _unchanged(folder: Path, manifest: Manifest) -> bool:
    return read_manifest(folder).generation == manifest.generation
