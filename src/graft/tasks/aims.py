"""Objectives as an embedding task uses them: what each needs, learns and draws.

    Encoded (embeddings, and labels or members) ─Aim.loss→ per-item losses

`AIMS` is the table: to offer another objective is one line in it.

Shapes: n items of a step, E width of an embedding, C classes, t pairs or triplets of a step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from graft.errors import InputError, UnknownName
from graft.objectives.contrastive import contrastive, contrastive_all_pairs
from graft.objectives.supervised_contrastive import supervised_contrastive
from graft.objectives.triplet import triplet, triplet_margin

Kind = Literal["labels", "pairs", "binary", "scores", "triplets"]
"""What an example is: an item with a class; a pair that is alike; a pair with 1 or 0, or with a
score; an anchor with a positive and a negative."""

CENTER_RATE = 0.5
"""α of Wen et al. 2016."""
LARGEST_SCALE = 100.0
"""A learned temperature stays above 1/100, as in Radford et al. 2021, section 2.5."""


@dataclass(frozen=True, eq=False)
class Encoded:
    """Hold the embeddings of a step and what is known of them.

    Args:
        embeddings: (n, E), of length one unless the aim takes them raw.
        labels: (n,) class numbers, of labelled items.
        members: R tensors (t, E): anchors, positives, perhaps negatives.
        items: R tensors (t,): which items these are; equal numbers are the same item.
        scores: (t,), where pairs have one.
        seed: of what is drawn in this step.
    """

    embeddings: Tensor
    labels: Tensor | None = None
    members: tuple[Tensor, ...] = ()
    items: tuple[Tensor, ...] = ()
    scores: Tensor | None = None
    seed: int = 0


Options = Mapping[str, Any]
Losses = tuple[Tensor, Tensor]


class Learned(nn.Module):
    """Hold what an objective learns beside the model.

    Args:
        temperature: where a learned temperature begins, or None.
        n_classes: C of class vectors, or 0.
        n_centers: C of centers, which move by their own rule, or 0.
        width: E.
    """

    def __init__(
        self, *, temperature: float | None, n_classes: int, n_centers: int, width: int
    ) -> None:
        super().__init__()
        self.log_scale: nn.Parameter | None = None
        if temperature is not None:
            self.log_scale = nn.Parameter(torch.tensor(1 / temperature).log())
        self.classes: nn.Parameter | None = None
        if n_classes:
            self.classes = nn.Parameter(functional.normalize(torch.randn(n_classes, width), dim=1))
        self.centers: Tensor | None = None
        if n_centers:
            self.register_buffer("centers", torch.zeros(n_centers, width))
        self.seen: tuple[Tensor, Tensor] | None = None

    def temperature(self) -> Tensor:
        """Return the learned temperature, no dimension."""
        assert self.log_scale is not None
        return (-self.log_scale).exp()

    @torch.no_grad()
    def after_step(self, options: Options) -> None:
        """Keep the temperature in its bounds, and move the centers of the classes that were seen."""
        if self.log_scale is not None:
            self.log_scale.clamp_(max=math.log(LARGEST_SCALE))
        if self.centers is not None and self.seen is not None:
            rate = options.get("center_rate", CENTER_RATE)
            self.centers.copy_(moved_centers(self.centers, *self.seen, rate=rate))
            self.seen = None


Function = Callable[[Encoded, Learned | None, Options], Losses]


@dataclass(frozen=True)
class Aim:
    """Say what an objective needs and how it is called.

    Args:
        kinds: the examples it takes.
        loss: per-item losses of a step.
        options: names of the settings it has.
        is_joint: an item's loss depends on the others of its step.
        has_classes: it learns a vector for each class.
        has_centers: it keeps a center for each class.
        has_temperature: it can learn its temperature.
        is_raw: it takes embeddings as they are, not of length one.
    """

    kinds: tuple[Kind, ...]
    loss: Function
    options: tuple[str, ...] = ()
    is_joint: bool = True
    has_classes: bool = False
    has_centers: bool = False
    has_temperature: bool = False
    is_raw: bool = False


def find_aim(name: str, kind: Kind) -> Aim:
    """Return the aim of a name, where it takes such examples.

    Raises:
        UnknownName: there is no such aim.
        InputError: it takes other examples.
    """
    if name not in AIMS:
        raise UnknownName("objective of embeddings", name, AIMS)
    aim = AIMS[name]
    if kind not in aim.kinds:
        fits = ", ".join(n for n, other in AIMS.items() if kind in other.kinds)
        raise InputError(
            f"objective `{name}` takes {' or '.join(KINDS[k] for k in aim.kinds)}, and the data "
            f"holds {KINDS[kind]}; choose one of: {fits}"
        )
    return aim


KINDS: dict[Kind, str] = {
    "labels": "items with a class",
    "pairs": "pairs that belong together",
    "binary": "pairs with 1 or 0",
    "scores": "pairs with a score",
    "triplets": "triplets",
}
DEFAULTS: dict[Kind, str] = {
    "labels": "supervised_contrastive",
    "pairs": "info_nce",
    "binary": "contrastive",
    "scores": "cosent",
    "triplets": "info_nce",
}
