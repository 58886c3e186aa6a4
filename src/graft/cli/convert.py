"""`graft convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def convert(
    source: Path,
    /,
    *,
    out: Path | None = None,
    key: str | None = None,
    memory: float | None = None,
    quiet: bool = False,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """Turn weights that can run code when they are read into safetensors.

    The file is looked at before anything of it is loaded, and read in a process of its own that has
    no network, cannot start programs, and can write nothing but the result. Only tensors come out.

    Examples:
        graft convert net.pth

        graft convert old-bert/ --out bert/

    Parameters
    ----------
    source
        A file .pt, .pth, .bin, .ckpt or .h5, or a model's folder with such weights.
    out
        The .safetensors file, or the folder, to write; beside the source unless given.
    key
        Where in the file the weights lie, keys joined by `/`, where that is not found.
    memory
        Gigabytes that the child process may take beyond its libraries; by the file unless given.
    quiet
        Print nothing.
    as_json
        Print what was written and what was left as JSON.
    """
    from graft.api.converting import convert as convert_weights
    from graft.cli.show import console
    from graft.serial import to_json
    from graft.weights.faults import printable
    from graft.wording import human_bytes

    found = convert_weights(
        source, out, key=key, memory_bytes=None if memory is None else round(memory * 1e9)
    )
    if as_json:
        print(to_json(found))
        return
    if quiet:
        return
    say = [f"{found.out}  {found.n_tensors:,} tensors, {human_bytes(found.size_bytes)}"]
    if found.key:
        say.append(f"found under `{printable(found.key, 80)}`")
    say += [f"took `{printable(prefix, 80)}` off every name" for prefix in found.prefixes]
    if found.n_shared:
        say.append(f"{found.n_shared:,} tensors shared memory with another: each has its own now")
    if found.n_dropped:
        some = ", ".join(printable(name, 80) for name in found.dropped[:5])
        some += ", …" if found.n_dropped > 5 else ""
        say.append(f"left {found.n_dropped:,} entries that are not of the weights: {some}")
    say.append(f"fences around the reader: {', '.join(found.fences)}")
    if set(found.fences) <= {"audit"}:
        say.append("no fence of the kernel stood, so native code was not held: trust the source")
    for line in say:
        console.print(line, markup=False, soft_wrap=True)
