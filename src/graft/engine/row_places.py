"""Does what is computed for a row depend on where in its group the row stands?

It must not, for a state from a store to equal one that is computed for the batch at hand bit for
bit: the batch has the row in another place. Kernels of matrix products treat all rows of a group
alike where a row's numbers are a multiple of four, which begin every row at an address of the same
kind; of others some add in another order. That is the kernels' affair: it is looked at and said.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import nn

from graft.engine.prefix import compute_group
from graft.engine.replay import Replay, Run, evaluating
from graft.engine.row_groups import RowGroups
from graft.engine.store import RowStore
from graft.engine.views import n_numbers
from graft.tasks.task import Stream

NOTE = (
    "what this network computes for a row depends on its place among others by rounding "
    "({difference:.0e}): with stores and without, results agree to rounding, not bit for bit"
)


def difference_by_place(
    model: nn.Module, replay: Replay, run: Run, stream: Stream, store: RowStore
) -> float:
    """Return by how much the states of a group's rows change where they stand in reverse.

    Args:
        stream: its first group is computed once more, backwards.
        store: holds what was computed of it.
    """
    first = RowGroups(stream).of(np.arange(n_numbers(stream)))[0]
    turned = replace(first, rows=first.rows[::-1].copy())
    with evaluating(model):
        [back] = compute_group(model, [replay], run, stream, turned)
    most = 0.0
    for ours, theirs in zip(store.read(first.rows), back, strict=True):
        for one, there in zip(ours, theirs[::-1], strict=True):
            other = there.cpu()
            if one.is_floating_point() and not torch.equal(one, other):
                most = max(most, float((one.double() - other.double()).abs().max()))
    return most
