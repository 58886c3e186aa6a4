"""LoRA: a product of two thin matrices beside every matrix of the blocks.

    W x + (α / r) B A x        (Hu et al. 2022, equation 3)

A begins random and B with zeros. Beside a convolution A is one of the same kernel with r outputs,
and B is 1×1. Both fold into W. The names and shapes of A and B are those of the `peft` library,
which opens what we save.

Shapes: W (O, I), A (r, I), B (O, r); or W (O, I, k, k), A (r, I, k, k), B (O, r, 1, 1).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from graft.errors import InputError
from graft.surgery.inserting import Folding, Site
from graft.surgery.watching import watch


@dataclass(frozen=True)
class LoRA:
    """Insert low-rank matrices beside the linear layers and convolutions of the blocks.

    Grouped convolutions are left out, and what a network computes without calling a module.

    Args:
        rank: r.
        alpha: α; twice the rank unless given, whatever the rank.
    """

    rank: int = 8
    alpha: float | None = None

    name: ClassVar[str] = "lora"

    @property
    def scale(self) -> float:
        """Return α / r."""
        return 2.0 if self.alpha is None else self.alpha / self.rank

    def sites(self, net: nn.Module, blocks: Sequence[str], run: Callable[[], Any]) -> list[Site]:
        """Return the layers with a matrix that are called.

        Raises:
            InputError: no block has one.
        """
        found = [Site(c.path, c.shape[-1]) for c in watch(net, blocks, run) if _fits(c.module)]
        if not found:
            raise InputError(
                f"{type(net).__name__} calls no linear layer or ungrouped convolution in its "
                "blocks; choose another method"
            )
        return found

    def make(self, site: Site, host: nn.Module) -> LowRank:
        """Return two thin matrices for a layer."""
        return LowRank(self, site, host)


class LowRank(Folding):
    """Add `B A` of a layer's input to what it puts out."""

    def __init__(self, surgery: LoRA, site: Site, host: nn.Module) -> None:
        super().__init__(surgery, site)
        self.scale = surgery.scale
        rank = surgery.rank
        if isinstance(host, nn.Conv2d):
            self.lora_A: nn.Module = nn.Conv2d(
                host.in_channels,
                rank,
                host.kernel_size,  # type: ignore[arg-type]
                host.stride,  # type: ignore[arg-type]
                host.padding,  # type: ignore[arg-type]
                host.dilation,  # type: ignore[arg-type]
                bias=False,
                padding_mode=host.padding_mode,  # type: ignore[arg-type]
            )
            self.lora_B: nn.Module = nn.Conv2d(rank, host.out_channels, 1, bias=False)
        else:
            n_out, n_in = _matrix(host).shape
            self.lora_A = nn.Linear(n_in, rank, bias=False)
            self.lora_B = nn.Linear(rank, n_out, bias=False)
        nn.init.kaiming_uniform_(self.lora_A.weight, a=math.sqrt(5))  # type: ignore[arg-type]
        nn.init.zeros_(self.lora_B.weight)  # type: ignore[arg-type]

    def change(self, given: Tensor, output: Tensor) -> Tensor:
        """Return what the host would put out with the product added to its weights."""
        return output + self.scale * self.lora_B(self.lora_A(given))

    @property
    def is_identity(self) -> bool:
        """Whether B is zero."""
        return not self.lora_B.weight.any()  # type: ignore[operator]

    def fold(self, host: nn.Module) -> None:
        """Add the product to the layer's weights."""
        a, b = (part.weight for part in (self.lora_A, self.lora_B))
        assert isinstance(a, Tensor) and isinstance(b, Tensor)
        product = self.scale * torch.einsum("or,ri->oi", b.flatten(1), a.flatten(1))
        if isinstance(host, nn.Conv2d):
            host.weight += product.reshape(host.weight.shape)
        else:
            _matrix(host).add_(product)


def _fits(module: nn.Module) -> bool:
    if isinstance(module, nn.Conv2d):
        return module.groups == 1 and type(module) is nn.Conv2d
    return isinstance(module, nn.Linear | Conv1D)


def _matrix(module: nn.Module) -> Tensor:
    """Return the weights (O, I) of a linear layer; GPT-2 keeps them the other way round."""
    weight = module.weight
    assert isinstance(weight, Tensor)
    return weight.T if isinstance(module, Conv1D) else weight
