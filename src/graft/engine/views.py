"""Views: where a stream varies its rows, each variant has a number of its own.

A stream may have `n_numbers` (how many pictures there are in all, None where every epoch sees new
ones), `numbers(rows, phase, epoch)` (which of them an epoch sees) and `plain` (the same rows as
they are). A stream without them has one picture a row, and numbers are rows.

Where examples are pairs or triplets, several rows are one item: such a stream has `items`, the
stream of different items, and `item_of` (M,), the item of each of its rows. Frozen features are
computed and stored once an item.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from graft.tasks.task import Stream

ENDLESS = "every epoch sees new pictures; --views 4 would store so many of each"


def plain(stream: Stream) -> Stream:
    """Return the stream's rows as they are."""
    return getattr(stream, "plain", stream)


def items(stream: Stream) -> Stream:
    """Return the stream of different items: what is computed and stored once each."""
    return getattr(stream, "items", stream)


def places(stream: Stream, rows: np.ndarray) -> np.ndarray:
    """Return the number that each row of a stream has in `items(stream)`."""
    item_of = getattr(stream, "item_of", None)
    return rows if item_of is None else item_of[rows]


def n_examples(stream: Stream) -> int:
    """Return the number of examples of an epoch: rows, or the pairs or triplets that they form."""
    return getattr(stream, "n_examples", len(stream))


def n_numbers(stream: Stream) -> int:
    """Return how many examples there are to store, all views counted."""
    n = getattr(stream, "n_numbers", len(stream))
    assert n is not None
    return n


def is_endless(stream: Stream) -> bool:
    """Return whether every epoch sees new variants, so that storing them is in vain."""
    return getattr(stream, "n_numbers", 0) is None


def numbers(stream: Stream, rows: np.ndarray, phase: int, epoch: int) -> np.ndarray:
    """Return the numbers under which an epoch of a phase asks for some rows."""
    own = getattr(stream, "numbers", None)
    return rows if own is None else own(rows, phase, epoch)


def finite(splits: Mapping[str, Mapping[str, Stream]]) -> dict[str, dict[str, Stream]]:
    """Return the streams, those without end as they are plain: what a solver can go through."""
    return {
        split: {name: plain(s) if is_endless(s) else s for name, s in streams.items()}
        for split, streams in splits.items()
    }
