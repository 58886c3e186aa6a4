"""Exact search: blocks of inner products, of which the highest are kept.

torch multiplies: on 100,000 × 384 and 64 queries, one thread, its products and selection took a
sixth of the time of faiss' flat index (`benchmarks/search.py`). The candidates are scored again in
float64 from the vectors themselves, so neither score nor order depends on how many queries come
together; equal scores are in the order of their rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

BLOCK_ROWS = 4096
"""Rows multiplied at once: 6 MB of 384 numbers each, and a block of products, fit a cache."""
SPARE = 8
"""Candidates beyond k that are scored again, since float32 may order near-equals otherwise."""
SPARSE = 0.5
"""Below this share of wanted rows a block's rows are gathered and not masked."""


@dataclass(frozen=True, eq=False)
class Found:
    """Hold the answers to Q queries, best first.

    Args:
        rows: (Q, k) int64 numbers of rows, -1 where fewer than k were there.
        scores: (Q, k) float64, minus infinity there.
    """

    rows: np.ndarray
    scores: np.ndarray


def top_k(
    segments: Sequence[np.ndarray],
    queries: np.ndarray,
    k: int,
    *,
    wanted: np.ndarray | None = None,
) -> Found:
    """Return the k rows of the highest inner product with each query.

    Args:
        segments: arrays (n, D) float32, memory-mapped or not; rows are numbered through.
        queries: (Q, D) float32.
        k: at least 1.
        wanted: (N,) boolean, the rows that may be found; all unless given.

    >>> axes = np.eye(3, dtype=np.float32)
    >>> top_k([axes[:2], axes[2:]], axes[2:], 2).rows
    array([[2, 0]])
    """
    import torch

    asked = torch.from_numpy(np.array(queries, np.float32))
    n_kept = k + SPARE
    scores = torch.full((len(queries), 0), -np.inf)
    rows = torch.zeros((len(queries), 0), dtype=torch.int64)
    with torch.inference_mode():
        for start, block in _blocks(segments):
            keep = None if wanted is None else wanted[start : start + len(block)]
            if keep is not None and not keep.any():
                continue
            found, places = _of_block(asked, block, keep, n_kept)
            scores, order = torch.cat([scores, found], 1).topk(
                min(n_kept, scores.shape[1] + found.shape[1]), dim=1
            )
            rows = torch.cat([rows, places + start], 1).gather(1, order)
    candidates = np.where(np.isfinite(scores.numpy()), rows.numpy(), -1)
    return rescored(segments, queries, candidates, k)


def rescored(
    segments: Sequence[np.ndarray], queries: np.ndarray, candidates: np.ndarray, k: int
) -> Found:
    """Return the best k of some candidates for each query, scored in float64.

    Args:
        candidates: (Q, m) numbers of rows, -1 for none.
    """
    n_missing = k - candidates.shape[1]
    if n_missing > 0:
        candidates = np.pad(candidates, ((0, 0), (0, n_missing)), constant_values=-1)
    rows = np.sort(candidates, axis=1)
    scores = np.full(rows.shape, -np.inf)
    for query, own, into in zip(np.asarray(queries, np.float64), rows, scores, strict=True):
        there = own >= 0
        # summed row by row: a matrix product would sum otherwise for other numbers of rows
        into[there] = (gathered(segments, own[there]).astype(np.float64) * query).sum(1)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return Found(np.take_along_axis(rows, order, 1), np.take_along_axis(scores, order, 1))


def gathered(segments: Sequence[np.ndarray], rows: np.ndarray) -> np.ndarray:
    """Return the vectors (m, D) of rows (m,) that are numbered through the segments."""
    starts = np.cumsum([0, *(len(s) for s in segments)])
    if len(segments) == 1:
        return np.asarray(segments[0][rows])
    out = np.empty((len(rows), segments[0].shape[1]), np.float32)
    home = np.searchsorted(starts, rows, side="right") - 1
    for number in np.unique(home):
        here = home == number
        out[here] = segments[number][rows[here] - starts[number]]
    return out


def _of_block(
    asked: torch.Tensor, block: np.ndarray, keep: np.ndarray | None, n_kept: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the highest scores (Q, ≤ n_kept) of a block, and their places in it."""
    import torch

    numbers = None
    if keep is not None and keep.mean() < SPARSE:
        numbers = np.flatnonzero(keep)
        block, keep = block[numbers], None
    # a map that may not be written is copied: torch knows no such tensors
    known = torch.from_numpy(block if block.flags.writeable else block.copy())
    products = asked @ known.T
    if keep is not None:
        products[:, torch.from_numpy(~keep)] = -np.inf
    scores, places = products.topk(min(n_kept, products.shape[1]), dim=1)
    return scores, places if numbers is None else torch.from_numpy(numbers)[places]


def _blocks(segments: Sequence[np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
    """Yield blocks of rows, each with the number of its first."""
    start = 0
    for segment in segments:
        for first in range(0, len(segment), BLOCK_ROWS):
            yield start + first, segment[first : first + BLOCK_ROWS]
        start += len(segment)
