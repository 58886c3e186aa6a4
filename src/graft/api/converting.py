"""Turning weights that nobody trusts into safetensors: a file, or a whole model's folder."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from graft.backbones.foreign_config import check_folder, read_json
from graft.data.files import leaves
from graft.errors import InputError, StorageError
from graft.weights.convert import Converted, convert_files, refuse_unread
from graft.weights.door import CONVERTED
from graft.weights.faults import model_error, printable

INDEX = ".index.json"
N_LISTED = 50
KEPT = ("*.json", "*.txt", "*.model", "*.jinja")
"""What stands beside the weights in a model's folder; code is left behind."""


def convert(
    source: str | Path,
    out: str | Path | None = None,
    *,
    key: str | None = None,
    memory_bytes: int | None = None,
) -> Converted:
    """Turn weights in a format that can run code into safetensors, in a confined child process.

    Args:
        source: a file `.pt`, `.pth`, `.bin`, `.ckpt` or `.h5`; or a folder of transformers or timm
            with `pytorch_model.bin` or the shards that its index lists.
        out: the file, or the folder, to write; beside the source unless given.
        key: where in the file the weights lie, keys joined by `/`; looked for unless given.
        memory_bytes: how much memory the child may take beyond its libraries.

    Raises:
        InputError: there is no such file, or `out` is taken.
        ModelError: the file is damaged, not safe, or too large for the child.
        MissingExtra: the format needs a package.
        StorageError: the result cannot be written.
    """
    source = Path(source)
    if source.is_dir():
        return _convert_folder(source, out, key, memory_bytes)
    refuse_unread(source)
    out = Path(out) if out is not None else source.with_suffix(".safetensors")
    if out.suffix != ".safetensors":
        raise InputError(f"{out}: weights are written as .safetensors; rename --out")
    if out.exists():
        raise InputError(f"{out}: is there already; remove it or choose another --out")
    return convert_files([source], out, key=key, memory_bytes=memory_bytes)


def _convert_folder(
    source: Path, out: str | Path | None, key: str | None, memory_bytes: int | None
) -> Converted:
    """Write a folder with safetensors and what stood beside the weights, whole or not at all."""
    out = Path(out) if out is not None else source.with_name(f"{source.name}-safetensors")
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file, and a folder becomes a folder; choose another --out")
    if out.resolve() == source.resolve() or (out.exists() and any(out.iterdir())):
        raise InputError(f"{out}: is there already; choose another --out")
    check_folder(source)
    shards = weights_of(source)
    unfinished = out.with_name(f".{out.name}.tmp")
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        left = [name for part in _parts(source) for name in _copy_beside(source, part, unfinished)]
        found = [
            convert_files(
                shards, unfinished / "model.safetensors", key=key, memory_bytes=memory_bytes
            )
        ]
        for part in _parts(source)[1:]:
            path = source / part / "pytorch_model.bin"
            if path.is_file():
                target = unfinished / part / "model.safetensors"
                found.append(convert_files([path], target, memory_bytes=memory_bytes))
        unfinished.replace(out)
    except OSError as error:
        raise StorageError(
            f"{out}: cannot be written ({error.strerror}); choose another --out"
        ) from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return replace(_joined(found, left), source=str(source), out=str(out))


def _joined(found: Sequence[Converted], left: Sequence[str]) -> Converted:
    """Return what was found in all parts of a model as one, and the files that were left."""
    first = found[0]
    return replace(
        first,
        n_tensors=sum(part.n_tensors for part in found),
        n_parameters=sum(part.n_parameters for part in found),
        size_bytes=sum(part.size_bytes for part in found),
        dropped=(*left, *(name for part in found for name in part.dropped))[:N_LISTED],
        n_dropped=len(left) + sum(part.n_dropped for part in found),
        n_shared=sum(part.n_shared for part in found),
        fences=tuple(f for f in first.fences if all(f in part.fences for part in found)),
    )


def _parts(source: Path) -> list[str]:
    """Return the subfolders that make up a model, itself first: sentence-transformers has some."""
    modules = read_json(source / "modules.json") if (source / "modules.json").is_file() else []
    if not isinstance(modules, list):
        raise model_error(source / "modules.json", "lists no modules; restore the file")
    named = [str(m.get("path", "")) for m in modules if isinstance(m, dict)]
    return ["", *sorted({name for name in named if name and (source / name).is_dir()})]


def _copy_beside(source: Path, part: str, out: Path) -> list[str]:
    """Copy what stands beside the weights; return the links out of the folder, which are left.

    A folder from a stranger may hold a link to a file of the user's own.
    """
    (out / part).mkdir(parents=True, exist_ok=True)
    left = []
    for pattern in KEPT:
        for path in sorted((source / part).glob(pattern)):
            if not path.is_file() or path.name.endswith(INDEX):
                continue
            if leaves(str(source), str(path.absolute())):
                left.append(f"{printable(path.name, 60)} (link out of the folder)")
            else:
                shutil.copyfile(path, out / part / path.name)
    return left


def weights_of(folder: Path) -> list[Path]:
    """Return the files of weights of a folder: the shards that an index lists, or the only one.

    Raises:
        ModelError: there are none, several, or the index lists what does not lie in the folder.
    """
    for index in sorted(folder.glob(f"*.bin{INDEX}")):
        return _shards(index)
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in CONVERTED and p.is_file())
    main = [p for p in files if p.name == "pytorch_model.bin"] or files
    if len(main) != 1:
        found = ", ".join(p.name for p in main[:3]) or "none"
        raise model_error(
            folder, f"one file of weights is wanted ({found}); point convert at the file itself"
        )
    return main


def _shards(index: Path) -> list[Path]:
    found = read_json(index)
    names = found.get("weight_map") if isinstance(found, dict) else None
    if not isinstance(names, dict) or not names:
        raise model_error(index, "lists no shards; restore the file")
    shards = [index.parent / str(name) for name in sorted({str(n) for n in names.values()})]
    for shard in shards:
        if shard.parent != index.parent or not shard.is_file():
            raise model_error(index, f"lists `{shard.name}`, which is not beside it; restore it")
    return shards
