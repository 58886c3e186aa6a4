"""Bottleneck adapters: two small layers with a nonlinearity, where a branch joins the stream.

    houlsby     x + up(gelu(down(x))) on the output of every branch, after attention and after
                feed-forward, before the residual is added (Houlsby et al. 2019, figure 2)
    pfeiffer    likewise, on the last branch of each block alone (Pfeiffer et al. 2021)
    parallel    beside the last branch: its input goes through down and up, and is added, times 4,
                to what the branch puts out (He et al. 2022, table 6)

`up` begins with zeros, so the network gives exactly what it gave. (Houlsby et al. begin near zero.)

Shapes: D of the stream, M inside; down (M, D), up (D, M).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from graft.errors import InputError
from graft.surgery.inserting import Inserted, Site, inserted
from graft.surgery.watching import Branch, find_branches

PARALLEL_SCALE = 4.0
Placement = Literal["houlsby", "pfeiffer", "parallel"]


@dataclass(frozen=True)
class Bottleneck:
    """Insert bottleneck adapters into the blocks of a transformer.

    Args:
        size: M.
        placement: see the module's head.
    """

    size: int = 64
    placement: Placement = "houlsby"

    name: ClassVar[str] = "bottleneck"

    def sites(self, net: nn.Module, blocks: Sequence[str], run: Callable[[], Any]) -> list[Site]:
        """Return the ends of the branches.

        Raises:
            InputError: no block has such a branch.
        """
        branches = find_branches(net, blocks, run)
        if self.placement != "houlsby":
            branches = list({branch.block: branch for branch in branches}.values())
        if not branches and any(inserted(net)):
            raise InputError(
                f"{type(net).__name__} has adapters in it already, and these find no place beside "
                "them; begin from the network without them"
            )
        if not branches:
            raise InputError(
                f"{type(net).__name__} adds no layer's output to a stream of tokens; bottleneck "
                "adapters belong into transformers: choose --method residual or lora"
            )
        return [Site(b.end, b.width, self._source(b)) for b in branches]

    def make(self, site: Site, host: nn.Module) -> BottleneckAdapter:
        """Return an adapter of the site's width."""
        del host
        return BottleneckAdapter(self, site)

    def _source(self, branch: Branch) -> str:
        return branch.start if self.placement == "parallel" else ""


class BottleneckAdapter(Inserted):
    """Add `up(gelu(down(·)))` to what a branch puts out."""

    def __init__(self, surgery: Bottleneck, site: Site) -> None:
        super().__init__(surgery, site)
        self.down = nn.Linear(site.width, surgery.size)
        self.up = nn.Linear(surgery.size, site.width)
        nn.init.trunc_normal_(self.down.weight, std=0.02)
        nn.init.zeros_(self.down.bias)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)
        self.is_parallel = surgery.placement == "parallel"

    def change(self, given: Tensor, output: Tensor) -> Tensor:
        """Return (…, D)."""
        if self.is_parallel:
            return output + PARALLEL_SCALE * self.up(F.gelu(self.down(given)))
        return output + self.up(F.gelu(self.down(output)))

    @property
    def is_identity(self) -> bool:
        """Whether `up` is zero."""
        return not (self.up.weight.any() or self.up.bias.any())
