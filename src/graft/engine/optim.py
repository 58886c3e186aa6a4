"""From groups to an optimiser, and rates as functions of the step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from graft.engine.groups import Group, Located
from graft.errors import InputError
from graft.methods.plan import Gradient


def build_optimizer(groups: Sequence[Group], by: Gradient) -> torch.optim.AdamW:
    """Build AdamW with one entry per rule and decay; norms and biases never decay.

    Nor does a body that is pulled to its start instead (`anchor.py`).
    """
    entries: list[dict[str, Any]] = []
    for group in groups:
        rule = group.rule
        if rule.lr is None:
            continue
        for decays in (True, False):
            members = [m for m in group.members if _decays(m, by) == decays]
            if members:
                entries.append(
                    {
                        "params": [m.parameter for m in members],
                        "names": [m.place.name for m in members],
                        "lr": rule.lr,
                        "peak_lr": rule.lr,
                        "weight_decay": rule.weight_decay if decays else 0.0,
                    }
                )
    parameters = [p for entry in entries for p in entry["params"]]
    # one pass over memory instead of ten; sharded parameters have no such kernel on the CPU
    fused = all(type(p) is nn.Parameter and p.is_floating_point() for p in parameters)
    return torch.optim.AdamW(entries, betas=by.betas, eps=by.eps, fused=fused)


def _decays(member: Located, by: Gradient) -> bool:
    is_pulled = by.l2_sp is not None and member.place.role == "backbone"
    return member.place.kind == "weight" and not is_pulled


def set_rates(optimizer: torch.optim.Optimizer, by: Gradient, step: int, n_steps: int) -> None:
    """Set each entry's rate for one step of the phase."""
    scale = rate_scale(by, step, n_steps)
    for entry in optimizer.param_groups:
        entry["lr"] = entry["peak_lr"] * scale


def rate_scale(by: Gradient, step: int, n_steps: int) -> float:
    """Return the share of the peak rate at a step, 0 ≤ step < n_steps.

    Source: `slanted` is Howard and Ruder 2018, equation 3, with cut_frac 0.1 and ratio 32.
    """
    if by.schedule == "slanted":
        cut = max(1, math.floor(n_steps * 0.1))
        p = (step + 1) / cut if step + 1 < cut else 1 - (step + 1 - cut) / max(1, n_steps - cut)
        return (1 + max(p, 0.0) * (32 - 1)) / 32
    n_warmup = math.ceil(by.warmup * n_steps)
    if step < n_warmup:
        return (step + 1) / n_warmup
    done = (step - n_warmup) / max(1, n_steps - n_warmup)
    if by.schedule == "linear":
        return 1 - done
    if by.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * done))
    if by.schedule == "constant":
        return 1.0
    raise InputError(
        f"schedule {by.schedule!r} is not known: use constant, linear, cosine or slanted"
    )
