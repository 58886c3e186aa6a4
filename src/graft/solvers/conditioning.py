"""Which preconditioner serves, and for how long: it is made anew when products have cost as much.

A family begins with one covariance for all classes. Once a step of Newton's has taken about as many
products as the blocks of all classes would cost, it goes on with these, and back should they shrink
what is unsolved by less; each is tried again where it beats the other's last rate. Costs are
counted in operations, so no clock decides.
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

SOONER = 2  # blocks are made at a step that takes this much less than they cost: more will follow
TELLING = 3  # products of a step that show at which rate they shrink the rest
LONGER = 6  # and serve this much longer than what they cost, since they change slowly


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
        reach: how much longer the way to the minimum has been than it looks by this one.
        rate: at which each product shrank the squared residual in the last telling step, e-fold.
        rival: the last rate of the other kind, basis or blocks, where it has been tried.
    """

    made: Basis | Blocks
    n_since: int = 0
    n_last: int = 0
    reach: float = 1.0
    rate: float = math.inf
    rival: float = math.inf

    def after(self, n_products: int, rate: float, reach: float) -> Conditioning:
        """Return it after a step of so many products, and what they have shown."""
        return replace(
            self, n_since=self.n_since + n_products, n_last=n_products, reach=reach,
            rate=rate if n_products >= TELLING else self.rate,
        )  # fmt: skip

    def renewed(self, family: Family, point: Point, *, l2: float) -> Conditioning:
        """Return it, or a new one of `point` where its products have cost as much."""
        product = 4.0 * family.rows.n_rows * family.rows.width * family.n_columns
        if isinstance(self.made, Basis):
            if self.rate < self.rival:
                new = self._blocks(family, point, SOONER * self.n_last * product, l2)
                if new:
                    return replace(new, rival=self.rate)
            is_worn = self.n_since * product > decompose_cost(family.rows)
            return replace(begin(family, point), rival=self.rival) if is_worn else self
        holds = self.made.holds(l2)
        if self.rate < self.rival / 2:
            return replace(begin(family, point), rival=self.rate)
        spent = self.n_since * product / LONGER if holds else math.inf
        new = self._blocks(family, point, spent, l2)
        if new:
            return replace(new, rival=self.rival)
        return self if holds else begin(family, point)

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
