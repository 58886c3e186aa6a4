"""Turn files of weights that can run code into safetensors, in a process that can do nothing else.

The parent never opens the foreign file. It starts the child with an empty environment and limits,
waits, checks the header of what was written against what the child says it read, and moves the
result into place.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graft.disk import fsync
from graft.errors import GraftError, InputError, MissingExtra, ModelError, StorageError
from graft.weights.answer import Answer, Refusal, read_answer
from graft.weights.door import CONVERTED, refusal
from graft.weights.faults import LONGEST_LINE, model_error, printable
from graft.weights.header import read_header

MEMORY_PER_BYTE = 10
"""Address space beyond the libraries': the file read, apart, written, and read again."""
MEMORY_AT_LEAST = 1 << 30
SECONDS_AT_LEAST = 120
BYTES_PER_SECOND = 5_000_000
"""The slowest machine that is waited for."""


@dataclass(frozen=True)
class Converted:
    """Say what `convert` wrote, and what it found and left.

    Args:
        source: the file or folder that was read.
        out: the safetensors file, or the folder with it.
        n_tensors: number of tensors.
        n_parameters: how many numbers they hold.
        size_bytes: of the safetensors.
        key: where in the file the weights lay, keys joined by `/`; empty at the top.
        prefixes: what was taken off every name.
        dropped: what held no tensors and was left, with its kind; the first 50.
        n_dropped: how many such there were.
        n_shared: tensors that shared memory with another and now have their own.
        fences: what held the child: `audit`, and `landlock` and `seccomp` where the system has
            them.
    """

    source: str
    out: str
    n_tensors: int
    n_parameters: int
    size_bytes: int
    key: str
    prefixes: tuple[str, ...]
    dropped: tuple[str, ...]
    n_dropped: int
    n_shared: int
    fences: tuple[str, ...]


def convert_files(
    sources: Sequence[Path],
    out: Path,
    *,
    key: str | None = None,
    memory_bytes: int | None = None,
) -> Converted:
    """Convert one file, or the shards of one model, to one safetensors file.

    Args:
        sources: files in a format of `graft.weights.door.CONVERTED`.
        out: the file to write; replaced whole where it exists.
        key: where in the file the weights lie, keys joined by `/`; looked for unless given.
        memory_bytes: how much the child may take beyond its libraries; by the files' size unless
            given.

    Raises:
        ModelError: a file is damaged, not safe, or too large for the child.
        MissingExtra: the format needs a package.
        StorageError: the result cannot be written.
    """
    for source in sources:
        refuse_unread(source)
    n_bytes = sum(source.stat().st_size for source in sources)
    job = {
        "sources": [str(source.resolve()) for source in sources],
        "key": key,
        "memory_bytes": memory_bytes or MEMORY_AT_LEAST + MEMORY_PER_BYTE * n_bytes,
        "seconds": SECONDS_AT_LEAST + n_bytes // BYTES_PER_SECOND,
        "largest_bytes": MEMORY_AT_LEAST + MEMORY_PER_BYTE * n_bytes,
    }
    try:
        workplace = Path(tempfile.mkdtemp(prefix=f".{out.name[:60]}.", dir=out.parent))
    except OSError as error:
        raise StorageError(
            f"{out.parent}: cannot be written ({error.strerror}); choose another --out"
        ) from None
    try:
        written = workplace / "model.safetensors"
        answer = _ask_child(sources[0], out, {**job, "out": str(written.resolve())})
        header = read_header(written)
        if answer.tensors != {name: (t.dtype, t.shape) for name, t in header.tensors.items()}:
            raise model_error(sources[0], "what was written is not what was read; report this")
        with written.open("rb") as file:
            os.fsync(file.fileno())
        # The library writes for the owner's eyes alone; a file of ours has the user's usual mode.
        usual = workplace / "usual"
        usual.touch()
        shutil.copymode(usual, written)
        written.replace(out)
    except OSError as error:
        raise StorageError(f"{out}: cannot be written ({error.strerror}); free space") from None
    finally:
        shutil.rmtree(workplace, ignore_errors=True)
    fsync(out.parent)
    return Converted(
        str(sources[0]),
        str(out),
        len(answer.tensors),
        sum(math.prod(shape) for _, shape in answer.tensors.values()),
        out.stat().st_size,
        answer.key,
        answer.prefixes,
        answer.dropped,
        answer.n_dropped,
        answer.n_shared,
        answer.fences,
    )


