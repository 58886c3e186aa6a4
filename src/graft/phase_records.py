"""What training leaves behind of each phase, as plain values.

PhaseRecord ─ EpochRecord
└ GroupRecord, CacheRecord, ConvexRecord
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class EpochRecord:
    """One pass over the training data.

    Args:
        scores: metrics of the validation rows after it, for tasks that measure them as they go.
        remembered: of the run's `RememberedRecord`, its metric after it; None where none is kept.
    """

    epoch: int
    train_loss: float
    validation_loss: float | None
    seconds: float
    scores: dict[str, float] = field(default_factory=dict)
    remembered: float | None = None


@dataclass(frozen=True)
class GroupRecord:
    """The parameters that one rule won: how many tensors and numbers, and their peak rate."""

    rule: str
    lr: float | None
    n_tensors: int
    n_parameters: int


@dataclass(frozen=True)
class CacheRecord:
    """Where the network was cut in a phase, and whether what crosses was stored.

    Args:
        size_bytes: of the stores of all splits and streams on disk.
        n_computed: rows that had to be computed for them; the others lay there already.
        seconds: that computing them took.
    """

    cut: str
    used: bool
    reason: str
    size_bytes: int = 0
    n_computed: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class ConvexRecord:
    """How the head was solved."""

    l2: float
    chosen_by: str
    objective: float
    converged: bool
    n_iterations: int
    message: str

    @property
    def outcome(self) -> str:
        """Return whether the minimum was reached, in words."""
        return "solved exactly" if self.converged else "solved without converging"


@dataclass(frozen=True)
class DepthRecord:
    """How well one block's pooled output serves a linear head, by cross-validation.

    Args:
        block: `block 3`, or `features` for what stands at the end of the network.
        width: D of the vectors.
        accuracy: share of held-out training rows that are right; None where numbers are predicted.
        loss: mean on held-out training rows.
        l2: the penalty at which the loss is smallest.
        chosen: the head was trained on this one.
    """

    block: str
    width: int
    accuracy: float | None
    loss: float
    l2: float
    chosen: bool = False


@dataclass(frozen=True)
class PhaseRecord:
    """One phase of a plan, done."""

    name: str
    groups: tuple[GroupRecord, ...]
    cache: CacheRecord
    epochs: tuple[EpochRecord, ...] = ()
    convex: ConvexRecord | None = None
    best_epoch: int | None = None
    stopped_early: bool = False
    n_steps: int = 0
    seconds: float = 0.0
