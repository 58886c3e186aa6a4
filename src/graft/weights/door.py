"""The door: formats that can run code when they are read, and what to do with such a file."""

from __future__ import annotations

from pathlib import Path

from graft.errors import ModelError
from graft.weights.faults import model_error

CONVERTED = (".pt", ".pth", ".bin", ".ckpt", ".h5", ".hdf5")
"""What `graft convert` reads, in a process of its own."""
NEVER_READ = (".pkl", ".pickle", ".joblib", ".dill", ".skops", ".keras", ".msgpack")
"""What it does not read either."""


def refusal(path: Path) -> ModelError | None:
    """Return the error for a file of weights that is never opened here, or None.

    >>> str(refusal(Path("net.pt")))
    'net.pt: this format can run code when it is read; run `graft convert net.pt`'
    """
    ending = path.suffix.lower()
    if ending in CONVERTED:
        return model_error(
            path, f"this format can run code when it is read; run `graft convert {path.name}`"
        )
    if ending in NEVER_READ:
        return model_error(
            path,
            "this format can run code and is never read; save the weights with safetensors where "
            "they were made",
        )
    return None


def refuse_folder_without(path: Path, wanted: str) -> None:
    """Refuse a model's folder that has no safetensors file of the name or pattern `wanted`.

    Raises:
        ModelError: names `graft convert` where the folder holds weights in another format.
    """
    if any(path.glob(wanted)):
        return
    others = sorted(p.name for p in path.iterdir() if p.suffix.lower() in CONVERTED)
    if others:
        raise model_error(
            path,
            f"no safetensors file, and {others[0]} can run code when it is read; run "
            "`graft convert` on this folder",
        )
    raise model_error(path, f"no safetensors file ({wanted}); save the model again as safetensors")
