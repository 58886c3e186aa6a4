"""What a ranking finds, as plain values: `rank.json` holds exactly this."""

from __future__ import annotations

from dataclasses import dataclass, field

from graft.records import FindingRecord, Interval


@dataclass(frozen=True)
class Cost:
    """Say what a candidate costs.

    Args:
        width: D of its features.
        n_parameters: of the network without a head.
        weights_bytes: of its parameters and buffers in memory.
        store_bytes: of the features of all rows on disk.
        n_computed: rows that had to be computed; the others lay in the store.
        open_seconds: that opening it took.
        pass_seconds: that a pass over all rows takes, measured on some where they lay in the store.
        score_seconds: that heads and scores took.
    """

    width: int
    n_parameters: int
    weights_bytes: int
    store_bytes: int
    n_computed: int
    open_seconds: float
    pass_seconds: float
    score_seconds: float


@dataclass(frozen=True)
class RankedModel:
    """Say what the features of one pretrained network know of a table.

    Args:
        model: as it was named.
        probe: the metric of a linear head on rows that it did not see, by cross-validation.
        behind: its difference from the best candidate's, row by row; zero for the best itself.
        loss: mean held-out loss of that head.
        l2: its penalty, chosen over the same folds.
        knn: the metric of the five nearest rows of other folds.
        scores: name in `graft.transferability.SCORES` → value, of those that are defined.
        cost: in seconds and bytes.
        notes: what was changed or chosen while it was opened.
    """

    model: str
    probe: Interval
    behind: Interval
    loss: float
    l2: float
    knn: float
    scores: dict[str, float]
    cost: Cost
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class NotRanked:
    """Say why a candidate could not be ranked."""

    model: str
    why: str


@dataclass(frozen=True)
class Baseline:
    """Say what is known without pretraining, and how far the best candidate is ahead of that.

    Args:
        name: what was asked instead of a pretrained network.
        n_rows: rows on which both were asked, some where all would take long.
        value: the metric of a linear head on it.
        of_best: the same of the best candidate on the same rows.
        lead: their difference, row by row.
    """

    name: str
    n_rows: int
    value: float
    of_best: float
    lead: Interval

    @property
    def is_beaten(self) -> bool:
        """Whether the best candidate is ahead by more than chance explains."""
        return self.lead.low > 0


@dataclass(frozen=True)
class Ranking:
    """Rank pretrained networks by what they know of a table before anything is trained.

    Args:
        data: path of the table.
        task: name in `TASKS`.
        metric: by which `models` are sorted, the best first.
        n_rows: training rows that were asked, of `n_train`.
        n_classes: classes or labels; 0 where a number is predicted.
        n_folds: of the cross-validation; the same folds for all.
        baselines: what is known without pretraining.
        warnings: for the user.
    """

    data: str
    task: str
    metric: str
    n_rows: int
    n_train: int
    n_classes: int
    n_folds: int
    how_read: str
    how_split: str
    models: tuple[RankedModel, ...]
    not_ranked: tuple[NotRanked, ...] = ()
    baselines: tuple[Baseline, ...] = ()
    warnings: tuple[str, ...] = ()
    findings: tuple[FindingRecord, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def best(self) -> RankedModel:
        """Return the first of the models."""
        return self.models[0]

    @property
    def cheapest(self) -> RankedModel:
        """Return the model with the quickest pass among those not clearly behind the best."""
        close = [m for m in self.models if m is self.best or m.behind.high >= 0]
        return min(close, key=lambda m: m.cost.pass_seconds)
