"""Reading one generation of an index: what was opened stays, whatever others write meanwhile."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import numpy as np

from graft.errors import ModelError
from graft.retrieval.exact import Found, gathered, rescored, top_k
from graft.retrieval.filters import Condition, read_conditions
from graft.retrieval.hnsw import Graph, is_installed, read_graph
from graft.retrieval.manifest import ROWS, VECTORS, Manifest, read_manifest, sha256
from graft.retrieval.parts import Part
from graft.retrieval.rows import Row, RowFile
from graft.retrieval.searchable import Hit, check_queries
from graft.retrieval.segments import open_vectors

N_TRIES = 20


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
        self._graphs: dict[str, Graph] = {}
        self._graph_files: dict[str, IO[bytes]] = {}
        try:
            self.segments = [open_vectors(folder, s, manifest.width) for s in manifest.segments]
            self._rows = [RowFile(folder / s.name / ROWS) for s in manifest.segments]
            for file in self._rows:
                self._open.callback(file.close)
            deleted = np.load(folder / manifest.deleted) if manifest.deleted else np.zeros(0, int)
            for graph in manifest.graphs:
                file = (folder / graph.name).open("rb")
                self._graph_files[graph.side] = self._open.enter_context(file)
        except BaseException:
            self._open.close()
            raise
        self._starts = np.cumsum([0, *(len(s) for s in self.segments)])
        self.live = np.ones(manifest.n_rows, bool)
        self.live[deleted] = False
        places = list(zip(manifest.segments, self.segments, self._starts.tolist(), strict=False))
        self.parts = {
            side: Part(
                [vectors for about, vectors, _ in places if about.side == side],
                [start for about, _, start in places if about.side == side],
            )
            for side in manifest.sides
        }
        self._n_of = {side: int(part.own(self.live).sum()) for side, part in self.parts.items()}

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

    def n_of(self, side: str) -> int:
        """Return how many rows of a side can be found."""
        return self._n_of.get(side, 0)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that conditions may name."""
        return tuple(dict.fromkeys(name for file in self._rows for name in file.columns))

    @property
    def numbers(self) -> frozenset[str]:
        """Columns that every segment compares as numbers."""
        texts = {name for file in self._rows for name in file.columns if name not in file.numbers}
        return frozenset(self.columns) - texts

    def search(
        self,
        queries: np.ndarray,
        k: int,
        *,
        where: Sequence[str] = (),
        exact: bool = False,
        side: str = "",
    ) -> Found:
        """Return the k nearest rows to each query.

        Rows that conditions leave are searched exactly, and so is what the graph does not cover.

        Args:
            queries: (Q, D), of any length.
            k: at least 1; where fewer rows are there, all of them are found.
            where: conditions such as `label=animal`; all must hold.
            exact: leave the graph aside.
            side: whose rows are found, where the index has sides.

        Raises:
            InputError: the index is empty, a query has another width or is not finite, k is less
                than 1, or a condition cannot be read.
        """
        vectors, part = check_queries(self, queries, k, side), self.parts[side]
        k = min(k, self.n_of(side))
        wanted = self._wanted(read_conditions(where, self.columns, self.numbers)) if where else None
        if wanted is None and self.manifest.n_deleted:
            wanted = self.live
        wanted = None if wanted is None else part.own(wanted)
        if where or exact or side not in self._graph_files or not is_installed():
            found = top_k(part.segments, vectors, k, wanted=wanted)
        else:
            graph = self.graph(side)
            candidates = [graph.candidates(vectors, k, wanted=wanted)]
            n, tail = graph.n_rows, part.behind(graph.n_rows)
            if tail:
                rows = top_k(tail, vectors, k, wanted=part.own(self.live)[n:]).rows
                candidates.append(np.where(rows >= 0, rows + n, -1))
            found = rescored(part.segments, vectors, np.concatenate(candidates, 1), k)
        return Found(part.numbers(found.rows), found.scores)

    def hits(
        self,
        queries: np.ndarray,
        k: int,
        *,
        where: Sequence[str] = (),
        exact: bool = False,
        side: str = "",
        asked: str = "",
    ) -> list[list[Hit]]:
        """Return the answers to queries (Q, D), best first: `search` and the rows.

        Args:
            asked: the side of the queries, which says what threshold holds.
        """
        found = self.search(queries, k, where=where, exact=exact, side=side)
        known = self.rows(np.unique(found.rows[found.rows >= 0]).tolist())
        threshold = self.manifest.threshold_of(side, asked)
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

    def owned_by(self, ids: Sequence[str]) -> list[int]:
        """Return the numbers of the rows here that belong to rows with those ids."""
        found = [
            number + start
            for start, file in zip(self._starts.tolist(), self._rows, strict=False)
            for number in file.owned_by(ids)
        ]
        return [number for number in found if self.live[number]]

    def ids(self) -> list[str]:
        """Return the ids of all rows that can be found."""
        ids = [id_ for file in self._rows for id_ in file.ids()]
        return [ids[number] for number in np.flatnonzero(self.live)]

    def vectors(self, numbers: np.ndarray) -> np.ndarray:
        """Return the vectors (m, D) of rows by their number."""
        return gathered(self.segments, numbers)

    def graph(self, side: str = "") -> Graph:
        """Return the approximate graph of a side that has one, read when it is first wanted."""
        if side not in self._graphs:
            (about,) = (graph for graph in self.manifest.graphs if graph.side == side)
            self._graphs[side] = read_graph(self._graph_files[side], about.width)
        return self._graphs[side]

    def verify(self) -> None:
        """Read every file and compare its SHA-256.

        Raises:
            ModelError: one is not what was written.
        """
        stated = {}
        for segment in self.manifest.segments:
            stated[self.folder / segment.name / VECTORS] = segment.vectors_sha256
            stated[self.folder / segment.name / ROWS] = segment.rows_sha256
        stated.update((self.folder / graph.name, graph.sha256) for graph in self.manifest.graphs)
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


def _unchanged(folder: Path, manifest: Manifest) -> bool:
    return read_manifest(folder).generation == manifest.generation
