"""The rows of a family in parts, each a block that fits a core's cache.

In a cross-validation each row is held out of one problem and counts nothing there. Where products
are wide enough to pay for the gathering, rows of one fold form parts of their own, and the problem
that holds them out is left out of their products: of five folds a fifth of the work.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from graft.solvers.rows import Rows

LEAST_COLUMNS = 128  # of a product: below this, gathering rows costs about what it saves
MOST_PROBLEMS = 10  # beyond, little is saved, and weights are copied for each part


@dataclass(frozen=True, eq=False)
class Part:
    """Hold which rows a part has, and which problems count them.

    Args:
        rows: of the features: a slice, or (n,) int64.
        place: where what is kept of each row lies, part after part.
        absent: the problem that none of these rows counts for, if they are parted by that.
    """

    rows: slice | Tensor
    place: slice
    absent: int | None = None

    def own(self, all_problems: Tensor) -> Tensor:
        """Return those of (F, ...) that count these rows, (P, ...)."""
        if self.absent is None:
            return all_problems
        return torch.cat([all_problems[: self.absent], all_problems[self.absent + 1 :]])

    def add(self, total: Tensor, found: Tensor) -> None:
        """Add `found` (P, ...) to `total` (F, ...)."""
        if self.absent is None:
            total += found
        else:
            total[: self.absent] += found[: self.absent]
            total[self.absent + 1 :] += found[self.absent :]


def parted(rows: Rows, weights: Tensor, n_columns: int) -> tuple[Part, ...]:
    """Return all rows in parts.

    Args:
        rows: N of them.
        weights: (N, F) with which they count.
        n_columns: of a product, for all problems.
    """
    spans = list(rows.spans(n_columns))
    n_problems = weights.shape[1]
    is_wide = n_columns >= LEAST_COLUMNS
    if not is_wide or not 2 <= n_problems <= min(MOST_PROBLEMS, len(spans)):
        return tuple(Part(span, span) for span in spans)
    uncounted = weights == 0
    if not bool(uncounted.any(dim=1).all()):
        return tuple(Part(span, span) for span in spans)
    return tuple(_by_problem(spans, uncounted.to(torch.int8).argmax(dim=1), n_problems))


def _by_problem(spans: list[slice], absent: Tensor, n_problems: int) -> Iterator[Part]:
    """Yield, of so many spans at a time as there are problems, the rows absent from each.

    As many as a block or somewhat more, where folds lie so; never above two blocks.
    """
    place = 0
    n_most = 2 * (spans[0].stop - spans[0].start)
    for first in range(0, len(spans), n_problems):
        start = spans[first].start
        stop = spans[min(first + n_problems, len(spans)) - 1].stop
        for f in range(n_problems):
            held = start + torch.nonzero(absent[start:stop] == f)[:, 0]
            for rows in held.split(n_most):
                if len(rows):
                    yield Part(rows, slice(place, place + len(rows)), f)
                    place += len(rows)
