"""From what a user names to the candidates: one by one, from a folder, or from a list."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

from graft.backbones import is_folder
from graft.backbones.backbone import Backbone
from graft.data.faults import listed
from graft.errors import InputError

Candidate: TypeAlias = "str | Backbone"
"""A name or folder as `open_backbone` takes it, or a backbone declared in Python."""

MARKS = ("config.json", "modules.json", "graft.json", "record.json")
"""Files of which a folder has one if it is itself a model or a run."""


def candidates(models: str | Path | Iterable[str | Path | Backbone]) -> tuple[Candidate, ...]:
    """Return the candidates, each once, in the order in which they are named.

    Args:
        models: names with commas between them; a folder of model folders; a `.txt` file with a name
            on each line and comments after `#`, whose relative folders are looked for beside it
            too; or a sequence of names and backbones.

    Raises:
        InputError: no model is named, or the list is not there.
    """
    if not isinstance(models, str | Path):
        named = [m if isinstance(m, Backbone) else str(m) for m in models]
    elif Path(models).suffix == ".txt":
        named = _of_list(Path(models))
    elif str(models) and is_folder(Path(models)):
        named = [str(models)] if _is_model(Path(models)) else _of_folder(Path(models))
    else:
        named = [name.strip() for name in str(models).split(",")]
    found = tuple(dict.fromkeys(name for name in named if name))
    if not found:
        raise InputError(
            "no model is named; pass --models with names, a folder of models, or a .txt list"
        )
    return found


def name_of(candidate: Candidate) -> str:
    """Return what a candidate is called."""
    return candidate.origin.name if isinstance(candidate, Backbone) else candidate


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Return name → the end of it that no other shares: folders by their last parts.

    >>> short_names(["/a/b/c", "/a/d/c", "timm:x"])
    {'/a/b/c': 'b/c', '/a/d/c': 'd/c', 'timm:x': 'timm:x'}
    """
    names = list(names)
    found = {}
    for name in names:
        parts = Path(name).parts
        tails = ["/".join(parts[-n:]) for n in range(1, len(parts) + 1)]
        is_alone = (t for t in tails if sum(f"/{m}".endswith(f"/{t}") for m in names) == 1)
        found[name] = next(is_alone, name)
    return found


def trained_on(name: str) -> str:
    """Return the hash of the table that a run was trained on; empty where there is no run."""
    folder = Path(name).parent if Path(name).name == "model" else Path(name)
    try:
        record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    return record.get("data_hash", "") if isinstance(record, dict) else ""


def _of_list(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: cannot be read as a list of models ({type(error).__name__}); correct --models"
        ) from None
    names = [line.partition("#")[0].strip() for line in lines]
    return [_beside(name, path.parent) for name in names if name]


def _beside(name: str, folder: Path) -> str:
    """Return the name, or the folder of that name beside the list where there is none from here."""
    return str(folder / name) if not Path(name).exists() and (folder / name).exists() else name


def _of_folder(folder: Path) -> list[str]:
    found = [p for p in sorted(folder.iterdir()) if p.is_dir() and not p.name.startswith(".")]
    if not found:
        inside = [p.name for p in sorted(folder.iterdir())]
        holds = f"it holds {listed(inside)}" if inside else "it is empty"
        raise InputError(f"{folder}: no folder of a model in it ({holds}); correct --models")
    return [str(path) for path in found]


def _is_model(folder: Path) -> bool:
    return any((folder / mark).is_file() for mark in MARKS)
