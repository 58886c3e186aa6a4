"""How a text network's tokens become one vector.

Each is a frozen value that runs the network and returns `Features`; none has parameters.
Shapes: N texts, L tokens, D width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from graft.features import Features


@dataclass(frozen=True)
class MaskedMean:
    """Average the tokens that are no padding."""

    name = "mean"

    def __call__(self, net: nn.Module, inputs: Mapping[str, Tensor]) -> Features:
        tokens, mask = _tokens(net, inputs)
        weight = mask.unsqueeze(-1).to(tokens.dtype)
        # padding may hold anything, NaN included: masked, not multiplied by zero
        total = tokens.masked_fill(~mask.unsqueeze(-1), 0).sum(1)
        return Features(total / weight.sum(1).clamp(min=1e-9), tokens, mask)


@dataclass(frozen=True)
class FirstToken:
    """Take the first token (CLS)."""

    name = "cls"

    def __call__(self, net: nn.Module, inputs: Mapping[str, Tensor]) -> Features:
        tokens, mask = _tokens(net, inputs)
        return Features(tokens[:, 0], tokens, mask)


@dataclass(frozen=True)
class LastToken:
    """Take the last token that is no padding: the one that has read all others."""

    name = "lasttoken"

    def __call__(self, net: nn.Module, inputs: Mapping[str, Tensor]) -> Features:
        tokens, mask = _tokens(net, inputs)
        last = mask.long().sum(1) - 1
        return Features(tokens[torch.arange(len(tokens)), last], tokens, mask)


@dataclass(frozen=True)
class Max:
    """Take the largest value of each feature over the tokens that are no padding."""

    name = "max"

    def __call__(self, net: nn.Module, inputs: Mapping[str, Tensor]) -> Features:
        tokens, mask = _tokens(net, inputs)
        lowest = torch.finfo(tokens.dtype).min
        return Features(tokens.masked_fill(~mask.unsqueeze(-1), lowest).amax(1), tokens, mask)


@dataclass(frozen=True)
class Native:
    """Read what the library's own classification class fed to its last linear layer.

    The layer itself is an identity in our copy of the network, so that what comes out under the
    name `logits` are the features.
    """

    name = "native"

    def __call__(self, net: nn.Module, inputs: Mapping[str, Tensor]) -> Features:
        return Features(net(**inputs).logits)


POOLINGS: dict[str, Any] = {
    "mean": MaskedMean,
    "cls": FirstToken,
    "lasttoken": LastToken,
    "max": Max,
}


def _tokens(net: nn.Module, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    tokens = net(**inputs).last_hidden_state
    return tokens, inputs["attention_mask"].bool()
