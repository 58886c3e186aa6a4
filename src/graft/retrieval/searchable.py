"""What every index offers to a search, wherever its vectors lie, and what a search gives back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from graft.errors import InputError
from graft.retrieval.manifest import Manifest
from graft.retrieval.rows import Row
from graft.retrieval.segments import check_width, prepared


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

    def n_of(self, side: str) -> int:
        """Return how many rows of a side can be found."""
        ...

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
        """Return the answers to queries (Q, D), best first."""
        ...

    def close(self) -> None:
        """Let go of what is open."""
        ...


def check_queries(index: Searchable, queries: np.ndarray, k: int, side: str) -> np.ndarray:
    """Return queries (Q, D) as they are compared.

    Raises:
        InputError: as `Index.search` says.
    """
    if k < 1:
        raise InputError(f"k is {k}; pass at least 1")
    if not index.n_rows:
        raise InputError("the index holds no rows; add some with `graft index RUN DATA --add`")
    queries = np.atleast_2d(np.asarray(queries))
    if not index.n_of(side):
        raise InputError(f"the index holds no rows of the side {side!r}; search another")
    check_width(queries.shape[1], index.manifest)
    usable = np.isfinite(queries).all(1)
    if not usable.all():
        number = int(np.argmin(usable)) + 1
        raise InputError(f"query {number}: its vector is not finite; leave it out")
    return prepared(queries, index.manifest.metric)
