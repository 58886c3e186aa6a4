"""What the facts of every kind of task share: the held-out rows, their map, a row for people.

Shapes: M held-out rows, K of them in the map, C classes, D feature width.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graft.api.mapping import lay_out
from graft.data.faults import shorten
from graft.data.files import Embedded
from graft.data.images import decode
from graft.data.table import Table
from graft.errors import DataError
from graft.report.facts import FeatureMap
from graft.report.words import readable_place

MOST_CHARACTERS = 400
SIDE = 128
"""Pixels of the longer side of a picture on the page."""


@dataclass(frozen=True, eq=False)
class Judged:
    """Hold what is known of the M held-out rows that count.

    Args:
        rows: (M,) their numbers in the table; of pairs and triplets those of the T tuples.
        targets: (M,) or (M, C); of pairs and triplets who belongs to whom among M items.
        outputs: (M,) or (M, C), of the trained model.
        drawn: (K,) which of them are in the map.
        after: (K, D) their features in the trained network.
        before: (K, D) in the untouched one; None where they are no others, or not comparable.
        note: why there is no `before`.
        untrained: (M,) or (M, C), what the untouched backbone's features answer.
    """

    rows: np.ndarray
    targets: Any
    outputs: np.ndarray
    drawn: np.ndarray
    after: np.ndarray
    before: np.ndarray | None = None
    note: str = ""
    untrained: np.ndarray | None = None


def feature_map(
    judged: Judged,
    groups: Sequence[str],
    *,
    wrong: np.ndarray,
    values: np.ndarray | None = None,
    is_divided: bool = False,
) -> FeatureMap | None:
    """Lay out the drawn rows, those whose features are finite; None where they are too few.

    Args:
        groups: (K,) names of the classes that have a colour, empty for other rows.
        wrong: (K,) whether the trained model got the row wrong.
        values: (K,) numbers, where numbers are predicted.
        is_divided: draw where a linear classifier of the two coordinates puts each class.
    """
    sets = [judged.after] if judged.before is None else [judged.before, judged.after]
    kept = np.logical_and.reduce([np.isfinite(features).all(1) for features in sets])
    if kept.sum() < 3:
        return None
    groups = [group for group, is_kept in zip(groups, kept, strict=True) if is_kept]
    sides = lay_out([features[kept] for features in sets], groups, is_divided=is_divided)
    return FeatureMap(
        len(judged.outputs),
        tuple(groups),
        () if values is None else tuple(values[kept].tolist()),
        tuple(wrong[kept].tolist()),
        after=sides[-1],
        before=sides[0] if len(sides) > 1 else None,
        note=judged.note,
    )


def place_of(table: Table, row: int) -> str:
    """Return the file and row of a row, and of a listed picture its own file."""
    origin, value = table.origin(row), table.inputs()[row]
    place = readable_place(origin.path, origin.row)
    is_listed = table.roles.modality == "image" and origin.row is not None
    if is_listed and not isinstance(value, Embedded):
        place = f"{str(value).rpartition('/')[2]}, {place}"
    return place


def text_of(value: object) -> str:
    """Return a text on one line, cut where it is long."""
    return shorten(" ".join(str(value).split()), MOST_CHARACTERS)


def small_picture(source: str | Embedded | None, side: int = SIDE) -> str:
    """Return a picture as a small JPEG in a `data:` URI; empty where it cannot be read.

    Args:
        side: pixels of its longer side.
    """
    from PIL import Image

    try:
        image = Image.fromarray(decode(source or ""))
    except DataError:
        return ""
    image.thumbnail((side, side))
    with io.BytesIO() as file:
        image.save(file, "JPEG", quality=80)
        return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
