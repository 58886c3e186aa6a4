"""Reading tensors whose file was checked first, and what no network of ours may hold."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from graft.weights.faults import model_error, printable
from graft.weights.header import read_header


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file on the CPU.

    Raises:
        ModelError: the file is absent, damaged, or not exactly what its header says.
    """
    header = read_header(path)
    try:
        tensors = load_file(path)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise model_error(
            path, f"does not open ({type(error).__name__}); restore the file"
        ) from None
    wrong = {name: t for name, t in header.tensors.items() if _shape(tensors, name) != t.shape}
    if wrong or len(tensors) != len(header.tensors):
        odd = next(iter(wrong), "none")
        raise model_error(path, f"tensor `{printable(odd, 60)}` is not as stated; restore the file")
    return tensors


def refuse_not_finite(module: nn.Module, path: object) -> None:
    """Refuse a network that holds NaN anywhere or, among its parameters, an infinity.

    A buffer may hold infinities: masks of attention do.

    Raises:
        ModelError: names the first such tensor.
    """
    parameters = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    for name, tensor in module.state_dict(keep_vars=True).items():
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
            continue
        # one number tells: a sum is finite only if all are, or it overflows and all are looked at
        if torch.isfinite(tensor.detach().sum()):
            continue
        is_fine = torch.isfinite(tensor) if name in parameters else ~torch.isnan(tensor)
        if not bool(is_fine.all()):
            raise model_error(
                path, f"tensor `{printable(name, 80)}` holds NaN or infinity; restore the file"
            )


def _shape(tensors: Mapping[str, Tensor], name: str) -> tuple[int, ...] | None:
    return tuple(tensors[name].shape) if name in tensors else None
