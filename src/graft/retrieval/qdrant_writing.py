"""Making the next generation of an index whose vectors lie in Qdrant."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from graft.retrieval.filters import as_number, as_text
from graft.retrieval.manifest import Manifest
from graft.retrieval.qdrant import AT_ONCE, QdrantIndex, asked_of, connect, in_range, is_address
from graft.retrieval.rows import Row
from graft.retrieval.segments import Batch, check_batch, prepared

NAMESPACE = uuid.UUID("6f6ba0c4-3a1b-4f7a-9f0f-2f7c2f1d7a55")
"""Points are named by generation and id, so an id that comes back is another point."""


def create(manifest: Manifest, batch: Batch, place: str, before: Manifest | None) -> Manifest:
    """Make a collection of rows; returns the manifest that names it."""
    from qdrant_client import models

    check_batch(batch, manifest.metric)
    client = connect(place)
    name = f"graft-{uuid.uuid4().hex[:12]}"
    stale = []
    if before is not None and before.server.get("place") == place:
        for old in before.server.get("stale", []):
            asked_of(lambda old=old: client.delete_collection(old))
        stale = [before.server["collection"]]
    vectors = models.VectorParams(size=manifest.width, distance=models.Distance.DOT)
    asked_of(lambda: client.create_collection(name, vectors_config=vectors))
    if is_address(place):  # elsewhere it has no effect
        words, numbers = ("id", "side", "owner"), ("added", "deleted")
        kinds = [*((w, "keyword") for w in words), *((n, "integer") for n in numbers)]
        for key, kind in kinds:
            asked_of(lambda key=key, kind=kind: client.create_payload_index(name, key, kind))
    server = {"place": place, "collection": name, "sides": []}
    server |= {"columns": {}, "n_rows": 0, "stale": stale}
    manifest = replace(manifest, server=server)
    return _upserted(client, manifest, batch, manifest.generation)


def add(before: Manifest, batch: Batch) -> Manifest:
    """Add rows that the generation before does not see; returns the next one."""
    with QdrantIndex(before) as index:
        _mend(index)
        return _upserted(index.client, before, batch, before.generation + 1)


def delete(before: Manifest, points: Sequence[Any]) -> Manifest:
    """Mark points as deleted by the next generation; returns that."""
    after = before.generation + 1
    with QdrantIndex(before) as index:
        _mend(index)
        for start in range(0, len(points), AT_ONCE):
            some = list(points[start : start + AT_ONCE])
            asked_of(
                lambda some=some: index.client.set_payload(
                    index.collection, {"deleted": after}, points=some, wait=True
                )
            )
    server = {**before.server, "n_rows": before.server["n_rows"] - len(points)}
    return replace(before, generation=after, server=server)


def rebuild(before: Manifest) -> Manifest:
    """Remove what was deleted for good; who still reads an older generation loses it as well."""
    from qdrant_client import models

    with QdrantIndex(before) as index:
        _mend(index)
        gone = models.FilterSelector(
            filter=models.Filter(must=[in_range("deleted", lte=before.generation)])
        )
        asked_of(lambda: index.client.delete(index.collection, gone, wait=True))
        for old in before.server.get("stale", []):
            asked_of(lambda old=old: index.client.delete_collection(old))
    server = {**before.server, "stale": []}
    return replace(before, generation=before.generation + 1, server=server)


def _upserted(client: Any, manifest: Manifest, batch: Batch, generation: int) -> Manifest:
    """Write points of a generation; returns the manifest that sees them."""
    from qdrant_client import models

    columns = _columns(manifest.server["columns"], batch.rows)
    collection = manifest.server["collection"]
    for start in range(0, len(batch.rows), AT_ONCE):
        some = slice(start, start + AT_ONCE)
        vectors = prepared(batch.vectors[some], manifest.metric)
        points = [
            models.PointStruct(
                id=str(uuid.uuid5(NAMESPACE, f"{generation} {row.id}")),
                vector=vector.tolist(),
                payload=_payload(row, columns, generation),
            )
            for row, vector in zip(batch.rows[some], vectors, strict=True)
        ]
        asked_of(lambda points=points: client.upsert(collection, points, wait=True))
    n_rows = manifest.server["n_rows"] + len(batch.rows)
    sides = list(dict.fromkeys([*manifest.server["sides"], *(row.side for row in batch.rows)]))
    server = {**manifest.server, "columns": columns, "n_rows": n_rows, "sides": sides}
    return replace(manifest, generation=generation, server=server)


def _columns(known: dict[str, Any], rows: Sequence[Row]) -> dict[str, Any]:
    """Return place and kind of every column: numbers where all filled cells so far are."""
    columns = {name: dict(about) for name, about in known.items()}
    for row in rows:
        for name, value in row.cells.items():
            about = columns.setdefault(name, {"place": len(columns), "is_number": True})
            if value not in (None, "") and as_number(value) is None:
                about["is_number"] = False
    return columns


def _payload(row: Row, columns: dict[str, Any], generation: int) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": row.id,
        "path": row.path,
        "number": row.number,
        "input": row.input,
        "side": row.side,
        "owner": row.owner,
        "cells": json.loads(json.dumps(dict(row.cells), default=str)),
        "added": generation,
    }
    for name, value in row.cells.items():
        if value in (None, ""):
            continue
        place = columns[name]["place"]
        found[f"t{place}"] = as_text(value)
        number = as_number(value)
        if number is not None:
            found[f"n{place}"] = number
    return found


def _mend(index: QdrantIndex) -> None:
    """Remove what a writer left that was killed before its generation counted."""
    from qdrant_client import models

    generation = index.manifest.generation
    late = models.FilterSelector(filter=models.Filter(must=[in_range("added", gt=generation)]))
    asked_of(lambda: index.client.delete(index.collection, late, wait=True))
    undone = models.FilterSelector(filter=models.Filter(must=[in_range("deleted", gt=generation)]))
    asked_of(lambda: index.client.delete_payload(index.collection, ["deleted"], undone, wait=True))
