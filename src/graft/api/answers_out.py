"""Answers of a search as files: a line for each hit, or an object for each query."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from graft.api.searching import Answer, Answers
from graft.errors import InputError
from graft.retrieval.searchable import Hit
from graft.rows_out import harmless
from graft.storage import storing

FORMATS = (".csv", ".jsonl")
FIXED = ("query", "rank", "score", "known", "id", "file", "row", "input")


def check_answers_ending(path: Path) -> None:
    """Refuse a file whose ending names no form.

    Raises:
        InputError: as said.
    """
    if path.suffix.lower() not in FORMATS:
        raise InputError(f"{path}: answers are written as {' or '.join(FORMATS)}; rename --out")


def write_answers_of_search(path: Path, found: Answers) -> None:
    """Write answers to a file, in the form that its ending names.

    Raises:
        InputError: the ending is neither.
        StorageError: the file cannot be written.
    """
    check_answers_ending(path)
    with (
        storing("the answers", path, "choose another --out"),
        path.open("w", newline="", encoding="utf-8") as file,
    ):
        if path.suffix.lower() == ".csv":
            write_csv_of_hits(file, found)
        else:
            file.writelines(json.dumps(as_object(a)) + "\n" for a in found.answers)


def write_csv_of_hits(file: IO[str], found: Answers) -> None:
    """Write a line for each hit, with the columns of its row; no cell is run as a formula."""
    columns = columns_of(found)
    shown = [f"column {name}" if name in FIXED else name for name in columns]
    writer = csv.writer(file)
    writer.writerow([*FIXED, *map(harmless, shown)])
    for answer in found.answers:
        for rank, hit in enumerate(answer.hits, 1):
            row = hit.row
            cells = [answer.query, rank, f"{hit.score:.6f}", hit.is_known, row.id, row.path]
            cells += [row.number, row.input, *(row.cells.get(name) for name in columns)]
            writer.writerow(["" if c is None else harmless(c) for c in cells])


def as_object(answer: Answer) -> dict[str, Any]:
    """Return what was found for a query, ready for JSON."""
    return {
        "query": answer.query,
        "row": answer.origin.row,
        "unknown": answer.is_unknown,
        "hits": [_hit(rank, hit) for rank, hit in enumerate(answer.hits, 1)],
    }


def columns_of(found: Answers) -> list[str]:
    """Return the names of all columns of all hits."""
    return list(dict.fromkeys(name for hit in _hits(found) for name in hit.row.cells))


def _hit(rank: int, hit: Hit) -> dict[str, Any]:
    row = hit.row
    side = {"side": row.side} if row.side else {}
    return {
        "rank": rank,
        "score": round(hit.score, 6),
        "known": hit.is_known,
        "id": row.id,
        "file": row.path,
        "row": row.number,
        "input": row.input,
        **side,
        "columns": dict(row.cells),
    }


def _hits(found: Answers) -> Iterator[Hit]:
    for answer in found.answers:
        yield from answer.hits
