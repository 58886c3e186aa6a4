"""Reading weights in HDF5, as Keras writes them: for the child process of `convert` alone.

A file of HDF5 may point to other files, name filters that are loaded as plugins, and hold Python
objects; only plain numbers that lie in the file itself are read. Where it holds a whole model, the
description beside the weights is left alone: Keras would build code from it.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from graft.errors import MissingExtra
from graft.weights.faults import model_error, printable

ROOT_OF_WEIGHTS = "model_weights"
BUILT_IN_FILTERS = frozenset({1, 2, 3, 4, 5, 6, 32000})
"""gzip, shuffle, checksum, szip, n-bit, scale-offset, and LZF, which h5py brings."""


def need_h5py() -> Any:
    """Return h5py.

    Raises:
        MissingExtra: it is not installed or does not import.
    """
    try:
        return import_module("h5py")
    except Exception as error:  # absent, or broken
        raise MissingExtra(
            f"weights in HDF5 need a package ({type(error).__name__}): pip install 'graft[h5]'"
        ) from None


def read_hdf5(path: Path) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Return the tensors by their path in the file, `block1/conv/kernel:0`, and what was left.

    Raises:
        ModelError: the file is damaged, or holds something else than plain numbers.
        MissingExtra: h5py is not installed.
    """
    h5py = need_h5py()
    tensors: dict[str, torch.Tensor] = {}
    dropped: list[str] = []
    try:
        with h5py.File(path, "r") as file:
            root = file.get(ROOT_OF_WEIGHTS, file)
            dropped += [name for name in file if root is not file and name != ROOT_OF_WEIGHTS]
            _collect(path, root, "", tensors, h5py)
    except (OSError, KeyError, RuntimeError, ValueError, TypeError, RecursionError) as error:
        why = printable(str(error), 60)
        raise model_error(path, f"is no HDF5 file that opens ({why}); restore the file") from None
    return tensors, dropped


def _collect(
    path: Path, group: Any, prefix: str, tensors: dict[str, torch.Tensor], h5py: Any
) -> None:
    for name in group:
        full = f"{prefix}{name}"
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise model_error(
                path, f"`{printable(full, 60)}` is a link, maybe to another file; save it again"
            )
        item = group[name]
        if isinstance(item, h5py.Group):
            if prefix.count("/") > 32:
                raise model_error(path, "is nested more than 32 deep; save it again")
            _collect(path, item, f"{full}/", tensors, h5py)
        else:
            fault = _fault(item, h5py)
            if fault:
                raise model_error(path, f"`{printable(full, 60)}` {fault}; save plain weights")
            tensors[full] = torch.from_numpy(np.array(item[()]))


def _fault(item: Any, h5py: Any) -> str:
    """Return why a dataset is not plain numbers in this file, or an empty string."""
    if not isinstance(item, h5py.Dataset):
        return "is no array"
    if item.dtype.kind not in "fiub" or item.dtype.hasobject or item.dtype.byteorder == ">":
        return f"is of dtype {item.dtype}, which is not plain numbers"
    if item.is_virtual or item.external:
        return "lies in another file"
    settings = item.id.get_create_plist()
    filters = {settings.get_filter(i)[0] for i in range(settings.get_nfilters())}
    if not filters <= BUILT_IN_FILTERS:
        return "is packed with a plugin"
    return ""
