"""What a comparison of methods found: records for the table, the picture and machines."""

from __future__ import annotations

from dataclasses import dataclass, field

from graft.records import Interval


@dataclass(frozen=True)
class Cell:
    """One training of a comparison.

    Args:
        folder: of the run, inside the comparison's.
        scores: its metric that counts first, by held-out split.
        seconds: that it took beside what is shared.
        peak_memory_bytes: of the process while it ran.
        n_trained: parameters that were trained, at most at once.
        kept_bytes: of what it leaves: the adapter where there is one, else the whole model.
        epochs: that the budget left it; 0 where it had its own number.
        fault: why there is no result; empty where there is one.
        beside: what it is worth elsewhere, which chooses nothing, by what it is.
    """

    method: str
    seed: int
    folder: str
    scores: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    peak_memory_bytes: int = 0
    n_trained: int = 0
    kept_bytes: int = 0
    epochs: int = 0
    fault: str = ""
    beside: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Compared:
    """One method over all seeds.

    Args:
        value: mean of the metric on the rows that choose, with its interval over rows and seeds.
        behind: how far the best method is ahead, paired, with its interval; 0 for the best.
        reported: mean of the metric on test rows, which choose nothing; None without such rows.
        seconds: mean over seeds.
        peak_memory_bytes: the most of all seeds.
        is_recommended: the cheapest that is not clearly behind the best.
        beside: means over seeds of what the cells are worth elsewhere.
    """

    method: str
    value: Interval
    behind: Interval
    reported: float | None
    seconds: float
    peak_memory_bytes: int
    n_trained: int
    kept_bytes: int
    is_best: bool = False
    is_recommended: bool = False
    beside: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class CurvePoint:
    """A linear head on the untouched features of some of the training rows, cross-validated."""

    n_rows: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Curve:
    """What more labels bring.

    Args:
        points: by ascending number of rows.
        told: what it says, in a sentence.
    """

    points: tuple[CurvePoint, ...]
    told: str


@dataclass(frozen=True)
class Comparison:
    """What every method is worth on somebody's own data, and what it costs.

    Args:
        folder: of the comparison; each training's lies in it.
        metric: the one that counts first.
        chosen_on: the split that chooses: validation, or test where there is no validation part.
        untouched: the metric of the untouched backbone on those rows.
        methods: the best first.
        cells: every training.
        left_out: method → why it has no result.
        told: the recommendation, in a sentence.
        shared_seconds: that reading, encoding and the untouched backbone took, once a seed.
    """

    folder: str
    data: str
    model: str
    metric: str
    chosen_on: str
    n_train: int
    n_chosen_on: int
    n_seeds: int
    n_parameters: int
    untouched: float
    methods: tuple[Compared, ...]
    cells: tuple[Cell, ...]
    left_out: dict[str, str]
    told: str
    curve: Curve | None = None
    shared_seconds: float = 0.0
    seconds: float = 0.0
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def best(self) -> Compared:
        """Return the method of the highest value."""
        return next(m for m in self.methods if m.is_best)

    @property
    def recommended(self) -> Compared:
        """Return the cheapest method that is not clearly behind the best."""
        return next(m for m in self.methods if m.is_recommended)
