"""The store: what crosses a cut, per example, on disk, memory-mapped.

A store is a folder named by the hash of everything that its content depends on. Rows are computed
in a canonical order (by bucket, then by number), and each row's bytes depend on that row alone, so
a half-written store is completed to the very bytes that one pass would have written. The manifest
is written last; without it, `progress.json` says how far the files can be trusted.

Leaves of one shape lie in row order and open as one (N, …) array; ragged ones lie one after the
other in canonical order with an index beside them.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from graft.killpoints import fail_at
from graft.storage import storing

_WIDTH_OF = {torch.bfloat16: np.int16}
SAVE_EVERY = 64


class RowStore:
    """Hold leaves for N rows.

    Args:
        folder: of this store alone; its name is the key.
        n_rows: N.
        ragged: for each leaf the axes of a row's tensor whose size varies.
        mend: cut off, or remove, what a crash left half-written; only who holds the store's lock
            may, or another that fills it would lose its rows.
    """

    def __init__(
        self,
        folder: Path,
        n_rows: int,
        ragged: Sequence[tuple[int, ...]],
        *,
        mend: bool = True,
    ) -> None:
        self.folder = folder
        self.n_rows = n_rows
        self.leaves = [_Leaf(folder / f"leaf{i}", n_rows, axes) for i, axes in enumerate(ragged)]
        self.n_groups = 0
        manifest = _read_json(folder / "manifest.json")
        self.is_complete = manifest is not None
        state = manifest or (_read_json(folder / "progress.json") if mend else None)
        if state is not None and self._restore(state):
            return
        self.is_complete, self.n_groups = False, 0
        self.leaves = [_Leaf(folder / f"leaf{i}", n_rows, axes) for i, axes in enumerate(ragged)]
        if not mend:
            return
        with _reported(folder):
            for path in folder.iterdir() if folder.exists() else ():
                path.unlink()

    @property
    def size_bytes(self) -> int:
        """Bytes on disk."""
        return sum(p.stat().st_size for p in self.folder.iterdir()) if self.folder.exists() else 0

    def write_group(self, index: int, rows: np.ndarray, values: Sequence[Sequence[Tensor]]) -> None:
        """Append the rows of canonical group `index`; a group that is there already is skipped.

        Args:
            values: for each leaf, the rows' tensors.
        """
        if index < self.n_groups:
            return
        assert index == self.n_groups, "groups are written in canonical order"
        with _reported(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            for leaf, tensors in zip(self.leaves, values, strict=True):
                leaf.append(rows, tensors)
            self.n_groups += 1
            if self.n_groups % SAVE_EVERY == 0:
                self._save("progress.json")
        fail_at("in_store")

    def finish(self) -> None:
        """Mark the store as complete."""
        with _reported(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            fail_at("before_manifest")
            self._save("manifest.json")
            (self.folder / "progress.json").unlink(missing_ok=True)
        self.is_complete = True

    def give_up(self) -> None:
        """Remove what is written: the disk is needed for something better."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def read(self, rows: np.ndarray) -> list[list[Tensor]]:
        """Return for each leaf the tensors of the given rows."""
        return [leaf.read(rows) for leaf in self.leaves]

    def array(self, leaf: int) -> np.ndarray:
        """Return a leaf of one shape as one (N, …) array, memory-mapped unless bfloat16."""
        array, dtype = self.leaves[leaf].array(), self.leaves[leaf].dtype
        if dtype in _WIDTH_OF:
            return torch.from_numpy(np.array(array)).view(dtype).float().numpy()
        return array

    def _restore(self, state: dict) -> bool:
        """Take up what a manifest or progress says; returns whether the files bear it out."""
        self.n_groups = state["n_groups"]
        return all(
            leaf.restore(kept, truncate=not self.is_complete)
            for leaf, kept in zip(self.leaves, state["leaves"], strict=True)
        )

    def _save(self, name: str) -> None:
        for leaf in self.leaves:
            leaf.flush()
        state = {"n_groups": self.n_groups, "leaves": [leaf.state() for leaf in self.leaves]}
        temporary = self.folder / f"{name}.tmp"
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(state, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.folder / name)