def refuse_unread(source: Path) -> None:
    """Refuse what no reader of the child reads.

    Raises:
        InputError: it is absent, or safetensors already.
        ModelError: its format is never read.
    """
    if not source.is_file():
        raise InputError(f"{source}: no such file; point at a file of weights")
    ending = source.suffix.lower()
    if ending == ".safetensors":
        raise model_error(source, "is safetensors already; use it as it is")
    if ending not in CONVERTED:
        raise refusal(source) or model_error(
            source, f"`{ending}` is no format that convert reads; give {', '.join(CONVERTED)}"
        )


def _ask_child(source: Path, out: Path, job: dict[str, Any]) -> Answer:
    """Run the child on a job and return its answer.

    Raises:
        GraftError: the child found a fault, was ended, or says what cannot be understood.
        StorageError: it could not write the result.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-s", "-m", "graft.weights.child"],
            input=json.dumps(job),
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            env=_environment(),
            cwd=Path(job["out"]).parent,
            timeout=2 * job["seconds"],
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise model_error(
            source, "took too long to read and was stopped; do not trust it"
        ) from None
    lines = done.stdout.splitlines()
    try:
        answer = read_answer(lines[-1] if lines else "")
    except ValueError as error:
        why = how_it_ended(done.returncode, job["memory_bytes"])
        if lines and done.returncode == 0:
            what = printable(str(error), 60)
            why = f"the child process gave no answer of ours ({what}); do not trust this file"
        raise model_error(source, why) from None
    if isinstance(answer, Refusal):
        raise _fault(source, out, answer, job["memory_bytes"])
    return answer


def _fault(source: Path, out: Path, answer: Refusal, memory_bytes: int) -> GraftError:
    """Return the error for what the child says went wrong."""
    kinds: dict[str, type[GraftError]] = {"ModelError": ModelError, "MissingExtra": MissingExtra}
    if answer.kind in kinds:
        return kinds[answer.kind](printable(answer.error, LONGEST_LINE))
    if answer.kind == "MemoryError":
        return model_error(source, _too_much_memory(memory_bytes))
    if answer.kind == "StorageError":
        why = os.strerror(answer.errno)
        return StorageError(f"{out}: cannot be written ({why}); free space or choose another --out")
    return model_error(source, f"cannot be converted ({answer.error[:90]}); restore the file")


def how_it_ended(returncode: int, memory_bytes: int) -> str:
    """Return why a child that said nothing has ended, and what to do.

    >>> how_it_ended(-9, 0)
    'the child process was killed by the system: memory; free memory and try again'
    """
    if returncode == -signal.SIGKILL:
        return "the child process was killed by the system: memory; free memory and try again"
    if returncode == -getattr(signal, "SIGXCPU", 0):
        return "the child process was killed by the system: processor time; do not trust this file"
    if returncode == -signal.SIGABRT:
        return _too_much_memory(memory_bytes)
    if returncode < 0:
        name = signal.Signals(-returncode).name
        return f"the child process was killed by the system: {name}; do not trust this file"
    return "the child process ended without an answer; report this"


def _too_much_memory(memory_bytes: int) -> str:
    return (
        f"wants more memory than {memory_bytes / 1e9:.1f} GB; pass --memory, or do not trust this "
        "file"
    )


def _environment() -> dict[str, str]:
    """Return the little that the child must know: no home, no proxies, no keys."""
    kept = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "LANG")
    return {
        **{name: os.environ[name] for name in kept if name in os.environ},
        "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
        "OMP_NUM_THREADS": "1",
        "HDF5_PLUGIN_PATH": "",
        "TORCH_CPP_LOG_LEVEL": "ERROR",
    }
