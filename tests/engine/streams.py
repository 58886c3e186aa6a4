"""Streams for tests: rows are pure functions of their number, lengths are ragged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from graft.batch import Batch
from tests.zoo import Specimen, row_alone

N_CLASSES = 3


class ArrayStream:
    """Feed arrays of one shape (N, …) by name."""

    lengths = None
    groups = None

    def __init__(
        self, inputs: Mapping[str, Tensor], targets: Mapping[str, Tensor], key: str = "arrays"
    ) -> None:
        self.inputs, self.targets, self.key = dict(inputs), dict(targets), key

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    def batch(
        self, rows: np.ndarray, *, length: int | None = None, without: frozenset[str] = frozenset()
    ) -> Batch:
        chosen = torch.from_numpy(np.asarray(rows))
        inputs = {name: t[chosen] for name, t in self.inputs.items() if name not in without}
        return Batch(inputs, {name: t[chosen] for name, t in self.targets.items()}, rows)

    def bucket(self, length: int) -> int:
        return length


class SpecimenStream:
    """Feed rows of a specimen's own kind; texts and sounds are of several lengths.

    Args:
        specimen: says what a row is made of.
        n_rows: how many there are.
        first: number of the first, so that two streams can be of unlike rows.
    """

    groups = None

    def __init__(self, specimen: Specimen, n_rows: int = 20, *, first: int = 0) -> None:
        short, long = specimen.lengths
        self.key = f"{specimen.name}-{first}-{n_rows}"
        self.step = 40 if "input_values" in specimen.inputs(1, long) else 4
        spread = np.linspace(short, long, 4).astype(int).tolist()
        # the longest and the shortest are always there
        wanted = [spread[(3 * (i + first)) % 4] for i in range(n_rows)]
        self.rows = [
            row_alone(specimen.inputs(2 * (i + first) + 1, n), i + first)
            for i, n in enumerate(wanted)
        ]
        self.counted = next(
            (k for k in ("input_ids", "input_values", "decoder_input_ids") if k in self.rows[0]), ""
        )
        padded = specimen.inputs(2, long)
        self.padding = {k: v[-1].flatten()[-1].item() for k, v in padded.items()}
        self.lengths = None
        if self.counted:
            self.lengths = np.asarray([r[self.counted].shape[1] for r in self.rows], np.int64)
        sizes = {name: {row[name].shape[1:] for row in self.rows} for name in self.rows[0]}
        self.growing = {name for name, shapes in sizes.items() if len(shapes) > 1}
        self.targets = {"label": torch.arange(first, first + n_rows) % N_CLASSES}

    def __len__(self) -> int:
        return len(self.rows)

    def bucket(self, length: int) -> int:
        return -(-length // self.step) * self.step

    def batch(
        self, rows: np.ndarray, *, length: int | None = None, without: frozenset[str] = frozenset()
    ) -> Batch:
        chosen = [self.rows[int(r)] for r in rows]
        inputs: dict[str, Tensor] = {}
        for name in chosen[0].keys() - without:
            inputs[name] = self._stack(name, [row[name] for row in chosen], length)
        padded = inputs[self.counted].shape[1] if self.counted in inputs else length or 0
        index = torch.from_numpy(np.asarray(rows))
        targets = {name: t[index] for name, t in self.targets.items()}
        return Batch(inputs, targets, np.asarray(rows), padded)

    def _stack(self, name: str, rows: list[Tensor], length: int | None) -> Tensor:
        # whisper's frames and their mask are fixed in number
        is_fixed = rows[0].ndim != 2 or name not in self.growing
        if is_fixed:
            return torch.cat(rows)
        longest = max(row.shape[1] for row in rows)
        if length is not None:
            is_second = name.startswith("decoder_") and not self.counted.startswith("decoder_")
            # a target text is half as long as its source
            longest = max(longest, length // 2 + 3 if is_second else length)
        value = self.padding[name]
        return torch.cat([pad(row, (0, longest - row.shape[1]), value=value) for row in rows])


def same_bytes(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """Return the names of the tensors in which two state dicts differ."""
    assert a.keys() == b.keys()
    return [k for k in a if not torch.equal(a[k].nan_to_num(), b[k].nan_to_num())]
