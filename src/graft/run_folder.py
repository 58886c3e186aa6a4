"""The folder of a run: who may write into it, and what lies there.

`recipe.yaml` says what was asked, resolved; `record.json` what happened; `predictions.csv` has the
held-out rows with labels and probabilities; `skipped.csv` the rows that
could not be used, where there are some; `model/` is the artifact. `checkpoints/` is there while
the run is not finished.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from graft.errors import InputError, StorageError
from graft.records import RunRecord, plain

OURS = frozenset(
    {
        "recipe.yaml",
        "record.json",
        "metrics.jsonl",
        "predictions.csv",
        "skipped.csv",
        "depths.svg",
        "README.md",
        "model",
        "checkpoints",
    }
)


def new_folder(data: str, method: str) -> Path:
    """Return a folder under `runs/` that does not exist yet."""
    stem = Path(data).stem or "run"
    for number in range(1, 10_000):
        folder = Path("runs") / f"{stem}-{method.replace(':', '')}-{number}"
        if not folder.exists():
            return folder
    raise InputError("runs/ holds 9,999 runs of this name; pass --out")


def check_folder(folder: Path, data: str, *, overwrite: bool, resume: bool) -> None:
    """Refuse a folder that a run may not write into; nothing is changed.

    Raises:
        InputError: it lies in the data, holds a run and neither flag is given, holds what no run
            wrote, or has nothing to resume.
    """
    source = Path(data).resolve()
    if folder.resolve() == source or source in folder.resolve().parents:
        raise InputError(f"{folder}: lies in the data; choose another --out")
    is_used = folder.exists() and any(folder.iterdir())
    if is_used and not (overwrite or resume):
        raise InputError(
            f"{folder}: holds a run already; pass --overwrite, --resume or another --out"
        )
    strange = [p.name for p in folder.iterdir() if p.name not in OURS] if is_used else []
    if strange:
        raise InputError(
            f"{folder}: holds `{strange[0]}`, which no run wrote; choose another --out"
        )


def make_folder(folder: Path, *, overwrite: bool) -> None:
    """Make the folder of a run, empty where it replaces another.

    Raises:
        StorageError: it cannot be made.
    """
    try:
        if overwrite and folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"{folder}: cannot be made ({error.strerror}); choose another --out"
        ) from None


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def epoch_lines(record: RunRecord) -> str:
    """Return one line of JSON for each epoch of each phase."""
    lines = [
        json.dumps(plain({"phase": phase.name, **dataclasses.asdict(epoch)}))
        for phase in record.phases
        for epoch in phase.epochs
    ]
    return "".join(f"{line}\n" for line in lines)


def write_recipe(path: Path, values: Mapping[str, Any]) -> None:
    """Write a resolved recipe as YAML, without what was left open."""
    import yaml

    given = {k: v for k, v in values.items() if v is not None}
    write_text(path, yaml.safe_dump(given, sort_keys=False, allow_unicode=True))
