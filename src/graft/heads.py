"""Heads: the layers from features to a task's output.

A head is always *replaced*, never stacked on an old one. Each reads one field of `Features`.
`linear` is the one that the convex phase can solve exactly.

Shapes: N examples, D feature width, C outputs.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from graft.errors import InputError, UnknownName
from graft.features import Features


class Linear(nn.Module):
    """Map pooled features to C outputs: `x W^T + b`, weight (C, D), bias (C,)."""

    def __init__(self, width: int, n_outputs: int) -> None:
        super().__init__()
        self.out = nn.Linear(width, n_outputs)
        nn.init.zeros_(self.out.bias)
        nn.init.normal_(self.out.weight, std=0.02)

    def forward(self, features: Features) -> Tensor:
        assert features.pooled is not None, "this head reads pooled features"
        return self.out(features.pooled)


class MLP(nn.Module):
    """Map pooled features through one hidden layer with GELU and dropout to C outputs."""

    def __init__(self, width: int, n_outputs: int, n_hidden: int = 256, dropout: float = 0.1):
        super().__init__()
        self.hidden = nn.Linear(width, n_hidden)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(n_hidden, n_outputs)

    def forward(self, features: Features) -> Tensor:
        assert features.pooled is not None, "this head reads pooled features"
        return self.out(self.dropout(functional.gelu(self.hidden(features.pooled))))


class Cosine(nn.Module):
    """Score each class by cosine similarity to its direction, times a learned scale.

    Source: Gidaris and Komodakis 2018, "Dynamic Few-Shot Visual Learning without Forgetting",
    equation 2; the scale starts at 10 as there.
    """

    def __init__(self, width: int, n_outputs: int, scale: float = 10.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_outputs, width))
        self.scale = nn.Parameter(torch.tensor(scale))
        nn.init.normal_(self.weight, std=width**-0.5)

    def forward(self, features: Features) -> Tensor:
        assert features.pooled is not None, "this head reads pooled features"
        x = functional.normalize(features.pooled, dim=-1)
        return self.scale * functional.linear(x, functional.normalize(self.weight, dim=-1))


class Pooled(nn.Module):
    """Give the pooled features (N, D) as they are: the embedding is the backbone's own."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, features: Features) -> Tensor:
        assert features.pooled is not None, "this head reads pooled features"
        return features.pooled


class Projection(nn.Module):
    """Project pooled features linearly to embeddings of another width: `x W^T`, weight (E, D).

    The rows of W begin orthonormal (the columns where E > D), so distances begin nearly as the
    features have them.
    """

    def __init__(self, width: int, n_outputs: int) -> None:
        super().__init__()
        self.width = n_outputs
        self.out = nn.Linear(width, n_outputs, bias=False)
        nn.init.orthogonal_(self.out.weight)

    def forward(self, features: Features) -> Tensor:
        assert features.pooled is not None, "this head reads pooled features"
        return self.out(features.pooled)


def embedding_head(spec: str, width: int) -> Pooled | Projection:
    """Build the head of an embedding model: `pooled`, or `projection:128`.

    Raises:
        InputError: it is neither.
    """
    name, _, number = spec.partition(":")
    if name == "pooled" and not number:
        return Pooled(width)
    if name == "projection" and number.isdecimal() and int(number):
        return Projection(width, int(number))
    raise InputError(
        f"head `{spec}`: an embedding has the head `pooled`, or `projection:128` for 128 numbers"
    )


class ZeroShot(nn.Module):
    """Score each class by a linear layer on projected features of length one.

    With the vectors of class names for weights it answers as two towers do; the length is kept at
    one, so training begins exactly there.

    Args:
        width: D of the features.
        n_outputs: C.
        n_joint: E of the space of pictures and texts; None where the features lie in it already.

    Source: Wortsman et al. 2022, "Robust fine-tuning of zero-shot models", section 2.
    """

    def __init__(self, width: int, n_outputs: int, n_joint: int | None = None) -> None:
        super().__init__()
        self.project = Pooled(width) if n_joint is None else Projection(width, n_joint)
        self.out = nn.Linear(self.project.width, n_outputs)
        nn.init.zeros_(self.out.bias)
        nn.init.normal_(self.out.weight, std=0.02)

    def forward(self, features: Features) -> Tensor:
        return self.out(functional.normalize(self.project(features), dim=-1))


HEADS: dict[str, tuple[Callable[..., nn.Module], str]] = {
    "linear": (Linear, "one linear layer on pooled features; the convex phase solves it exactly"),
    "mlp": (MLP, "one hidden layer with GELU and dropout; mlp:256 sets its width"),
    "cosine": (Cosine, "cosine similarity to a learned direction per class, times a scale"),
    "zero-shot": (ZeroShot, "linear in the space of two towers; --init-head zero-shot fills it"),
}


def head(spec: str, width: int, n_outputs: int) -> nn.Module:
    """Build the head that `spec` names: `linear`, `mlp`, `mlp:256` or `cosine`.

    Args:
        spec: name, and for `mlp` optionally a colon and the number of hidden units.
        width: D, width of the pooled features.
        n_outputs: C.

    Raises:
        UnknownName: no such head.
        InputError: the part after the colon is no positive number, or this head takes none.
    """
    name, _, option = spec.partition(":")
    if name not in HEADS:
        raise UnknownName("head", name, HEADS)
    build = HEADS[name][0]
    if not option:
        return build(width, n_outputs)
    if name not in ("mlp", "zero-shot") or not option.isdecimal() or int(option) == 0:
        raise InputError(f"head `{spec}`: write `mlp:256` for an MLP with 256 hidden units")
    return build(width, n_outputs, int(option))
