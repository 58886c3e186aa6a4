"""Which preconditioner serves, and for how long: it is made anew when products have cost as much.

A family begins with one covariance for all classes. Once a step of Newton's takes more products
than the blocks of all classes would cost, it goes on with these, and back for good should they turn
out slower. Costs are counted in operations, so no clock decides.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Protocol

from torch import Tensor

from graft.solvers import blocks
from graft.solvers.basis import Basis, decompose, decompose_cost
from graft.solvers.blocks import Blocks
from graft.solvers.family import Family, Point

LONGER = 3  # blocks serve this much longer than what they cost, since they change slowly


class Inverse(Protocol):
    """Stand for the inverse of a Hessian, nearly."""

    @property
    def centre(self) -> Tensor:
        """Return what features are measured from, (D,)."""
        ...

    def apply(self, residual: Tensor) -> Tensor:
        """Return the inverse times `residual`, both (F, C, D + 1), bias about the centre."""
        ...


@dataclass(frozen=True, eq=False)
class Conditioning:
    """Hold what of a preconditioner outlives a step.

    Args:
        made: of it.
        n_since: products with the Hessian since it was made.
        n_last: of these, the products of the last step.
        rate: at which a product shrank what was unsolved in the last step that took any, e-fold.
        to_beat: the rate of the basis that blocks have replaced.
        refused: blocks were slower than that.
    """

    made: Basis | Blocks
    n_since: int = 0
    n_last: int = 0
    rate: float = math.inf
    to_beat: float = 0.0
    refused: bool = False

    def after(self, n_products: int, decrement: Tensor, left: Tensor) -> Conditioning:
        """Return it after a step.

        Args:
            n_products: of the step.
            decrement: (F,) squared, where it began.
            left: (F,) what the step leaves of it unsolved.
        """
        rate = self.rate
        if n_products:
            shrunk = (decrement / left.clamp(min=1e-300)).clamp(min=1).log()
            rate = float(shrunk.mean()) / n_products
        return replace(self, n_since=self.n_since + n_products, n_last=n_products, rate=rate)

    def renewed(self, family: Family, point: Point, *, l2: float) -> Conditioning:
        """Return it, or a new one of `point` where its products have cost as much."""
        product = 4.0 * family.rows.n_rows * family.rows.width * family.n_columns
        if isinstance(self.made, Basis):
            if not self.refused and (new := self._blocks(family, point, self.n_last * product, l2)):
                return replace(new, to_beat=self.rate)
            is_worn = self.n_since * product > decompose_cost(family.rows)
            return replace(begin(family, point), refused=self.refused) if is_worn else self
        if self.rate < self.to_beat or not self.made.holds(l2):
            return replace(begin(family, point), refused=True)
        new = self._blocks(family, point, self.n_since * product / LONGER, l2)
        return replace(new, to_beat=self.to_beat) if new else self

    def _blocks(self, family: Family, point: Point, spent: float, l2: float) -> Conditioning | None:
        """Return blocks of `point`, or None where they do not serve or cost more than was spent."""
        if not blocks.are_small(family) or spent <= blocks.least_cost(family):
            return None
        rows = blocks.active(family, point)
        if spent <= rows.cost or not rows.serves(l2):
            return None
        return Conditioning(blocks.gather(family, rows, l2=l2))


def begin(family: Family, point: Point) -> Conditioning:
    """Return the first one of a family."""
    return Conditioning(decompose(family.rows, point.row_curvature))
