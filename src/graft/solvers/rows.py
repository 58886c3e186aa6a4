"""Read features block by block, so that no second copy of them ever exists.

Features may be a memory map of many gigabytes. Everything in this room sees them through `Rows`:
one pass checks them, and every later pass converts a few thousand rows at a time to the float
type it needs.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from graft.errors import DataError, InputError

BLOCK_ELEMENTS = 2**18  # 1 MiB in float32: it stays in a core's cache; measured 1.5 times 2**19


@dataclass(frozen=True, eq=False)
class Rows:
    """Hold checked features with the moments of their columns.

    Args:
        features: (N, D), finite, in whatever type and on whatever device they came.
        mean: (D,) float64.
        variance: (D,) float64, with 1/N.
    """

    features: Tensor
    mean: Tensor
    variance: Tensor

    @property
    def n_rows(self) -> int:
        """Return N."""
        return self.features.shape[0]

    @property
    def width(self) -> int:
        """Return D."""
        return self.features.shape[1]

    @property
    def device(self) -> torch.device:
        """Return where the features live, and so where everything is computed."""
        return self.features.device

    def spans(self, n_columns: int = 1) -> Iterator[slice]:
        """Yield slices that cover all rows; `n_columns` is the width of what is made of a block."""
        n_block = max(256, BLOCK_ELEMENTS // max(self.width, n_columns))
        for start in range(0, self.n_rows, n_block):
            yield slice(start, min(start + n_block, self.n_rows))

    def block(self, span: slice | Tensor, dtype: torch.dtype) -> Tensor:
        """Return rows (n, D) as `dtype`: of a slice, a view if that is their own type."""
        return self.features[span].to(dtype)


def as_tensor(array: Tensor | np.ndarray) -> Tensor:
    """Return `array` as a detached tensor, without a copy where its layout allows.

    Raises:
        InputError: it is neither a tensor nor a numeric numpy array.
    """
    if isinstance(array, Tensor):
        return array.detach()
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiub":
        raise InputError(
            f"expected a torch tensor or a numeric numpy array, got {type(array).__name__}: "
            "convert it first"
        )
    if not array.dtype.isnative or any(stride < 0 for stride in array.strides):
        array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    with warnings.catch_warnings():
        # A read-only memory map draws a warning; nothing in this room writes to its input.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


def read_rows(features: Tensor | np.ndarray) -> Rows:
    """Check features in one pass and take the moments of their columns.

    Args:
        features: (N, D).

    Returns:
        The features with mean (D,) and variance (D,).

    Raises:
        InputError: not two-dimensional, or empty.
        DataError: a row has a value that is not finite; the error names the first such row.
    """
    tensor = as_tensor(features)
    if tensor.ndim != 2 or 0 in tensor.shape:
        raise InputError(f"features must have shape (N, D), not {tuple(tensor.shape)}")
    width = tensor.shape[1]
    zero = torch.zeros(width, dtype=torch.float64, device=tensor.device)
    rows = Rows(tensor, zero, zero)
    # Moments about the first row: no cancellation when the mean is large beside the spread.
    origin = rows.block(slice(0, 1), torch.float64)[0]
    total, squares = torch.zeros_like(zero), torch.zeros_like(zero)
    for span in rows.spans():
        block = rows.block(span, torch.float64)
        finite = torch.isfinite(block.sum(dim=1))
        if not bool(finite.all()):
            row = span.start + int(torch.nonzero(~finite)[0])
            raise DataError(
                "features are not finite: drop the row or repair its input", row=row + 1
            )
        block = block - origin
        total += block.sum(dim=0)
        squares += torch.linalg.vecdot(block.T, block.T)
    shift = total / rows.n_rows
    variance = (squares / rows.n_rows - shift.square()).clamp_(min=0)
    return Rows(tensor, origin + shift, variance)
