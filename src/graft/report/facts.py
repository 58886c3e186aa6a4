"""What the page shows and the record does not hold: `report.json` in the folder of a run.

It is written once, at the end of a training, while data and model are at hand. From then on the
page can be made anew from `record.json` and `report.json` alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from graft.records import ReliabilityBin
from graft.report.facts_embedding import EmbeddingFacts


@dataclass(frozen=True)
class ClassCount:
    """Count the rows of one class or label in each part; where numbers are predicted, of one bin.

    Args:
        name: of the class; the bounds of a bin.
    """

    name: str
    train: int
    validation: int
    test: int


@dataclass(frozen=True)
class Confused:
    """Count the rows of one class that were taken for another, or for itself.

    Args:
        truth: number of the class.
        predicted: number of the class.
        n_rows: at least one.
    """

    truth: int
    predicted: int
    n_rows: int


@dataclass(frozen=True)
class Mistake:
    """Show one row that the model got wrong.

    Args:
        place: file and row.
        truth: the label, the labels or the number.
        predicted: what the model said.
        confidence: how sure it was of the wrong answer; of a number, how far it is off.
        text: the input, where it is one.
        picture: the input as a small picture, a `data:` URI.
        decision: of several labels the one that is wrong: `+name` given, `-name` missed.
    """

    place: str
    truth: str
    predicted: str
    confidence: float
    text: str = ""
    picture: str = ""
    decision: str = ""


@dataclass(frozen=True)
class Centre:
    """Place the mean of one class in the picture."""

    name: str
    x: float
    y: float


@dataclass(frozen=True)
class Region:
    """Outline where one class wins in the picture: the corners of a convex polygon, in order."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True)
class MapSide:
    """Lay out the rows by their features at one time, before or after.

    Args:
        x: (M,) of each row.
        y: (M,) of each row.
        explained: share of the features' variance that the two directions hold.
        centres: of the classes that have a colour.
        regions: where a linear classifier of the two coordinates puts each of these classes.
        separable: share of those rows that lie in the region of their class.
        spreads: around the centre of each of these classes an ellipse of one standard deviation.
    """

    x: tuple[float, ...]
    y: tuple[float, ...]
    explained: float
    centres: tuple[Centre, ...] = ()
    regions: tuple[Region, ...] = ()
    separable: float | None = None
    spreads: tuple[Region, ...] = ()


@dataclass(frozen=True)
class Link:
    """Join two rows of the map that form a pair: their numbers, and whether they belong."""

    one: int
    other: int
    belongs: bool


@dataclass(frozen=True)
class FeatureMap:
    """Lay out M held-out rows by their features, before and after training, in one basis.

    Args:
        n_rows: rows that are held out; M of them are shown.
        groups: (M,) names of the classes that have a colour, empty for the other rows.
        values: (M,) the numbers, where numbers are predicted.
        wrong: (M,) whether the trained model got the row wrong.
        before: by the untouched backbone; None where that cannot be compared.
        after: by the trained one.
        note: why there is no `before`.
        links: pairs that are drawn as lines.
    """

    n_rows: int
    groups: tuple[str, ...]
    values: tuple[float, ...]
    wrong: tuple[bool, ...]
    after: MapSide
    before: MapSide | None = None
    note: str = ""
    links: tuple[Link, ...] = ()


@dataclass(frozen=True)
class Facts:
    """Hold what the page shows beside the record.

    Args:
        counts: rows of each class in each part, or of each bin of the numbers.
        confused: of classes, the cells of the confusion matrix that are not empty.
        calibration: bins of confidence: of classes, or of single decisions about labels.
        mistakes: those of which the model was surest.
        truths: (M,) numbers of held-out rows, and beside them the
        predictions: (M,) of the trained model.
        map: of the features.
        embedding: what only embeddings have.
        near_map: the rows laid out so that near ones stay near; of embeddings.
        near_map_note: why there is no such map.
        domain_map: held-out rows of both domains, where one was adapted to another.
    """

    modality: str
    counts: tuple[ClassCount, ...] = ()
    confused: tuple[Confused, ...] = ()
    calibration: tuple[ReliabilityBin, ...] = ()
    mistakes: tuple[Mistake, ...] = ()
    truths: tuple[float, ...] = ()
    predictions: tuple[float, ...] = ()
    map: FeatureMap | None = None
    embedding: EmbeddingFacts | None = None
    near_map: FeatureMap | None = None
    near_map_note: str = ""
    domain_map: FeatureMap | None = None
