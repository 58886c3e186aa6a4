"""Reading what `torch.save` wrote, after looking at it: for the child process of `convert` alone.

Two forms are read: the zip archive that torch writes since 1.6, and the row of pickles before that.
Archives of TorchScript hold code, tar files and plain pickles hold anything, and are refused.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import torch

from graft.errors import ModelError
from graft.weights.faults import model_error, printable
from graft.weights.opcodes import fault_of

OLDEST_TORCH = (2, 10)
"""Older releases have known ways around their restricted reader."""
MAGIC = b"\x8a\x0a" + (0x1950A86A20F9469CFC6C).to_bytes(10, "little")
"""How the older form begins, behind the pickle's protocol: an integer of ten bytes."""
N_PICKLES_BEFORE_1_6 = 5
"""Magic number, protocol, the system's facts, the object, the storages' names."""
MEND = "where it was made, save torch.save(net.state_dict(), path) or use safetensors"


def read_torch(path: Path) -> Any:
    """Return the object in a file of `torch.save`: tensors, ordered dictionaries and plain values.

    Raises:
        ModelError: the file holds, or might do, anything else.
    """
    if tuple(int(part) for part in torch.__version__.split(".")[:2]) < OLDEST_TORCH:
        raise ModelError(f"torch {torch.__version__} has unsafe readers; pip install 'torch>=2.10'")
    with path.open("rb") as file:
        start = file.read(4)
        file.seek(0)
        pickles = _of_zip(path, file) if start == b"PK\x03\x04" else _of_row(path, file)
        for pickled in pickles:
            fault = fault_of(pickled)
            if fault is not None:
                raise model_error(path, f"{printable(fault, 90)}; {MEND}")
        file.seek(0)
        try:
            return torch.load(file, map_location="cpu", weights_only=True)
        except MemoryError:
            raise
        except Exception as error:  # whatever a damaged file makes it raise
            if "allocate memory" in str(error):  # torch has no error of its own for that
                raise MemoryError from None
            why = printable(" ".join(str(error).split()) or type(error).__name__, 60)
            raise model_error(path, f"does not open ({why}); restore the file") from None


def _of_zip(path: Path, file: IO[bytes]) -> Iterator[IO[bytes]]:
    """Yield the pickle of an archive, as torch's reader and as Python's see it."""
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            names = [member.filename for member in members]
            if any(name.endswith("constants.pkl") or "/code/" in name for name in names):
                raise model_error(path, f"is TorchScript, which holds code; {MEND}")
            if any(m.compress_type != zipfile.ZIP_STORED for m in members):
                raise model_error(path, f"is a packed archive, which torch never writes; {MEND}")
            pickled = [name for name in names if name.endswith(".pkl")]
            if len(pickled) != 1 or len(names) != len(set(names)):
                raise model_error(path, f"is no archive of one state dict; {MEND}")
            by_python = archive.read(pickled[0])
        file.seek(0)
        # Two readers of archives may disagree on what a crafted one holds.
        by_torch = torch._C.PyTorchFileReader(file).get_record("data.pkl")
    except (zipfile.BadZipFile, RuntimeError, EOFError, ValueError, NotImplementedError) as error:
        why = printable(str(error).splitlines()[0] if str(error) else type(error).__name__, 60)
        raise model_error(path, f"is a damaged archive ({why}); restore the file") from None
    if by_python != by_torch:
        raise model_error(path, "is an archive with two faces; do not trust its source")
    yield io.BytesIO(by_torch)


def _of_row(path: Path, file: IO[bytes]) -> Iterator[IO[bytes]]:
    """Yield the file once for each pickle of the old form, each time behind the one before."""
    start = file.read(2 + len(MAGIC))
    file.seek(0)
    if start[2:] != MAGIC:
        raise model_error(path, f"is neither an archive of torch nor its older form; {MEND}")
    for _ in range(N_PICKLES_BEFORE_1_6):
        yield file
