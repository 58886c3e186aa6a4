"""What a sweep finds, as plain values: `sweep.json` holds exactly this."""

from __future__ import annotations

from dataclasses import dataclass, field

from graft.records import Interval
from graft.selection.space import Range


@dataclass(frozen=True)
class Trial:
    """One training of a sweep.

    Args:
        number: from 0, which is the method's own choice.
        options: what was tried; empty for the method's own choice.
        value: the metric on validation rows; None where the training gave nothing.
        seconds: that it took.
        why: why it gave nothing.
    """

    number: int
    options: dict[str, float]
    value: float | None
    seconds: float
    why: str = ""


@dataclass(frozen=True)
class Sweep:
    """A search over a method's options, each trial judged on validation rows alone.

    Args:
        data: path of the table.
        data_hash: of its content.
        metric: by which trials are judged.
        is_higher_better: whether larger values of it are better.
        space: option → between which values it was looked for.
        trials: finished, by number.
        gain: of the best trial over the method's own choice, row by row on validation rows; None
            where one of them is missing.
        best_recipe: path of the YAML file that trains the best; empty while there is none.
    """

    data: str
    data_hash: str
    model: str
    method: str
    task: str
    metric: str
    is_higher_better: bool
    n_train: int
    n_validation: int
    how_split: str
    space: dict[str, Range]
    trials: tuple[Trial, ...] = ()
    gain: Interval | None = None
    best_recipe: str = ""
    notes: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def ordered(self) -> tuple[Trial, ...]:
        """Return the trials that gave something, the best first, the earlier of equals first."""
        sign = -1 if self.is_higher_better else 1
        found = [t for t in self.trials if t.value is not None]
        return tuple(sorted(found, key=lambda t: (sign * (t.value or 0.0), t.number)))

    @property
    def best(self) -> Trial | None:
        """Return the best trial; None where none gave anything."""
        return next(iter(self.ordered), None)