class _Leaf:
    """One leaf's files: `.bin` with values, and for ragged ones `.idx` with offset and shape."""

    def __init__(self, path: Path, n_rows: int, ragged: tuple[int, ...]) -> None:
        self.path = path
        self.n_rows = n_rows
        self.ragged = ragged
        self.shape: list[int] = []  # of a row; -1 where it varies
        self.dtype: torch.dtype | None = None
        self.n_values = 0
        self.index: np.ndarray | None = None  # (N, 1 + ragged) offset and sizes
        self._file: np.memmap | None = None

    def state(self) -> dict:
        return {"shape": self.shape, "dtype": str(self.dtype), "n_values": self.n_values}

    def restore(self, state: dict, *, truncate: bool) -> bool:
        """Take up a saved state; returns False where the files are shorter than it says."""
        self.shape, self.n_values = state["shape"], state["n_values"]
        self.dtype = getattr(torch, state["dtype"].removeprefix("torch."), None)
        if self.dtype is None:
            return True
        n_values = self.n_values if self.ragged else self.n_rows * math.prod(self.shape)
        size = n_values * self._numpy.itemsize
        if not self._bin().is_file() or self._bin().stat().st_size < size:
            return False
        if self.ragged:
            if not self._index_path().is_file():
                return False
            flat = np.fromfile(self._index_path(), np.int64)
            if flat.size != self.n_rows * (1 + len(self.ragged)):
                return False
            self.index = flat.reshape(self.n_rows, 1 + len(self.ragged))
        if truncate:
            # what was appended after the last save is computed again
            with self._bin().open("r+b") as file:
                file.truncate(size)
        return True

    def append(self, rows: np.ndarray, tensors: Sequence[Tensor]) -> None:
        if self.dtype is None:
            first = tensors[0]
            self.dtype = first.dtype
            self.shape = [-1 if i in self.ragged else n for i, n in enumerate(first.shape)]
            if self.ragged:
                self.index = np.zeros((self.n_rows, 1 + len(self.ragged)), np.int64)
        if not self.ragged:
            size = math.prod(self.shape) * self._numpy.itemsize
            # written, not mapped: on a full disk a mapped page kills the process
            with self._sized(self.n_rows * size).open("r+b") as file:
                for row, tensor in zip(rows, tensors, strict=True):
                    file.seek(int(row) * size)
                    file.write(_to_bytes(tensor))
            self.n_values += len(rows)
            return
        assert self.index is not None
        with self._bin().open("ab") as file:
            for row, tensor in zip(rows, tensors, strict=True):
                self.index[row] = [self.n_values, *(tensor.shape[a] for a in self.ragged)]
                file.write(_to_bytes(tensor))
                self.n_values += tensor.numel()

    def flush(self) -> None:
        if self.index is not None:
            temporary = self._index_path().with_suffix(".idx.tmp")
            with temporary.open("wb") as file:
                file.write(self.index.tobytes())
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._index_path())
        if self._bin().exists():
            with self._bin().open("rb") as file:
                os.fsync(file.fileno())

    def read(self, rows: np.ndarray) -> list[Tensor]:
        if not self.ragged:
            block = torch.from_numpy(np.array(self.array()[rows]))
            return list(self._typed(block))
        assert self.index is not None
        values = self._mapped()
        found = []
        for row in rows:
            offset, *sizes = self.index[row].tolist()
            varying = iter(sizes)
            shape = [next(varying) if n < 0 else n for n in self.shape]
            n = math.prod(shape)
            piece = np.array(values[offset : offset + n]).reshape(shape)
            found.append(self._typed(torch.from_numpy(piece)))
        return found

    def array(self) -> np.ndarray:
        return self._mapped().reshape(self.n_rows, *self.shape)

    def _mapped(self) -> np.ndarray:
        if self._file is None:
            self._file = np.memmap(self._bin(), self._numpy, "r")
        return self._file

    def _sized(self, size: int) -> Path:
        """Return the values' file, made of its full size where it is not there yet."""
        if not self._bin().exists():
            with self._bin().open("wb") as file:
                file.truncate(size)
        return self._bin()

    def _typed(self, tensor: Tensor) -> Tensor:
        assert self.dtype is not None
        return tensor.view(self.dtype) if self.dtype in _WIDTH_OF else tensor

    @property
    def _numpy(self) -> np.dtype:
        assert self.dtype is not None
        return np.dtype(_WIDTH_OF.get(self.dtype) or str(self.dtype).removeprefix("torch."))

    def _bin(self) -> Path:
        return self.path.with_suffix(".bin")

    def _index_path(self) -> Path:
        return self.path.with_suffix(".idx")


def _to_bytes(tensor: Tensor) -> bytes:
    tensor = tensor.detach().cpu().contiguous()
    if tensor.dtype in _WIDTH_OF:
        tensor = tensor.view(torch.int16)
    return tensor.numpy().tobytes()


def _reported(folder: Path) -> AbstractContextManager[None]:
    """Report what the system refuses as a fault of storage."""
    return storing("the feature store", folder, "free some space, or pass --cache off")


def _read_json(path: Path) -> dict | None:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
