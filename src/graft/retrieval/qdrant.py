"""An index whose vectors lie in Qdrant: in memory, in a local folder, or on a server.

`index.json` still says which generation counts, what model made it and which threshold it has.
Every point carries the generation that added it and, once deleted, the one that did; a reader asks
for what its own generation had. So rows that are being added are seen by nobody until `index.json`
is exchanged, and what a killed writer left is removed by the next one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from graft.errors import InputError, MissingExtra, StorageError
from graft.retrieval.filters import Condition, read_conditions
from graft.retrieval.manifest import Manifest
from graft.retrieval.rows import Row
from graft.retrieval.searchable import Hit, check_queries

MEMORY = ":memory:"
AT_ONCE = 256

_in_memory: list[Any] = []


class QdrantIndex:
    """Hold one generation of a collection.

    Args:
        manifest: whose `server` names the collection.
    """

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.collection = manifest.server["collection"]
        self.client = connect(manifest.server["place"])

    def __enter__(self) -> QdrantIndex:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connection; what lies in memory stays."""
        if self.manifest.server["place"] != MEMORY:
            self.client.close()

    @property
    def is_remote(self) -> bool:
        """Tell whether a server holds the vectors; elsewhere Qdrant always searches exactly."""
        return is_address(self.manifest.server["place"])

    @property
    def n_rows(self) -> int:
        """Rows that can be found."""
        return self.manifest.server["n_rows"]

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that conditions may name."""
        return tuple(self.manifest.server["columns"])

    @property
    def numbers(self) -> frozenset[str]:
        """Columns that are compared as numbers."""
        columns = self.manifest.server["columns"]
        return frozenset(name for name in columns if columns[name]["is_number"])

    def n_of(self, side: str) -> int:
        """Return how many rows of a side can be found."""
        if self.manifest.sides == (side,):
            return self.n_rows
        wanted = self.filter(side=side)
        found = asked_of(lambda: self.client.count(self.collection, count_filter=wanted))
        return found.count

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
        """Return the answers to queries (Q, D), best first; see `Index.search`.

        Raises:
            InputError: as `Index.search`, and where a text is compared by order.
        """
        from qdrant_client import models

        vectors = check_queries(self, queries, k, side)
        k = min(k, self.n_of(side))
        wanted = self.filter(read_conditions(where, self.columns, self.numbers), side=side)
        requests = [
            models.QueryRequest(
                query=query.tolist(),
                filter=wanted,
                limit=k,
                with_payload=True,
                params=models.SearchParams(exact=True) if exact and self.is_remote else None,
            )
            for query in vectors
        ]
        answers = asked_of(lambda: self.client.query_batch_points(self.collection, requests))
        threshold = self.manifest.threshold_of(side, asked)
        least = -np.inf if threshold is None else threshold.score
        return [
            [Hit(_row(point.payload), point.score, point.score >= least) for point in answer.points]
            for answer in answers
        ]

    def filter(
        self,
        conditions: Sequence[Condition] = (),
        ids: Sequence[str] | None = None,
        *,
        owners: Sequence[str] | None = None,
        side: str | None = None,
    ) -> Any:
        """Return Qdrant's filter for what this generation holds and for which conditions hold."""
        from qdrant_client import models

        generation = self.manifest.generation
        must: list[Any] = [in_range("added", lte=generation)]
        must_not: list[Any] = [in_range("deleted", lte=generation)]
        sides = None if side is None else [side]
        for key, values in (("id", ids), ("owner", owners), ("side", sides)):
            if values is not None:
                match = models.MatchAny(any=list(values))
                must.append(models.FieldCondition(key=key, match=match))
        for condition in conditions:
            part, holds = self._part(condition)
            (must if holds else must_not).append(part)
        return models.Filter(must=must, must_not=must_not)

    def numbers_of(self, ids: Sequence[str], *, live: bool = True) -> dict[str, Any]:
        """Return the points of those ids that are here, or were before they were deleted."""
        from qdrant_client import models

        found: dict[str, Any] = {}
        for start in range(0, len(ids), AT_ONCE):
            some = list(ids[start : start + AT_ONCE])
            wanted = self.filter(ids=some)
            if not live:
                wanted = models.Filter(must=wanted.must)
            found.update(
                (p.payload["id"], p.id) for p in scrolled(self.client, self.collection, wanted)
            )
        return found

    def owned_by(self, ids: Sequence[str]) -> list[Any]:
        """Return the points here that belong to rows with those ids."""
        wanted = self.filter(owners=ids)
        return [p.id for p in scrolled(self.client, self.collection, wanted)]

    def ids(self) -> list[str]:
        """Return the ids of all rows that can be found."""
        return [p.payload["id"] for p in scrolled(self.client, self.collection, self.filter())]

    def _part(self, condition: Condition) -> tuple[Any, bool]:
        """Return a condition of Qdrant, and whether it must hold or must not."""
        from qdrant_client import models

        column = self.manifest.server["columns"][condition.column]
        number = condition.number if column["is_number"] else None
        if condition.operator in ("=", "!="):
            text = models.FieldCondition(
                key=f"t{column['place']}", match=models.MatchValue(value=condition.value)
            )
            empty = models.IsEmptyCondition(is_empty=models.PayloadField(key=f"t{column['place']}"))
            same = in_range(f"n{column['place']}", gte=number, lte=number)
            part = empty if condition.value == "" else text if number is None else same
            return part, condition.operator == "="
        if number is None:
            raise InputError(
                f"--where {str(condition)[:60]!r}: Qdrant orders numbers alone; ask for = or !="
            )
        word = {"<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}[condition.operator]
        return in_range(f"n{column['place']}", **{word: number}), True


def connect(place: str) -> Any:
    """Return a client: `:memory:`, a folder, or the address of a server.

    Raises:
        MissingExtra: qdrant-client is not installed.
        StorageError: the folder is in use, or the server does not answer.
    """
    try:
        from qdrant_client import QdrantClient
    except ImportError:
        message = "--server needs qdrant-client: pip install 'graft[search]'"
        raise MissingExtra(message) from None
    if place == MEMORY:
        if not _in_memory:
            _in_memory.append(QdrantClient(MEMORY))
        return _in_memory[0]
    if is_address(place):
        return QdrantClient(url=place, check_compatibility=False)
    return asked_of(lambda: QdrantClient(path=str(Path(place))))


def is_address(place: str) -> bool:
    """Tell whether a place is that of a server."""
    return place.startswith(("http://", "https://"))


def scrolled(client: Any, collection: str, wanted: Any) -> Iterator[Any]:
    """Yield all points for which a filter holds."""
    offset = None
    while True:
        points, offset = asked_of(
            lambda offset=offset: client.scroll(
                collection, scroll_filter=wanted, limit=AT_ONCE, offset=offset, with_payload=True
            )
        )
        yield from points
        if offset is None:
            return


def _row(payload: dict[str, Any]) -> Row:
    names = ("id", "path", "number", "input", "cells", "side", "owner")
    return Row(*(payload[name] for name in names))


def in_range(key: str, **bounds: float | None) -> Any:
    """Return the condition that a number of the payload lies between bounds."""
    from qdrant_client import models

    return models.FieldCondition(key=key, range=models.Range(**bounds))


def asked_of(call: Any) -> Any:
    """Report what Qdrant or the network refuses as one line."""
    try:
        return call()
    except (InputError, StorageError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:110]
        raise StorageError(f"Qdrant: {type(error).__name__}: {reason}; check --server") from None
