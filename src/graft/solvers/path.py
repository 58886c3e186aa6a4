"""The walk of a family down a path of penalties, from the largest, all problems in lock-step.

Each fit begins where the minima behind it point. The path ends once smaller penalties have turned
out worse, and is continued beyond either end of its grid while that end is the best.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from graft.solvers.conditioning import Conditioning
from graft.solvers.family import Family
from graft.solvers.held_out import HeldOut, score
from graft.solvers.newton import Minimum, minimise

MAX_EXTENSIONS = 9  # steps of the grid: three decades of the default one
MAX_BEHIND = 3  # minima of the path through which the next start is laid
MOST_SHARES = 8  # of minima behind, by their size: evenly spaced ones have 7
# measured: held-out losses within 1e-3 of themselves on real features; where classes are nearly
# separable and losses small, 1.5e-3 in the median and 9e-3 at the ninth decile
PATH_TOLERANCE = 3e-3


class Walk:
    """Walk a family down a path of penalties, scoring and remembering."""

    def __init__(self, family: Family, held_out: HeldOut, patience: int | None) -> None:
        self.family = family
        self.held_out = held_out
        self.patience = patience
        self.l2s: list[float] = []
        self.losses: list[float] = []
        self.fold_losses: list[tuple[float, ...]] = []
        self.accuracies: list[float] = []
        self.starts: dict[int, tuple[Tensor, Tensor]] = {}
        self.behind: list[tuple[float, Tensor, Tensor]] = []
        self.conditioning: Conditioning | None = None
        self.converged = True
        self.n_products = 0

    @property
    def best(self) -> int:
        """Return the index of the smallest loss, of the largest penalty among equals."""
        return self.losses.index(min(self.losses))

    @property
    def has_turned(self) -> bool:
        """Whether in every fold the last two penalties were each worse than the one before."""
        if len(self.fold_losses) - 1 - self.best < 2 or len(self.fold_losses[0]) < 2:
            return False
        return all(a < b < c for a, b, c in zip(*self.fold_losses[-3:], strict=True))

    def down(self, grid: list[float]) -> None:
        """Solve along `grid` (descending) and beyond either end while that end is the best."""
        first = minimum = self._step(grid[0], None)
        for l2 in grid[1:]:
            if self.patience is not None and (
                len(self.l2s) - 1 - self.best >= self.patience or self.has_turned
            ):
                break
            minimum = self._step(l2, minimum)
        ratio = (grid[-1] / grid[0]) ** (1 / (len(grid) - 1)) if len(grid) > 1 else 0.1
        for _ in range(MAX_EXTENSIONS):
            if self.best != len(self.l2s) - 1:
                break
            minimum = self._step(self.l2s[-1] * ratio, minimum)
        self.behind = []
        for _ in range(MAX_EXTENSIONS):
            if self.best != 0:
                break
            first = self._step(self.l2s[0] / ratio, first, front=True)

    def _step(self, l2: float, near: Minimum | None, *, front: bool = False) -> Minimum:
        """Solve at `l2` from what lies before it on the path, and score the result."""
        shape = (self.family.n_problems, self.family.targets.n_classes, self.family.rows.width)
        weight = self.family.weights.new_zeros(shape)
        bias = weight.new_zeros(shape[:2])
        if self.behind:
            weight, bias = _extrapolated(self.behind, math.log(l2))
        elif near is not None:
            weight, bias = near.point.weight, near.point.bias
        minimum = minimise(
            self.family, weight, bias, l2=l2, tolerance=PATH_TOLERANCE, max_iterations=100,
            warm=None if near is None else near.conditioning, rough=True,
        )  # fmt: skip
        point = minimum.point
        fold_losses, mean, accuracy = score(self.family, self.held_out, minimum)
        place = 0 if front else len(self.l2s)
        self.l2s.insert(place, l2)
        self.losses.insert(place, mean)
        self.fold_losses.insert(place, fold_losses)
        self.accuracies.insert(place, accuracy)
        if front:
            self.starts = {i + 1: start for i, start in self.starts.items()}
        else:
            self.behind = [*self.behind, (math.log(l2), point.weight, point.bias)][-MAX_BEHIND:]
        if self.best == place:
            self.starts = {place: (point.weight, point.bias)}
            self.conditioning = minimum.conditioning
        self.converged &= bool(minimum.converged.all())
        self.n_products += minimum.n_products
        return minimum


def _extrapolated(
    behind: Sequence[tuple[float, Tensor, Tensor]], place: float
) -> tuple[Tensor, Tensor]:
    """Return weight and bias at the log of a penalty: the path is smooth in it.

    The polynomial through the minima behind; no further ahead than these lie apart, and through
    fewer of them where they lie so unevenly that it would magnify what they are off by.
    """
    logs = [log for log, _, _ in behind]
    if len(logs) > 1:
        place = max(place, 2 * logs[-1] - logs[-2])
    shares = [
        math.prod((place - other) / (log - other) for other in logs if other != log) for log in logs
    ]
    if len(behind) > 1 and (sum(map(abs, shares)) > MOST_SHARES or len(set(logs)) < len(logs)):
        return _extrapolated(behind[1:], place)
    weight, bias = (
        torch.stack([share * b[i] for share, b in zip(shares, behind, strict=True)]).sum(0)  # type: ignore[operator]
        for i in (1, 2)
    )
    return weight, bias
