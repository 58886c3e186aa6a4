"""What the page shows of an embedding: neighbours, cosines of pairs, classes."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

Change = Literal["better", "worse", "drawn"]


@dataclass(frozen=True)
class Item:
    """Show one item: what it is, and where it came from.

    Args:
        place: file and row.
        label: its class; empty where there are none.
        text: the input, where it is one.
        picture: the input as a small picture, a `data:` URI.
    """

    place: str
    label: str = ""
    text: str = ""
    picture: str = ""


@dataclass(frozen=True)
class Neighbour:
    """Name an item that lies near a query.

    Args:
        item: number in `EmbeddingFacts.items`.
        cosine: with the query.
        belongs: whether it belongs with the query; None where that is not known.
        score: of the pair that the two form in the data, where they form one.
    """

    item: int
    cosine: float
    belongs: bool | None = None
    score: float | None = None


@dataclass(frozen=True)
class Query:
    """Show what lies nearest to one item, before and after training.

    Args:
        item: number in `EmbeddingFacts.items`.
        change: why it is shown: it has gained, it has lost, or it was drawn evenly.
        before: nearest in the untouched backbone, the nearest first.
        after: nearest in the trained network.
    """

    item: int
    change: Change
    before: tuple[Neighbour, ...]
    after: tuple[Neighbour, ...]


@dataclass(frozen=True)
class Operating:
    """Say what a threshold accepts.

    Args:
        far: share of the pairs that do not belong together of which at most so many are accepted.
        tar: share of those that do that are accepted then.
        threshold: the lowest such cosine; infinite where even the highest accepts more.
    """

    far: float
    tar: float
    threshold: float


@dataclass(frozen=True)
class CosineCounts:
    """Count the cosines of sampled pairs in bins of equal width.

    Args:
        low: lower end of the first bin.
        high: upper end of the last.
        alike: of each bin, pairs that belong together.
        unlike: of each bin, pairs that do not.
        threshold: pairs of this cosine or more are taken to belong together.
        accuracy: balanced accuracy of that on the same pairs.
        curve: what other thresholds accept, by ascending FAR.
    """

    low: float
    high: float
    alike: tuple[int, ...]
    unlike: tuple[int, ...]
    threshold: float
    accuracy: float
    curve: tuple[Operating, ...] = ()

    @property
    def point(self) -> Operating | None:
        """Return the point of the curve whose threshold is nearest to the one that is drawn."""
        found = [o for o in self.curve if math.isfinite(o.threshold)]
        return min(found, key=lambda o: abs(o.threshold - self.threshold), default=None)

    def at(self, threshold: float) -> CosineCounts:
        """Return the counts with another threshold; inside of a bin pairs lie evenly."""
        place = (threshold - self.low) / (self.high - self.low) * len(self.alike)

        def below(counts: tuple[int, ...]) -> float:
            inside = sum(n * min(max(place - b, 0.0), 1.0) for b, n in enumerate(counts))
            return inside / max(sum(counts), 1)

        accuracy = (1 - below(self.alike) + below(self.unlike)) / 2
        return replace(self, threshold=threshold, accuracy=accuracy)


@dataclass(frozen=True)
class ClassFound:
    """Say how a class of held-out items lies, before and after training.

    Args:
        nearest: share of its items whose nearest item is of the class: before, after.
        within: mean cosine of an item with the mean of its class: before, after.
        between: cosine of the mean of the class with the nearest other one: before, after.
        other: the class that is most often nearest in its place, after training.
    """

    name: str
    n_items: int
    nearest: tuple[float, ...]
    within: tuple[float, ...]
    between: tuple[float, ...]
    other: str = ""


@dataclass(frozen=True)
class EmbeddingFacts:
    """Hold what the page shows of an embedding alone.

    Args:
        kind: `labels`, `pairs`, `triplets`, `scores`, `binary`: alike or not, or `match`: pictures
            and their captions.
        n_items: that are searched among each other.
        items: those that are shown.
        queries: those whose neighbours are shown.
        before: cosines of pairs in the untouched backbone; None where pairs have a score.
        after: in the trained network.
        threshold_from: how the thresholds are known.
        after_from: how the one after training is, where that is otherwise.
        scores: (T,) of scored pairs, and beside them their
        cosines_before: (T,) in the untouched backbone, and
        cosines_after: (T,) in the trained network.
        classes: of labelled items.
    """

    kind: str
    n_items: int
    items: tuple[Item, ...] = ()
    queries: tuple[Query, ...] = ()
    before: CosineCounts | None = None
    after: CosineCounts | None = None
    threshold_from: str = ""
    scores: tuple[float, ...] = ()
    cosines_before: tuple[float, ...] = ()
    cosines_after: tuple[float, ...] = ()
    classes: tuple[ClassFound, ...] = ()
    after_from: str = ""

    def at(self, threshold: float, source: str) -> EmbeddingFacts:
        """Return the facts with a threshold for the trained network that was found elsewhere."""
        if self.after is None or not self.after.low <= threshold <= self.after.high:
            return self
        return replace(self, after=self.after.at(threshold), after_from=source)
