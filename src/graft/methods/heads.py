"""Methods that leave the body frozen."""

from __future__ import annotations

from typing import Any

from graft.errors import InputError
from graft.methods.plan import Convex, Gradient, Phase, Plan, Rule
from graft.methods.select import everything, head, state


def probe(n_blocks: int = 0, *, l2: float | str = "cv", n_folds: int = 5, **gradient: Any) -> Plan:
    """Solve the head exactly on frozen features; l2 is chosen by cross-validation.

    Where the task or the head has no convex form the engine trains the head by gradient instead,
    with the settings in `gradient`, and says so.
    """
    del n_blocks, gradient
    by = Convex(l2=l2 if l2 == "cv" else float(l2), n_folds=n_folds)
    return Plan((Phase("probe", (*HEAD_ONLY, Rule(everything(), None)), by),))


def head_only(
    n_blocks: int = 0, *, head_lr: float = 1e-3, lr: float = 0.0, epochs: int = 20, **options: Any
) -> Plan:
    """Train the head by gradient on frozen features."""
    del n_blocks, lr
    if options.get("l2_sp") is not None:
        raise InputError("the head has no start to stay close to; leave out --l2-sp")
    rules = (Rule(head(), head_lr, 0.01), Rule(state(), head_lr), Rule(everything(), None))
    return Plan((Phase("head", rules, Gradient(epochs=epochs, **options)),))


def zero_shot(n_blocks: int = 0) -> Plan:
    """Train nothing: the head holds the vectors of the class names (Radford et al. 2021)."""
    del n_blocks
    return Plan(())


HEAD_ONLY = (Rule(head(), 1e-3, 0.01), Rule(state(), 1e-3))
"""The rates of a probe whose task has no convex form."""
