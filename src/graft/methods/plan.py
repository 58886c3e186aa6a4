"""Plans: a fine-tuning method as data.

    Plan   = phases, one after the other
    Phase  = ordered rules (the first that matches a parameter wins) and how it is optimised
    Rule   = which parameters, at which rate; a rate of None means frozen, written out

Nothing here trains anything. `engine` runs every plan with every backbone and every task.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from graft.methods.select import Selector

if TYPE_CHECKING:
    from graft.surgery.inserting import Surgery


@dataclass(frozen=True)
class Rule:
    """Train what `where` selects at peak rate `lr`.

    Args:
        where: a selector.
        lr: peak learning rate; None freezes.
        weight_decay: decoupled weight decay; never applied to norms and biases.
    """

    where: Selector
    lr: float | None
    weight_decay: float = 0.0


Schedule = Literal["constant", "linear", "cosine", "slanted"]


@dataclass(frozen=True)
class Gradient:
    """Optimise with AdamW on shuffled batches.

    Args:
        epochs: passes over the training data.
        min_steps: make as many more passes as give so many steps: a few hundred rows need more
            epochs than a million.
        batch_size: examples per step, over all processes.
        micro_batch_size: examples per forward pass; None for all of a process's share.
        schedule: rate over the steps of the phase, after warm-up: `constant`, `linear` to zero,
            `cosine` to zero, or `slanted` (Howard and Ruder 2018: up over the first tenth, then
            down to 1/32; it has its own rise, so `warmup` is not used).
        warmup: share of the steps over which the rate rises from zero.
        clip: largest gradient norm; None for no clipping.
        patience: stop after so many epochs without a better validation loss, and always keep the
            best epoch; None runs all epochs and keeps the last.
        ema: decay of a moving average of the weights, which is what is validated and what the phase
            ends with; None for no average.
        l2_sp: strength of a pull of the body to the weights that it began with, in the place of
            weight decay (Li et al. 2018); None for none.
        betas: decay of the two moments of AdamW (Loshchilov and Hutter 2019).
        eps: added to the root of the second moment.
    """

    epochs: int = 3
    min_steps: int = 0
    batch_size: int = 32
    micro_batch_size: int | None = None
    schedule: Schedule = "linear"
    warmup: float = 0.1
    clip: float | None = 1.0
    patience: int | None = None
    ema: float | None = None
    l2_sp: float | None = None
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8

    def n_epochs(self, n_rows: int) -> int:
        """Return the passes that are made over `n_rows` training rows."""
        n_steps = max(1, -(-n_rows // self.batch_size))
        return max(self.epochs, -(-self.min_steps // n_steps))


@dataclass(frozen=True)
class Convex:
    """Solve the head exactly on frozen features.

    Args:
        l2: strength of the penalty l2/2 ‖W‖², or `cv` to choose it by cross-validation.
        n_folds: folds for `cv`.
    """

    l2: float | Literal["cv"] = "cv"
    n_folds: int = 5


@dataclass(frozen=True)
class Phase:
    """Train by one set of rules until done.

    Args:
        name: of the phase, for people.
        rules: in order.
        by: how it is optimised.
        insert: what surgery puts into the network for it. All of a plan's is put in before its
            first phase: it is the identity until it is trained.
    """

    name: str
    rules: tuple[Rule, ...]
    by: Gradient | Convex = field(default_factory=Gradient)
    insert: tuple[Surgery, ...] = ()


@dataclass(frozen=True)
class Plan:
    """Run phases one after the other; plans add.

    Args:
        phases: in order.
        start: `pretrained` weights, or `random` ones for the honest baseline.
    """

    phases: tuple[Phase, ...]
    start: Literal["pretrained", "random"] = "pretrained"

    @property
    def insert(self) -> tuple[Surgery, ...]:
        """Return what is put into the network for any of its phases, each once."""
        return tuple(dict.fromkeys(s for phase in self.phases for s in phase.insert))

    def __add__(self, other: Plan) -> Plan:
        assert other.start == "pretrained", "a plan that resets the weights can only come first"
        return Plan(self.phases + other.phases, self.start)
