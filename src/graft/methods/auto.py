"""Which method to take where the user leaves the choice open: rules of thumb, written out.

They look at the size of the data and at how far a head on frozen features comes in
cross-validation on training rows; never at test rows, and never at a clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from graft.methods.body import full, lp_ft
from graft.methods.heads import probe
from graft.methods.plan import Plan

FEWEST_ROWS = 64
FEWEST_ROWS_PER_CLASS = 8
NEARLY_ALL = 0.99
"""A head that gets so much right leaves a body little to learn."""
NOTHING = 0.02
"""Features that explain less of the loss know nothing of the task."""
ROWS_TO_TEACH = 1000
"""Fewer rows cannot teach a body what its features do not know."""


@dataclass(frozen=True)
class Look:
    """Hold what is seen of the data before a method is chosen.

    Args:
        n_rows: training rows.
        n_classes: classes or labels; 0 where a number is predicted.
        rows_of_median: training rows of the class in the middle, by size.
        score: share of held-out rows (of labels, where there are several) that a head on frozen
            features gets right; of a number, the share of its variance that is explained.
        explained: share of the held-out loss that the features take away, of what there is when
            every answer is the classes' shares, or the mean.
    """

    n_rows: int
    n_classes: int
    rows_of_median: float
    score: float
    explained: float


@dataclass(frozen=True)
class Choice:
    """A method, and in one sentence why."""

    method: str
    because: str


def decide(look: Look) -> Choice:
    """Choose a method.

    >>> decide(Look(40, 4, 10.0, 0.8, 0.5)).method, decide(Look(4000, 4, 1000.0, 0.8, 0.5)).method
    ('probe', 'lp-ft')
    """
    seen = f"a head on frozen features gets {look.score:.3f} in cross-validation"
    if not look.n_classes:
        seen = f"a head on frozen features explains {look.score:.3f} of the variance"
    rows = f"{look.n_rows:,} training rows"
    if look.n_rows < FEWEST_ROWS:
        return Choice("probe", f"{rows} are too few to move a body by; {seen}")
    if look.n_classes and look.rows_of_median < FEWEST_ROWS_PER_CLASS:
        few = f"{look.rows_of_median:g} rows of a typical class"
        return Choice("probe", f"{few} are too few to move a body by; {seen}")
    if look.score >= NEARLY_ALL:
        return Choice("probe", f"{seen}, which leaves a body little to learn")
    if look.explained < NOTHING:
        nothing = f"{seen}, which is what no features at all would get"
        if look.n_rows < ROWS_TO_TEACH:
            return Choice("probe", f"{nothing}, and {rows} are too few to teach a body more")
        return Choice("full", f"{nothing}: the body has to learn what matters here")
    return Choice("lp-ft", f"{seen} and {rows} are enough to move the body from there")


METHODS_CHOSEN = {"probe": probe, "lp-ft": lp_ft, "full": full}


def auto(n_blocks: int = 0, *, look: Look | None = None, **options: Any) -> Plan:
    """Plan by the method that `decide` chooses; lp-ft where nothing was looked at."""
    method = "lp-ft" if look is None else decide(look).method
    return METHODS_CHOSEN[method](n_blocks, **options)
