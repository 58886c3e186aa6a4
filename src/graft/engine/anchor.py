"""Staying close to the start: each step pulls the body's weights back to where they began.

    w ← w − η α (w − w⁰)        before AdamW's own step; η the rate of the step, α the strength

It takes the place of weight decay, which pulls to zero and so away from what was pretrained. The
head, which begins anew, keeps its decay, as in the paper. Norms and biases are pulled too: their
start is a fair value for them, which zero is not.

Not a term of the loss: AdamW divides gradients by their size, so a weight that the data pulls hard
would be held less, for the same reason for which decay is decoupled (Loshchilov and Hutter 2019;
Chen et al. 2020, "Recall and Learn: Fine-tuning Deep Pretrained Language Models with Less
Forgetting", do the same). Losses stay comparable, and the largest gradient is that of the data.

Source: Li et al. 2018, "Explicit Inductive Bias for Transfer Learning with Convolutional Networks",
equation 2: α/2 ‖w_S − w⁰_S‖² + β/2 ‖w_S̄‖².
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from graft.engine.groups import Group
from graft.errors import InputError
from graft.methods.plan import Gradient


def starting_weights(phases: Iterable[tuple[Gradient, tuple[Group, ...]]]) -> dict[str, Tensor]:
    """Return copies of the weights that a pull will go to, by name: of bodies, as they are now.

    They are those of the untouched model, so nothing of them needs a place in a checkpoint.

    Args:
        phases: those that train by gradient, with their groups.

    Raises:
        InputError: a pull would go beyond the start.
    """
    found: dict[str, Tensor] = {}
    for by, groups in phases:
        if by.l2_sp is None:
            continue
        for group in groups:
            lr = group.rule.lr
            body = [m for m in group.members if m.place.role == "backbone"]
            if lr is None or not body:
                continue
            if lr * by.l2_sp > 1:
                raise InputError(
                    f"l2-sp {by.l2_sp:g} at rate {lr:g} would pull beyond the start; pass at most "
                    f"{1 / lr:g}"
                )
            for member in body:
                found.setdefault(member.place.name, member.parameter.detach().clone())
    return found


@torch.no_grad()
def pull(optimizer: torch.optim.Optimizer, start: Mapping[str, Tensor], strength: float) -> None:
    """Move every weight that has a start towards it, by its entry's rate times the strength.

    Args:
        optimizer: its entries name their parameters and have the rates of this step.
        start: by name.
        strength: α.
    """
    for entry in optimizer.param_groups:
        share = entry["lr"] * strength
        for name, parameter in zip(entry["names"], entry["params"], strict=True):
            if name in start:
                parameter.add_(start[name] - parameter, alpha=share)
