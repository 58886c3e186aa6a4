"""The folder of a run: who may write into it, and what lies there.

`recipe.yaml` says what was asked, resolved; `record.json` what happened; `predictions.csv` has the
held-out rows with labels and probabilities; `report.html` is the page that shows it all, made of
the record and of `report.json`; `model/` is the artifact. `checkpoints/` is there while the run is
not finished.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from graft.errors import InputError, ModelError, StorageError
from graft.records import RunRecord, from_json, plain
from graft.report.facts import Facts

T = TypeVar("T")

OURS = frozenset(
    {
        "recipe.yaml",
        "record.json",
        "metrics.jsonl",
        "predictions.csv",
        "depths.svg",
        "report.html",
        "report.json",
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


def write_report(folder: Path, *, out: Path | None = None, examples: bool = True) -> Path:
    """Make the page of a finished run from its folder alone: no data, no model, no torch.

    Args:
        out: where the page is written; `report.html` in the folder unless given.
        examples: show single rows of the data, as texts or pictures.

    Returns:
        The page's path.

    Raises:
        ModelError: the folder is no finished run, or a file in it is of another version.
        StorageError: the page cannot be written.
    """
    from graft.metrics import METRICS
    from graft.report.page import render

    record = _read(folder / "record.json", RunRecord)
    facts = _read(folder / "report.json", Facts) if (folder / "report.json").is_file() else None
    recipe = folder / "recipe.yaml"
    text = recipe.read_text(encoding="utf-8") if recipe.is_file() else ""
    known = record.after.get(record.judged_on, {}).keys()
    meanings = next((group for group in METRICS.values() if known <= group.keys()), {})
    page = render(
        record,
        facts,
        name=folder.resolve().name,
        recipe=text,
        meanings=meanings,
        examples=examples,
    )
    path = out or folder / "report.html"
    try:
        write_text(path, page)
    except OSError as error:
        raise StorageError(
            f"{path}: cannot be written ({error.strerror}); choose another --out"
        ) from None
    return path


def _read(path: Path, kind: type[T]) -> T:
    try:
        return from_json(kind, path.read_text(encoding="utf-8"))
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None
    except (OSError, UnicodeDecodeError):
        raise ModelError(
            f"{path}: cannot be read; name the folder of a finished run, or pass --resume to train"
        ) from None


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
