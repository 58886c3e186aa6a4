"""The approximate graph: faiss' HNSW over vectors rounded to eight bits, answers scored exactly.

Rounded vectors take a quarter of the memory that has to be walked through, and what rounding
confuses is put right where the candidates are scored from the vectors themselves.

How wide the search goes is chosen when the graph is built: some rows are kept out of it, and the
narrowest search is taken that finds `TARGET_RECALL` of the ten nearest to them; then they join.
Rows of the graph itself find their neighbours too easily: of one graph 98 % were found for its own
rows, and 84 % for others. Where an index holds two sides, each has a graph, which is searched with
queries of both; rows of the other side, which are in no graph of this one, are then asked too, and
the search is made wide enough for either kind.

Source: Y. Malkov and D. Yashunin, Efficient and robust approximate nearest neighbor search using
Hierarchical Navigable Small World graphs, IEEE TPAMI 42 (2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from graft.errors import MissingExtra
from graft.retrieval.exact import gathered, rescored, top_k

N_LINKS = 16
BUILD_WIDTH = 100
WIDTHS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
TARGET_RECALL = 0.97
"""A little above what is promised, 0.95, since it is measured on a sample."""
RECALL_AT = 10
N_SAMPLED = 256
MEASURED_SHARE = 8
"""One row in so many is kept out at most."""
CANDIDATES = 2
"""Candidates for each answer that are scored again."""
N_TRAINED = 100_000
BLOCK_ROWS = 50_000


class Graph:
    """Search a graph over the first `n_rows` rows of an index.

    Args:
        index: of faiss.
        width: how many candidates the search keeps.
    """

    def __init__(self, index: Any, width: int) -> None:
        self.index = index
        self.width = width

    @property
    def n_rows(self) -> int:
        """Rows that the graph covers."""
        return self.index.ntotal

    def candidates(
        self, queries: np.ndarray, k: int, *, wanted: np.ndarray | None = None
    ) -> np.ndarray:
        """Return numbers (Q, m) of rows that are probably among the k nearest, -1 for none.

        Args:
            queries: (Q, D) float32.
            wanted: (N,) boolean, the rows that may be found.
        """
        k = min(CANDIDATES * k, self.n_rows)
        faiss: Any = load_faiss()
        more: dict[str, Any] = {}
        if wanted is not None:
            bits = np.packbits(wanted[: self.n_rows], bitorder="little")
            more["sel"] = faiss.IDSelectorBitmap(bits)
        wide = faiss.SearchParametersHNSW(efSearch=max(self.width, k), **more)
        return self.index.search(np.ascontiguousarray(queries, np.float32), k, params=wide)[1]


def load_faiss() -> Any:
    """Return the library.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import faiss
    except ImportError:
        message = "an approximate index needs faiss-cpu: pip install 'graft[search]'"
        raise MissingExtra(message) from None
    return faiss


def is_installed() -> bool:
    """Tell whether faiss is there."""
    try:
        load_faiss()
    except MissingExtra:
        return False
    return True


@dataclass(frozen=True, eq=False)
class Built:
    """Hold a new graph, and what it finds of the true ten nearest.

    Args:
        graph: over all rows of a side.
        recall: of queries like its rows.
        recall_across: of queries of the other side; None where there is none.
    """

    graph: Graph
    recall: float
    recall_across: float | None = None


def build_graph(
    segments: Sequence[np.ndarray],
    *,
    n_threads: int,
    seed: int = 0,
    across: Sequence[np.ndarray] = (),
) -> Built:
    """Return a graph over all rows of a side, and its recall of the true ten nearest.

    Args:
        segments: arrays (n, D) float32.
        n_threads: more than one gives another graph each time, as good as the others.
        seed: of the rows that train the rounding, and of those that measure the recall.
        across: segments of the other side, whose rows will be queries too.

    Raises:
        MissingExtra: faiss is not installed.
    """
    faiss = load_faiss()
    faiss.omp_set_num_threads(n_threads)
    n_rows, width = sum(map(len, segments)), segments[0].shape[1]
    kind = faiss.ScalarQuantizer.QT_8bit
    inner = faiss.IndexHNSWSQ(width, kind, N_LINKS, faiss.METRIC_INNER_PRODUCT)
    inner.hnsw.efConstruction = BUILD_WIDTH
    random = np.random.default_rng(seed)
    drawn = np.sort(random.choice(n_rows, min(n_rows, N_TRAINED), replace=False))
    inner.train(gathered(segments, drawn))
    index = faiss.IndexIDMap(inner)  # rows that join later keep their numbers
    n_out = max(1, min(N_SAMPLED, n_rows // MEASURED_SHARE))
    out = np.sort(random.choice(n_rows, n_out, replace=False))
    inside = np.ones(n_rows, bool)
    inside[out] = False
    for start in range(0, n_rows, BLOCK_ROWS):
        rows = start + np.flatnonzero(inside[start : start + BLOCK_ROWS])
        index.add_with_ids(gathered(segments, rows), rows)
    kinds = [gathered(segments, out)]
    if n_across := sum(map(len, across)):
        some = np.sort(random.choice(n_across, min(n_across, N_SAMPLED), replace=False))
        kinds.append(gathered(across, some))
    built = _with_width(index, segments, kinds, inside)
    index.add_with_ids(gathered(segments, out), out)
    return built


def save_graph(graph: Graph, path: Path) -> None:
    """Write a graph to a file."""
    load_faiss().write_index(graph.index, str(path))


def read_graph(file: Any, width: int) -> Graph:
    """Read a graph from an open file, which may have been removed since it was opened."""
    faiss = load_faiss()
    file.seek(0)
    return Graph(faiss.read_index(faiss.PyCallbackIOReader(file.read)), width)


def _with_width(
    index: Any, segments: Sequence[np.ndarray], kinds: Sequence[np.ndarray], inside: np.ndarray
) -> Built:
    """Choose the narrowest search that finds enough for each kind of queries (Q, D).

    Args:
        inside: (N,) boolean, the rows that are in the graph, among which they search.
    """
    true = [top_k(segments, queries, RECALL_AT, wanted=inside).rows for queries in kinds]
    built = Built(Graph(index, WIDTHS[0]), 0.0)
    for width in WIDTHS:
        graph, found = Graph(index, width), []
        for queries, rows in zip(kinds, true, strict=True):
            near = graph.candidates(queries, RECALL_AT)
            found.append(recall(rescored(segments, queries, near, RECALL_AT).rows, rows))
        built = Built(graph, *found)
        if min(found) >= TARGET_RECALL:
            break
    return built


def recall(found: np.ndarray, true: np.ndarray) -> float:
    """Return the share of the true answers (Q, k) that are among those found (Q, k); -1 is none.

    >>> recall(np.array([[3, 1, 7]]), np.array([[1, 2, -1]]))
    0.5
    """
    wanted = [set(row) - {-1} for row in true.tolist()]
    right = sum(len(w & set(row)) for w, row in zip(wanted, found.tolist(), strict=True))
    return right / max(sum(map(len, wanted)), 1)
