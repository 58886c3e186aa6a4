"""Objectives as an embedding task uses them: what each needs, learns and draws.

    Encoded (embeddings, and labels or members) ─Aim.loss→ per-item losses

`AIMS` is the table: to offer another objective is one line in it.

Shapes: n items of a step, E width of an embedding, C classes, t pairs or triplets of a step.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from graft.errors import InputError, UnknownName
from graft.objectives.center import center, softmax_with_center, updated_centers
from graft.objectives.contrastive import contrastive, contrastive_all_pairs
from graft.objectives.info_nce import info_nce, n_pair
from graft.objectives.margin_softmax import arcface, cosface, softmax_loss
from graft.objectives.proxies import proxy_anchor, proxy_nca
from graft.objectives.scored_pairs import cosent, cosine_regression
from graft.objectives.supervised_contrastive import supervised_contrastive
from graft.objectives.triplet import triplet, triplet_margin

Kind = Literal["labels", "pairs", "binary", "scores", "triplets"]
"""What an example is: an item with a class; a pair that is alike; a pair with 1 or 0, or with a
score; an anchor with a positive and a negative."""

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
        self.centers: Tensor | None
        self.register_buffer("centers", torch.zeros(n_centers, width) if n_centers else None)
        self.seen: tuple[Tensor, Tensor] | None = None

    def temperature(self) -> Tensor:
        """Return the learned temperature, no dimension."""
        assert self.log_scale is not None
        return (-self.log_scale).exp()

    def vectors(self) -> list[Tensor]:
        """Return class vectors and centers, where there are any, each (C, E)."""
        return [t for t in (self.classes, self.centers) if t is not None]

    @torch.no_grad()
    def after_step(self) -> None:
        """Keep the temperature in its bounds; move the centers of the classes that were seen."""
        if self.log_scale is not None:
            self.log_scale.clamp_(max=math.log(LARGEST_SCALE))
        if self.centers is not None and self.seen is not None:
            self.centers.copy_(updated_centers(*self.seen, self.centers))
            self.seen = None


Function = Callable[[Encoded, Sequence[Tensor], Options], Losses]
"""Of what is encoded, class vectors and centers (C, E) where it has them, and settings."""


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

    @property
    def knows_classes(self) -> bool:
        """Return whether it keeps a vector or a center for each class."""
        return self.has_classes or self.has_centers


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


def kinds_of(name: str) -> tuple[Kind, ...]:
    """Return the examples that an objective takes; none where there is no such objective."""
    return AIMS[name].kinds if name in AIMS else ()


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


def _labelled(objective: Callable[..., Losses]) -> Function:
    """Return a function of labelled items, and of class vectors where it has them."""

    def loss(found: Encoded, vectors: Sequence[Tensor], options: Options) -> Losses:
        assert found.labels is not None
        return objective(found.embeddings, found.labels, *vectors, **options)

    return loss


def _scored(objective: Callable[..., Losses]) -> Function:
    """Return a function of pairs with a score."""

    def loss(found: Encoded, vectors: Sequence[Tensor], options: Options) -> Losses:
        del vectors
        assert found.scores is not None
        return objective(*found.members, found.scores, **options)

    return loss


def _info_nce(found: Encoded, vectors: Sequence[Tensor], options: Options) -> Losses:
    del vectors
    # an anchor's other positives are not its negatives
    return info_nce(*found.members, ids=found.items[0], **options)


def _n_pair(found: Encoded, vectors: Sequence[Tensor], options: Options) -> Losses:
    del vectors
    return n_pair(*found.members, ids=found.items[0], **options)


def _triplet(found: Encoded, vectors: Sequence[Tensor], options: Options) -> Losses:
    del vectors
    if found.labels is None:
        return triplet_margin(*found.members, **options)
    settings: dict[str, Any] = {"mining": "semi_hard", "seed": found.seed, **options}
    return triplet(found.embeddings, found.labels, **settings)


def _contrastive(found: Encoded, vectors: Sequence[Tensor], options: Options) -> Losses:
    if found.labels is not None:
        return contrastive_all_pairs(found.embeddings, found.labels, **options)
    return _scored(contrastive)(found, vectors, options)


def _of_classes(objective: Callable[..., Losses], *options: str, is_joint: bool = False) -> Aim:
    """Return the aim of an objective that learns a vector for each class."""
    return Aim(
        ("labels",), _labelled(objective), options, is_joint=is_joint, has_classes=True, is_raw=True
    )


TEMPERATURE = ("temperature", "distance")
AIMS: dict[str, Aim] = {
    "info_nce": Aim(
        ("pairs", "triplets"),
        _info_nce,
        (*TEMPERATURE, "symmetric", "guard"),
        has_temperature=True,
    ),
    "n_pair": Aim(("pairs",), _n_pair, is_raw=True),
    "supervised_contrastive": Aim(
        ("labels",), _labelled(supervised_contrastive), TEMPERATURE, has_temperature=True
    ),
    "triplet": Aim(("labels", "triplets"), _triplet, ("margin", "distance", "mining")),
    "triplet_margin": Aim(("triplets",), _triplet, ("margin", "distance")),
    "contrastive": Aim(("binary", "labels"), _contrastive, ("margin", "distance")),
    "contrastive_all_pairs": Aim(("labels",), _contrastive, ("margin", "distance")),
    "softmax": _of_classes(softmax_loss, "scale"),
    "cosface": _of_classes(cosface, "margin", "scale"),
    "arcface": _of_classes(arcface, "margin", "scale"),
    "center": Aim(("labels",), _labelled(center), has_centers=True, is_raw=True),
    "softmax_with_center": dataclasses.replace(
        _of_classes(softmax_with_center, "center_weight", is_joint=True), has_centers=True
    ),
    "proxy_nca": _of_classes(proxy_nca, "scale"),
    "proxy_anchor": _of_classes(proxy_anchor, "margin", "scale", is_joint=True),
    "cosent": Aim(("scores", "binary"), _scored(cosent), ("scale",)),
    "cosine_regression": Aim(("scores", "binary"), _scored(cosine_regression), is_joint=False),
}
"""name in `OBJECTIVES` → how embeddings are trained by it."""
