"""Files that would leave a trace if anything in them were ever run."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch


class Evil:
    """Touches a file when it is unpickled."""

    def __init__(self, sentinel: Path) -> None:
        self.sentinel = sentinel

    def __reduce__(self) -> Any:
        return Path.touch, (self.sentinel,)


def write_zip(path: Path, sentinel: Path) -> None:
    torch.save({"weight": torch.ones(2), "more": Evil(sentinel)}, path)


def write_row(path: Path, sentinel: Path) -> None:
    what = {"weight": torch.ones(2), "more": Evil(sentinel)}
    torch.save(what, path, _use_new_zipfile_serialization=False)


def write_pickle(path: Path, sentinel: Path) -> None:
    path.write_bytes(pickle.dumps({"weight": Evil(sentinel)}))


def write_npy(path: Path, sentinel: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.array([Evil(sentinel)], dtype=object), allow_pickle=True)


WRITERS = {"zip": write_zip, "row": write_row, "pickle": write_pickle, "npy": write_npy}
