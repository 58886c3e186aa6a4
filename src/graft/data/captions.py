"""Pictures with captions: which columns hold them, one caption a row, and who belongs to whom.

    image, captions ─one_caption_a_row→ image, caption ─sides→ images (U) + texts (V) + pairs (T, 2)

A picture with five captions is five rows and one item: it is read, computed and stored once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from graft.data.faults import data_error
from graft.data.files import Embedded
from graft.data.roles import (
    IMAGE_NAMES,
    LABEL_NAMES,
    N_LOOKED_AT,
    SPLIT_NAMES,
    Asked,
    Found,
    asked_inputs,
    by_name,
    holds_images,
    holds_texts,
    names_parts,
    pick,
)
from graft.data.table import Roles, Table, is_embedded
from graft.data.targets import json_list
from graft.data.tuples import Tuples

if TYPE_CHECKING:
    import pyarrow as pa

    from graft.data.rows import Rows

IMAGE_TEXT = "image-text"
CAPTION_NAMES = ("caption", "captions", "description", "descriptions", "text", "texts", "sentences")


def find_captions(head: Mapping[str, Sequence[Any]], asked: Asked, *, path: str) -> Found | None:
    """Return the roles of a table of pictures and captions; None where it is none.

    Found by name, it is one where no column bears the name of a label.

    Raises:
        DataError: a row holds several pictures, so that nothing says whose its captions are; or a
            column named like one of captions holds the pictures, and the other way round.
    """
    several = asked_inputs(asked.input, list(head), path=path)
    how = "as asked"
    if several:
        pictures = [name for name in several if holds_images(head[name])]
        if len(several) != 2 or len(pictures) != 1:
            return None
        image = pictures[0]
        caption = next(name for name in several if name != image)
    else:
        if asked.input is not None or asked.label is not None:
            return None
        how = "by name"
        _refuse_lists_of_pictures(head, path)
        _refuse_swapped_names(head, path)
        pictures = [name for name in head if holds_images(head[name])]
        image = pick(by_name(dict.fromkeys(pictures, ()), IMAGE_NAMES, ()), IMAGE_NAMES) or pick(
            pictures
        )
        caption = pick(by_name(head, CAPTION_NAMES, pictures), CAPTION_NAMES)
        if image is None or caption is None or by_name(head, LABEL_NAMES, ()):
            return None
    split = asked.split
    if split is None:
        taken = {image, caption}
        split = next((n for n in by_name(head, SPLIT_NAMES, taken) if names_parts(head[n])), None)
    because = f"pictures with captions: `{image}` and `{caption}` ({how})"
    because += f", group: `{asked.group}` (as asked)" if asked.group else ""
    because += f", split: `{split}`" if split else ""
    return Found(Roles((image, caption), None, asked.group, split, IMAGE_TEXT), because)


def _refuse_lists_of_pictures(head: Mapping[str, Sequence[Any]], path: str) -> None:
    captions = by_name(head, CAPTION_NAMES, ())
    for name in by_name(head, (*IMAGE_NAMES, "images", "paths"), ()) if captions else ():
        for i, value in enumerate(head[name]):
            if isinstance(value, list):
                own = head[captions[0]][i]
                n = len(own) if isinstance(own, list) else 1
                raise data_error(
                    f"{len(value)} pictures and {n} caption{'' if n == 1 else 's'} in one row; "
                    "write a row for each picture, its captions as a list",
                    path=path,
                    row=i + 1,
                    column=name,
                )


def _refuse_swapped_names(head: Mapping[str, Sequence[Any]], path: str) -> None:
    pictures = [name for name in head if holds_images(head[name])]
    texts = [name for name in head if name not in pictures and holds_texts(head[name])]
    images, captions = by_name(head, IMAGE_NAMES, pictures), by_name(head, CAPTION_NAMES, texts)
    swapped = [name for name in captions if name in pictures]
    others = [name for name in images if name in texts]
    if len(pictures) == len(swapped) == len(others) == 1 and not by_name(head, LABEL_NAMES, ()):
        raise data_error(
            f"`{swapped[0]}` holds pictures and `{others[0]}` texts, as if their names were "
            f"swapped; correct the names, or pass --input {swapped[0]},{others[0]}",
            path=path,
        )


def hint_of_captions(table: Table) -> str:
    """Return how to train on pictures with captions, if a table holds a column of each; else ""."""
    pictures, texts = [], []
    for name in table.columns:
        column = table.data.column(name)
        head = [] if is_embedded(column.type) else column.slice(0, N_LOOKED_AT).to_pylist()
        if is_embedded(column.type) or holds_images(head):
            pictures.append(name)
        elif holds_texts(head):
            texts.append(name)
    if len(pictures) != 1 or len(texts) != 1:
        return ""
    return f"; for pictures with captions pass --input {pictures[0]},{texts[0]}"


def one_caption_a_row(rows: Rows, roles: Roles) -> Rows:
    """Return rows in which each list of captions has become as many rows.

    A picture without a caption keeps one row, whose caption is empty.
    """
    import pyarrow as pa

    if roles.modality != IMAGE_TEXT:
        return rows
    caption = roles.inputs[1]
    cells = [_as_captions(value) for value in rows.data.column(caption).to_pylist()]
    if not any(isinstance(cell, list) for cell in cells):
        return rows
    lists = [cell if isinstance(cell, list) else [cell] for cell in cells]
    index = np.repeat(np.arange(len(lists)), [max(len(some), 1) for some in lists])
    texts = [text for some in lists for text in (some or [None])]
    data: pa.Table = rows.data.take(index)
    i = data.column_names.index(caption)
    told = [None if text is None else str(text) for text in texts]
    data = data.set_column(i, caption, pa.array(told, pa.large_string()))
    return replace(rows, data=data, source_of=rows.source_of[index], row_of=rows.row_of[index])


def _as_captions(value: Any) -> Any:
    """Return a cell as a list where it is one, or the JSON text of one."""
    if isinstance(value, str) and value.lstrip()[:1] == "[":
        found = json_list(value)
        return value if found is None else found
    return value


def first_of_each(values: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows (U,) where each different value is met first, and the value of each row (N,).

    >>> [x.tolist() for x in first_of_each(["b", "a", "b"])]
    [[0, 1], [0, 1, 0]]
    """
    number: dict[object, int] = {}
    first, of_row = [], np.zeros(len(values), np.int64)
    for row, value in enumerate(values):
        key = bytes(value.data) if isinstance(value, Embedded) else value
        if key not in number:
            number[key] = len(first)
            first.append(row)
        of_row[row] = number[key]
    return np.asarray(first, np.int64), of_row


def sides(table: Table) -> tuple[Table, Table, Tuples]:
    """Return the different pictures of a table, its different captions, and its pairs.

    The pairs number the pictures from 0 and the captions on from there: members (T, 2).
    """
    images, texts = table.views()
    first_images, image_of = first_of_each(images.inputs())
    first_texts, text_of = first_of_each(texts.inputs())
    members = np.stack([image_of, len(first_images) + text_of], axis=1)
    return images.take(first_images), texts.take(first_texts), Tuples(members)
