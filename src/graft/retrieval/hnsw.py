"""The approximate graph: faiss' HNSW over vectors rounded to eight bits, answers scored exactly.

Rounded vectors take a quarter of the memory that has to be walked through, and what rounding
confuses is put right where the candidates are scored from the vectors themselves. How wide the
search goes is chosen when the graph is built: the narrowest that finds `TARGET_RECALL` of the true
ten nearest to rows of the index, each row itself left out.

Source: Y. Malkov and D. Yashunin, Efficient and robust approximate nearest neighbor search using
Hierarchical Navigable Small World graphs, IEEE TPAMI 42 (2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from graft.errors import MissingExtra
from graft.retrieval.exact import gathered, rescored, top_k

N_LINKS = 16
BUILD_WIDTH = 100
WIDTHS = (16, 32, 64, 128, 256, 512)
TARGET_RECALL = 0.97
"""A little above what is promised, 0.95, since it is measured on a sample."""
RECALL_AT = 10
N_SAMPLED = 256
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


def build_graph(
    segments: Sequence[np.ndarray], *, n_threads: int, seed: int = 0
) -> tuple[Graph, float]:
    """Return a graph over all rows, and its recall of the true ten nearest.

    Args:
        segments: arrays (n, D) float32.
        n_threads: more than one gives another graph each time, as good as the others.
        seed: of the rows that train the rounding and of those that measure the recall.

    Raises:
        MissingExtra: faiss is not installed.
    """
    faiss = load_faiss()
    faiss.omp_set_num_threads(n_threads)
    n_rows, width = sum(map(len, segments)), segments[0].shape[1]
    kind = faiss.ScalarQuantizer.QT_8bit
    index = faiss.IndexHNSWSQ(width, kind, N_LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = BUILD_WIDTH
    random = np.random.default_rng(seed)
    drawn = np.sort(random.choice(n_rows, min(n_rows, N_TRAINED), replace=False))
    index.train(gathered(segments, drawn))
    for segment in segments:
        for start in range(0, len(segment), BLOCK_ROWS):
            index.add(np.ascontiguousarray(segment[start : start + BLOCK_ROWS]))
    return _with_width(
        index, segments, np.sort(random.choice(n_rows, min(n_rows, N_SAMPLED), replace=False))
    )


def recall(
    graph: Graph, segments: Sequence[np.ndarray], rows: np.ndarray, k: int = RECALL_AT
) -> float:
    """Return the share of the true k nearest that a graph finds, for rows of the index as queries.

    Args:
        rows: (Q,) numbers; a row is no neighbour of itself.
    """
    queries = gathered(segments, rows)
    return _recall(graph, segments, rows, queries, top_k(segments, queries, k + 1).rows)


def save_graph(graph: Graph, path: Path) -> None:
    """Write a graph to a file."""
    load_faiss().write_index(graph.index, str(path))


def read_graph(file: Any, width: int) -> Graph:
    """Read a graph from an open file, which may have been removed since it was opened."""
    faiss = load_faiss()
    file.seek(0)
    return Graph(faiss.read_index(faiss.PyCallbackIOReader(file.read)), width)


def _with_width(
    index: Any, segments: Sequence[np.ndarray], rows: np.ndarray
) -> tuple[Graph, float]:
    """Choose the narrowest search that finds enough."""
    queries = gathered(segments, rows)
    true = top_k(segments, queries, RECALL_AT + 1).rows
    graph, found = Graph(index, WIDTHS[0]), 0.0
    for width in WIDTHS:
        graph = Graph(index, width)
        found = _recall(graph, segments, rows, queries, true)
        if found >= TARGET_RECALL:
            break
    return graph, found


def _recall(
    graph: Graph,
    segments: Sequence[np.ndarray],
    rows: np.ndarray,
    queries: np.ndarray,
    true: np.ndarray,
) -> float:
    k = true.shape[1]
    near = rescored(segments, queries, graph.candidates(queries, k), k).rows
    n_right = n_true = 0
    for row, ours, theirs in zip(rows, near, true, strict=True):
        wanted = set(theirs.tolist()) - {int(row), -1}
        wanted = set(list(wanted)[: k - 1]) if len(wanted) == k else wanted
        n_right += len(wanted & set(ours.tolist()))
        n_true += len(wanted)
    return n_right / max(n_true, 1)
