"""Methods that train the body."""

from __future__ import annotations

import dataclasses
from typing import Any

from graft.errors import InputError
from graft.methods.heads import probe
from graft.methods.plan import Phase, Plan, Rule
from graft.methods.schedule import gradient
from graft.methods.select import blocks, everything, head, neck, state


def full(
    n_blocks: int = 0,
    *,
    lr: float = 5e-5,
    head_lr: float = 1e-3,
    weight_decay: float = 0.01,
    epochs: int | None = None,
    **options: Any,
) -> Plan:
    """Train everything at once, the body at `lr` and the head at `head_lr`."""
    del n_blocks
    rules = (
        Rule(head(), head_lr, weight_decay),
        Rule(state(), head_lr),
        Rule(everything(), lr, weight_decay),
    )
    return Plan((Phase("full", rules, gradient(epochs, options)),))


def last(
    n_blocks: int = 0,
    *,
    n: int = 2,
    lr: float = 5e-5,
    head_lr: float = 1e-3,
    weight_decay: float = 0.01,
    epochs: int | None = None,
    **options: Any,
) -> Plan:
    """Train the head, the neck and the top `n` blocks; what lies below is computed once."""
    if not 1 <= n <= max(n_blocks, 1):
        raise InputError(f"last:{n}: the backbone has {n_blocks} blocks; give 1 to {n_blocks}")
    rules = (
        Rule(head(), head_lr, weight_decay),
        Rule(state(), head_lr),
        Rule(neck(), lr, weight_decay),
        Rule(blocks(-n), lr, weight_decay),
        Rule(everything(), None),
    )
    return Plan((Phase(f"last {n}", rules, gradient(epochs, options)),))


def layerwise(
    n_blocks: int,
    *,
    lr: float = 5e-5,
    head_lr: float = 1e-3,
    decay: float = 0.8,
    weight_decay: float = 0.01,
    epochs: int | None = None,
    **options: Any,
) -> Plan:
    """Train everything, each block at `decay` times the rate of the one above it.

    Source: Howard and Ruder 2018, section 3.2, discriminative fine-tuning.
    """
    rules = (
        Rule(head(), head_lr, weight_decay),
        Rule(state(), head_lr),
        Rule(neck(), lr, weight_decay),
        *_by_depth(n_blocks, lr, decay, weight_decay),
        Rule(everything(), lr * decay**n_blocks, weight_decay),
    )
    return Plan((Phase("layerwise", rules, gradient(epochs, options)),))


def lp_ft(
    n_blocks: int = 0, *, lr: float = 5e-5, head_lr: float | None = None, **options: Any
) -> Plan:
    """Solve the head exactly, then train everything from there.

    The head keeps the body's rate unless told otherwise: it starts at its optimum.

    Source: Kumar et al. 2022, "Fine-Tuning can Distort Pretrained Features and Underperform
    Out-of-Distribution".
    """
    return probe() + full(n_blocks, lr=lr, head_lr=lr if head_lr is None else head_lr, **options)


def unfreeze(
    n_blocks: int,
    *,
    lr: float = 5e-5,
    head_lr: float = 1e-3,
    decay: float = 1 / 1.3,
    weight_decay: float = 0.01,
    epochs: int | None = None,
    schedule: str = "slanted",
    **options: Any,
) -> Plan:
    """Unfreeze from the top: first the head, then neck and top block, then one more block a phase.

    Each block trains at `decay` times the rate of the one above it; the last phase adds the stem.

    Args:
        n_blocks: K of the backbone; the plan has K + 1 phases.
        lr: peak rate of the top block.
        decay: rate of a block relative to the one above it.
        epochs: per phase; one, or as many as give 20 steps, unless given.

    Source: Howard and Ruder 2018, "Universal Language Model Fine-tuning", sections 3.2 and 3.3:
    gradual unfreezing, discriminative rates and slanted triangular schedules. They divide the rate
    by 2.6 per layer of a 3-layer LSTM; transformers have more layers: our default divides by 1.3.
    """
    by = gradient(epochs, {"schedule": schedule, **options}, default=1, min_steps=20)
    top = (Rule(head(), head_lr, weight_decay), Rule(state(), head_lr))
    phases = [Phase("head", (*top, Rule(everything(), None)), by)]
    for depth in range(1, n_blocks + 1):
        open_blocks = _by_depth(depth, lr, decay, weight_decay)
        rest = Rule(everything(), None)
        if depth == n_blocks:
            rest = Rule(everything(), lr * decay**depth, weight_decay)
        rules = (*top, Rule(neck(), lr, weight_decay), *open_blocks, rest)
        phases.append(Phase(f"top {depth}", rules, by))
    return Plan(tuple(phases))


def scratch(n_blocks: int = 0, *, lr: float = 5e-4, epochs: int = 20, **options: Any) -> Plan:
    """Train everything from random weights, the baseline that transfer has to beat."""
    if options.get("l2_sp") is not None:
        raise InputError("scratch throws away what --l2-sp stays close to; leave out one of both")
    plan = full(n_blocks, lr=lr, head_lr=options.pop("head_lr", lr), epochs=epochs, **options)
    phase = dataclasses.replace(plan.phases[0], name="scratch")
    return Plan((phase,), start="random")


def _by_depth(n: int, lr: float, decay: float, weight_decay: float) -> tuple[Rule, ...]:
    """Return one rule for each of the top `n` blocks, the topmost at `lr`."""
    return tuple(
        Rule(blocks(-d, None if d == 1 else -d + 1), lr * decay ** (d - 1), weight_decay)
        for d in range(1, n + 1)
    )
