"""Runs of two towers: which tower takes what, and vectors of pictures and texts in one space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from graft.api.predicting import looks_like_a_path, places, table_of
from graft.artifact import load_towers
from graft.backbones.pair import SIDES, Side, folder_of_both
from graft.data.captions import IMAGE_TEXT
from graft.data.check import usable
from graft.data.faults import refuse
from graft.data.images import ENDINGS
from graft.data.readers import read
from graft.data.table import Table
from graft.engine.predict import predict_rows
from graft.engine.views import items
from graft.errors import InputError, ModelError
from graft.model import Towers
from graft.prompts import image_vectors, text_vectors
from graft.tasks.match import Match
from graft.tasks.paired import PairedStream


def is_paired(streams: Mapping[str, Any]) -> bool:
    """Return whether a split feeds two towers."""
    return isinstance(first_of(streams), PairedStream)


def vectors_of_both(
    model: Any, task: Any, streams: Mapping[str, Any], n_workers: int | None
) -> np.ndarray:
    """Return the vectors (U + V, E) of a split's different pictures, then of its captions."""
    parts = [
        predict_rows(model, task, items(stream), n_workers=n_workers)[task.output]
        for stream in streams.values()
    ]
    return np.concatenate(parts)


def first_of(streams: Mapping[str, Any]) -> Any:
    """Return the stream that an epoch counts."""
    return next(iter(streams.values()))


def open_both(name: str | Path) -> tuple[Towers, Match]:
    """Open two towers: a run of ours, or a folder of CLIP's family.

    Raises:
        ModelError: it holds no two towers.
    """
    folder = folder_of_both(name)
    if folder is None:
        raise ModelError(f"{name}: holds no two towers; point at a run on pictures with captions")
    return load_towers(folder)


def embed_text(model: str | Path | Towers, texts: Sequence[str]) -> np.ndarray:
    """Return the vectors (N, E) of texts in the space of pictures and texts, of length one.

    Args:
        model: a run on pictures with captions, a folder of CLIP's family, or opened towers.
        texts: N of them, none empty.

    Raises:
        InputError: a text is empty, or there is none.
    """
    return _vectors(model, Table.of_values(list(texts), "text"), "text")


def embed_image(model: str | Path | Towers, paths: Sequence[str | Path]) -> np.ndarray:
    """Return the vectors (N, E) of pictures in the same space, of length one.

    Raises:
        InputError: a picture cannot be read, or there is none.
    """
    return _vectors(model, Table.of_values([str(p) for p in paths], "image"), "image")


def _vectors(model: str | Path | Towers, table: Table, side: Side) -> np.ndarray:
    towers = model if isinstance(model, Towers) else open_both(model)[0]
    kept, findings = usable(table)
    refuse(findings)
    if len(kept) < len(table) or not len(table):
        why = str(findings[0]) if findings else f"there is no {side} to embed; pass some"
        raise InputError(why)
    return (text_vectors if side == "text" else image_vectors)(towers, kept)


def table_of_both(data: str | Sequence[str], column: str | None = None) -> tuple[Table, bool]:
    """Return the pictures, the texts, or the pictures with captions that are meant.

    Args:
        data: a path, one text, or lines.
        column: of the inputs; a table of pictures with captions is returned whole where it is one
            of theirs.

    Returns:
        the table, and whether it was read from files.
    """
    if not isinstance(data, str):
        is_image = bool(data) and all(Path(line).suffix.lower() in ENDINGS for line in data)
        return table_of(data, "image" if is_image else "text", column)
    if Path(data).suffix.lower() in ENDINGS:
        return table_of(data, "image", column)
    if not looks_like_a_path(data) and not Path(data).exists():
        return table_of(data, "text", column)
    table = read(data)
    if column is None or side_of_column(table, column) is not None:
        return table, True
    return read(data, input=column), True


def table_of_side(data: str | Sequence[str], column: str | None) -> tuple[Table, bool]:
    """Return the pictures or texts that are meant, whichever they are, and whether from files.

    Raises:
        InputError: a table holds pictures with captions, and no column is named.
    """
    table, from_files = table_of_both(data, column)
    if table.roles.modality != IMAGE_TEXT:
        return table, from_files
    side = side_of_column(table, column)
    if side is None:
        image, caption = table.roles.inputs
        raise InputError(
            f"{data}: holds pictures with captions; pass --input {image} or --input {caption}"
        )
    return told_apart(table.views()[SIDES.index(side)]), from_files


def side_of_column(table: Table, column: str | None) -> Side | None:
    """Return whether a column of pictures with captions holds these or those; None for neither."""
    inputs = table.roles.inputs
    if table.roles.modality != IMAGE_TEXT or column not in inputs:
        return None
    return SIDES[inputs.index(column)]


def told_apart(view: Table) -> Table:
    """Return rows of one input each with numbers of their own.

    A line with several captions, or the items of a pair, is as many rows, which otherwise have the
    number of the line.
    """
    if len(set(places(view))) < len(view):
        view = replace(view, row_of=np.arange(1, len(view) + 1))
    return view
