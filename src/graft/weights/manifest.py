"""The manifest of a saved model: what each of its files was when it was saved.

`manifest.json` holds size and SHA-256 of every file and, of safetensors, what each tensor was; so a
file that was swapped or damaged is not only noticed, but what differs is named. It is written last:
a folder without it was not saved to its end.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from graft.disk import sha256_of
from graft.weights.faults import model_error, printable
from graft.weights.header import read_header

NAME = "manifest.json"
FORMAT = 1
READ_BY_LIBRARIES = (".json", ".safetensors", ".model", ".jinja", ".txt")
"""Endings of files that would change how a folder opens, if somebody laid them beside ours.

`.txt` are tables of a tokenizer: vocab.txt, merges.txt.
"""


def write_manifest(folder: Path) -> None:
    """Describe every file of a model's folder but its pages of text, subfolders included."""
    described = {name: _describe(folder / name) for name in _files(folder)}
    text = json.dumps({"format": FORMAT, "files": described}, indent=1) + "\n"
    temporary = folder / f".{NAME}.tmp"
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(folder / NAME)


def check_manifest(folder: Path) -> None:
    """Refuse a folder whose files are not those that were saved.

    Raises:
        ModelError: a file is absent, changed or too many; where it holds tensors, the first tensor
            that differs is named.
    """
    expected = _read(folder / NAME)
    for name, stated in expected.items():
        path = folder / name
        if not path.is_file():
            raise model_error(path, f"is missing, but {NAME} lists it; restore the file")
        if path.stat().st_size != stated.get("size_bytes") or sha256_of(path) != stated.get(
            "sha256"
        ):
            what = _difference(path, stated)
            raise model_error(path, f"is not the file that was saved: {what}; restore the file")
    for name in _files(folder):
        if name not in expected and name.endswith(READ_BY_LIBRARIES):
            raise model_error(folder / name, f"was not saved with the model ({NAME}); remove it")


def _read(path: Path) -> Mapping[str, Any]:
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        files = manifest["files"]
        if manifest["format"] != FORMAT:
            raise model_error(path, f"format {manifest['format']} is not {FORMAT}; update graft")
        if not all(isinstance(stated, dict) and _is_inside(name) for name, stated in files.items()):
            raise ValueError
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        why = "is missing" if isinstance(error, FileNotFoundError) else "cannot be read"
        raise model_error(path, f"{why}; restore the file, or train or convert again") from None
    return files


def _is_inside(name: str) -> bool:
    path = Path(name)
    return not path.is_absolute() and ".." not in path.parts


def _files(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        is_page = path.suffix == ".md"  # people may write on it
        if path.is_file() and name != NAME and not path.name.startswith(".") and not is_page:
            yield name


def _describe(path: Path) -> dict[str, Any]:
    described: dict[str, Any] = {"size_bytes": path.stat().st_size, "sha256": sha256_of(path)}
    if path.suffix == ".safetensors":
        described["tensors"] = _tensors(path)
    return described


def _tensors(path: Path) -> dict[str, str]:
    """Return what each tensor is, `F32 (3, 4)`."""
    return {name: f"{t.dtype} {t.shape}" for name, t in read_header(path).tensors.items()}


def _difference(path: Path, stated: Mapping[str, Any]) -> str:
    """Return what differs between a file and its entry, tensors by name."""
    if "tensors" not in stated:
        return "its SHA-256 differs"
    expected, found = stated["tensors"], _tensors(path)
    for name in sorted(expected.keys() | found.keys()):
        ours, theirs = expected.get(name, "absent"), found.get(name, "absent")
        if ours != theirs:
            return f"tensor `{printable(name, 60)}` is {theirs}, not {ours}"
    return "the numbers in it differ"
