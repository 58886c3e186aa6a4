"""Image files that cannot be used, and those that had to be converted."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from graft.data.archives import split_place
from graft.data.doctor.near_pictures import SIDE
from graft.data.doctor.places import at
from graft.data.faults import Finding, PlacedError, Severity, shorten
from graft.data.files import Embedded, leaves
from graft.data.images import DEEP_MODES, ENDINGS, ImageFacts, examine
from graft.data.table import Table

SHORTEST_SIDE = 8

ODDITIES: dict[str, tuple[Severity, str]] = {
    "deep-image": ("repair", "16-bit or float pixels were scaled linearly to 8 bits"),
    "moving-image": ("repair", "only the first frame or page is used"),
    "clear-image": ("repair", "transparent pixels were laid on white"),
    "turned-image": ("repair", "turned upright as its EXIF orientation says"),
    "print-image": ("repair", "CMYK, Lab or YCbCr colours were converted to RGB"),
    "misnamed-image": (
        "warn",
        "the ending disagrees with the content, which was believed; rename it",
    ),
}
"""code → severity and what is said of the first such image, with their number."""

PRINT_MODES = ("CMYK", "LAB", "YCbCr", "HSV")


def bad_images(
    table: Table, max_pixels: int, *, follow_links: bool
) -> tuple[Table, dict[int, Finding], list[Finding]]:
    """Read every image to its end.

    Returns:
        The table with the thumbnail of each image; row → finding for images that cannot be
        used; counts of what was unusual.
    """
    skipped: dict[int, Finding] = {}
    unusual: dict[str, list[str]] = defaultdict(list)
    thumbnails = np.zeros((len(table), SIDE, SIDE), np.uint8)
    for i, place in enumerate(table.inputs()):
        origin = table.origin(i)
        try:
            if not follow_links:
                refuse_link(table, i, place)
            facts = examine(place or "", max_pixels=max_pixels)
        except PlacedError as error:
            message = error.message
            if origin.row is not None and not isinstance(place, Embedded):
                message = f"{shorten(Path(place or '').name or 'no path', 40)}: {message}"
            skipped[i] = at(table, i, "bad-image", "skip", message)
            continue
        if min(facts.width, facts.height) < SHORTEST_SIDE:
            message = f"only {facts.width} × {facts.height} pixels; replace or remove it"
            skipped[i] = at(table, i, "tiny-image", "skip", message)
            continue
        thumbnails[i] = facts.thumbnail
        for kind in oddities(str(place), facts):
            unusual[kind].append(origin.path if origin.row is None else str(place))
    counts = [
        Finding(kind, severity, f"{words} ({len(unusual[kind])} such)", unusual[kind][0])
        for kind, (severity, words) in ODDITIES.items()
        if kind in unusual
    ]
    return replace(table, thumbnails=thumbnails, max_pixels=max_pixels), skipped, counts


def refuse_link(table: Table, i: int, place: Any) -> None:
    """Refuse a link from inside the data to a file outside of it.

    A table may name any file, also by an absolute path; only a link does not show where it leads.
    """
    if isinstance(place, str) and split_place(place) is None and leaves(table.root, place):
        message = "the link leaves the data root; copy the file into it or pass --follow-links"
        error = PlacedError(message, path=place)
        error.message = message
        raise error


def oddities(path: str, facts: ImageFacts) -> list[str]:
    """Return which of the ODDITIES an image shows."""
    promised = ENDINGS.get(Path(path).suffix.lower())
    shows = {
        "deep-image": facts.mode in DEEP_MODES,
        "moving-image": facts.moves,
        "clear-image": facts.clear,
        "turned-image": facts.turned,
        "print-image": facts.mode in PRINT_MODES,
        "misnamed-image": promised not in (None, facts.format),
    }
    return [kind for kind, holds in shows.items() if holds]
