"""The child process of `convert`: reads one job from its input, writes tensors, says what it did.

    parent ─{"sources", "out", limits}→ stdin │ child │ stdout ─{"tensors", …} or {"error"}→ parent

Everything that has to be imported is imported before the fences go up, and no byte of the foreign
file is read before they stand.
"""

from __future__ import annotations

import errno
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from graft.errors import GraftError, ModelError, StorageError
from graft.weights import keras_files, torch_files
from graft.weights.confine import confine, limit
from graft.weights.faults import model_error, printable
from graft.weights.state_dict import StateDict, find_state_dict, without_prefixes

LARGEST_GROWTH = 8
"""Tensors may share memory in a file; written apart they may take so many times its bytes."""
N_LISTED = 50


def main() -> None:
    """Do the job on standard input."""
    job = json.loads(sys.stdin.read())
    torch.set_num_threads(1)
    if any(_is_hdf5(Path(source)) for source in job["sources"]):
        keras_files.need_h5py()
    limit(memory_bytes=job["memory_bytes"], seconds=job["seconds"], file_bytes=job["largest_bytes"])
    fences = confine(Path(job["out"]).parent)
    sources = [Path(source) for source in job["sources"]]
    found = _read_all(sources, job["key"])
    _refuse_growth(sources, found.tensors)
    tensors, n_shared = _separate(sources[0], found.tensors)
    out = Path(job["out"])
    _write(out, tensors)
    answer = {
        "tensors": {name: [_dtype(t), list(t.shape)] for name, t in tensors.items()},
        "key": found.key,
        "prefixes": found.prefixes,
        "dropped": [printable(name, 80) for name in found.dropped[:N_LISTED]],
        "n_dropped": len(found.dropped),
        "n_shared": n_shared,
        "fences": fences,
    }
    _say(answer)


def _say(answer: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")


def _is_hdf5(path: Path) -> bool:
    return path.suffix.lower() in (".h5", ".hdf5")


def _read_all(sources: Sequence[Path], key: str | None) -> StateDict:
    """Read the files of one model: shards hold different names, and are wrapped as one."""
    tensors: dict[str, Tensor] = {}
    dropped: list[str] = []
    keys: list[str] = []
    for source in sources:
        part = _read(source, key)
        twice = tensors.keys() & part.tensors.keys()
        if twice:
            raise model_error(
                source, f"`{min(twice)[:60]}` is in another shard too; mend the index"
            )
        tensors |= part.tensors
        dropped += part.dropped
        keys += [part.key] if part.key and part.key not in keys else []
    return without_prefixes(StateDict(tensors, ", ".join(keys), (), tuple(dropped)))


def _read(source: Path, key: str | None) -> StateDict:
    if _is_hdf5(source):
        tensors, dropped = keras_files.read_hdf5(source)
        if not tensors:
            raise model_error(source, "holds no weights; save them with save_weights(path)")
        return StateDict(tensors, "", (), tuple(dropped))
    try:
        return find_state_dict(torch_files.read_torch(source), key)
    except ValueError as error:
        raise model_error(source, str(error)) from None


def _refuse_growth(sources: Sequence[Path], tensors: Mapping[str, Tensor]) -> None:
    """Refuse a small file whose tensors, views of few numbers, would fill a disk."""
    n_bytes = sum(t.numel() * t.element_size() for t in tensors.values())
    n_file = sum(source.stat().st_size for source in sources)
    is_packed = any(_is_hdf5(source) for source in sources)
    if n_bytes > LARGEST_GROWTH * n_file and not is_packed:
        raise model_error(
            sources[0],
            f"{n_file:,} bytes would become {n_bytes:,}; save it again with contiguous tensors",
        )


def _separate(source: Path, tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], int]:
    """Return plain tensors, each with memory of its own, and how many shared another's."""
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    n_shared = 0
    for name, tensor in tensors.items():
        is_plain = tensor.layout == torch.strided and not tensor.is_quantized
        if not is_plain or tensor.device.type != "cpu" or _word(tensor) not in DTYPES:
            raise model_error(source, f"`{name[:60]}` is no plain tensor; save it dense, as floats")
        memory = tensor.untyped_storage().data_ptr()
        is_shared = tensor.numel() > 0 and memory in seen
        n_shared += is_shared
        seen.add(memory)
        whole = tensor.detach().contiguous()
        is_part = whole.untyped_storage().nbytes() != whole.numel() * whole.element_size()
        found[name] = whole.clone() if is_shared or is_part else whole
    return found, n_shared


class _Unwritten(StorageError):
    """Report that the result could not be written, or not be read back."""

    def __init__(self, number: int) -> None:
        super().__init__(os.strerror(number))
        self.errno = number


def _write(out: Path, tensors: dict[str, Tensor]) -> None:
    """Write the tensors, and see that they were.

    Raises:
        _Unwritten: the system did not let it.
    """
    try:
        save_file(tensors, out, metadata={"format": "pt"})
        _compare(out, tensors)
    except (OSError, SafetensorError) as error:
        number = _errno(error)
        if number is None or number == errno.ENOMEM:
            raise
        raise _Unwritten(number) from None


def _errno(error: Exception) -> int | None:
    """Return the system's number for what went wrong; safetensors has it in its message alone."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    found = re.search(r"os error (\d+)", str(error))
    return int(found[1]) if found else None


def _compare(out: Path, tensors: Mapping[str, Tensor]) -> None:
    """Read back what was written and hold every byte against what was read."""
    with safe_open(out, framework="pt") as file:
        if set(file.keys()) != set(tensors):
            raise ModelError(f"{out.name}: other names were written than read; report this")
        for name, tensor in tensors.items():
            again = file.get_tensor(name)
            same = again.dtype == tensor.dtype and again.shape == tensor.shape
            if not same or not torch.equal(_raw(again), _raw(tensor)):
                raise ModelError(f"{out.name}: `{name[:60]}` was not written as read; report this")


def _raw(tensor: Tensor) -> Tensor:
    """Return a tensor's bytes: NaN is not equal to itself, its bytes are."""
    return tensor.reshape(-1).view(torch.uint8)


def _dtype(tensor: Tensor) -> str:
    """Return a dtype in the word of safetensors."""
    return DTYPES[_word(tensor)]


def _word(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


DTYPES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "bool": "BOOL",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint8": "U8",
    "uint16": "U16",
    "uint32": "U32",
    "uint64": "U64",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
}


def _run() -> int:
    try:
        main()
    except _Unwritten as error:
        _say({"error": str(error), "kind": "StorageError", "errno": error.errno})
    except GraftError as error:
        _say({"error": str(error), "kind": type(error).__name__})
    except MemoryError:
        _say({"error": "memory", "kind": "MemoryError"})
    except Exception as error:  # a damaged file may make the libraries raise anything
        is_memory = "allocate memory" in str(error) or _errno(error) == errno.ENOMEM
        kind = type(error).__name__
        said = f"{kind}: {' '.join(str(error).split())}"
        _say({"error": printable(said, 120), "kind": "MemoryError" if is_memory else kind})
    return 0


if __name__ == "__main__":
    sys.exit(_run())
