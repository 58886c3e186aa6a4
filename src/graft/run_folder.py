"""The folder of a run: who may write into it, and what lies there.

`recipe.yaml` says what was asked, resolved; `record.json` what happened; `predictions.csv` has the
held-out rows with labels and probabilities; `skipped.csv` the rows that could not be used, where
there are some; `report.html` is the page that shows it all, made of the record and of
`report.json`; `model/` is the artifact; `adapter/` what was trained, alone, where that is little;
`index/` is what `graft index` made. `checkpoints/` is
there while the run is not finished.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from graft.data.faults import LONGEST_LINE, shorten_path
from graft.errors import InputError, ModelError, StorageError
from graft.locks import Held, is_held, locked, who_holds
from graft.records import RunRecord
from graft.serial import plain
from graft.storage import storing, write_text

LOCK = ".lock"
"""Who holds it writes into the folder; it is gone when the run is done."""

INDEX = "index"
"""Folder of the index that belongs to a run."""

OURS = frozenset(
    {
        "recipe.yaml",
        "record.json",
        "metrics.jsonl",
        "predictions.csv",
        "skipped.csv",
        "depths.svg",
        "report.html",
        "report.json",
        "README.md",
        "model",
        "adapter",
        "checkpoints",
        INDEX,
    }
)


def _is_ours(name: str) -> bool:
    """Return whether a run wrote a file of this name, or was killed while it did."""
    return name == LOCK or name in OURS or name.removeprefix(".").removesuffix(".tmp") in OURS


def no_folder(folder: Path) -> ModelError:
    """Return the error for the folder of a run that is not there, with the closest one that is."""
    beside = folder.absolute().parent
    known = [p.name for p in beside.iterdir() if p.is_dir()] if beside.is_dir() else []
    close = difflib.get_close_matches(folder.name, known, n=1)
    question = f"did you mean {folder.parent / close[0]}? " if close else ""
    return ModelError(f"{folder}: no such folder; {question}point at a run")


def is_unfinished(folder: Path) -> bool:
    """Return whether a folder holds a run that has begun and not ended, and nothing else."""
    names = [path.name for path in folder.iterdir()]
    return "recipe.yaml" in names and "record.json" not in names and all(map(_is_ours, names))


def new_folder(data: str, method: str, root: str = "runs") -> Path:
    """Return a folder under `root` that does not exist yet."""
    stem = Path(data).stem or "run"
    for number in range(1, 10_000):
        folder = Path(root) / f"{stem}-{method.replace(':', '')}-{number}"
        if not folder.exists():
            return folder
    raise InputError(f"{root}/ holds 9,999 folders of this name; pass --out")


def check_folder(folder: Path, data: str, *, overwrite: bool, resume: bool) -> None:
    """Refuse a folder that a run may not write into; nothing is changed.

    Raises:
        InputError: it lies in the data or holds them, holds a run and neither flag is given, or
            holds what no run wrote.
        StorageError: another process writes into it.
    """
    source, own = Path(data).resolve(), folder.resolve()
    if own == source or source in own.parents:
        raise InputError(f"{folder}: lies in the data; choose another --out")
    if own in source.parents:
        raise InputError(f"{folder}: holds the data; choose another --out")
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; choose another --out")
    if is_held(folder / LOCK):
        raise in_use(folder, who_holds(folder / LOCK))
    names = sorted(p.name for p in folder.iterdir()) if folder.exists() else []
    if any(name != LOCK for name in names) and not (overwrite or resume):
        raise _holds_a_run(folder)
    strange = [name for name in names if not _is_ours(name)]
    if strange:
        raise InputError(
            f"{folder}: holds `{strange[0]}`, which no run wrote; choose another --out"
        )


@contextmanager
def held_folder(folder: Path, *, overwrite: bool, is_new: bool = False) -> Iterator[None]:
    """Make the folder of a run, empty where it replaces another, and hold it inside the context.

    Args:
        is_new: nothing may lie in it; another run may have ended since that was last looked at.

    Raises:
        InputError: something lies in a folder that should be new.
        StorageError: it cannot be made or written, or another process writes into it.
    """
    with ExitStack() as held:
        with storing("the run", folder, "choose another --out"):
            try:
                folder.mkdir(parents=True, exist_ok=True)
                held.enter_context(locked(folder / LOCK))
                for path in folder.iterdir() if overwrite else ():
                    if path.name != LOCK:
                        _remove(path)
            except Held as error:
                raise in_use(folder, error.holder) from None
        if is_new and any(path.name != LOCK for path in folder.iterdir()):
            raise _holds_a_run(folder)
        yield


def clean(folder: Path) -> None:
    """Remove what a run that was killed at its very end left beside its record."""
    left = [path for path in (folder / LOCK, folder / "checkpoints") if path.exists()]
    if left:
        with held_folder(folder, overwrite=False):
            shutil.rmtree(folder / "checkpoints", ignore_errors=True)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _holds_a_run(folder: Path) -> InputError:
    text = ": holds a run already; pass --overwrite, --resume or another --out"
    return InputError(shorten_path(str(folder), LONGEST_LINE - len(text)) + text)


def in_use(folder: Path, holder: str) -> StorageError:
    """Return the error for a folder into which another process writes."""
    text = f": {holder} writes into it; wait until it is done, or choose another --out"
    return StorageError(shorten_path(str(folder), LONGEST_LINE - len(text)) + text)


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
    text = yaml.safe_dump(given, sort_keys=False, allow_unicode=True)
    write_text(path, text, mend="choose another --out")


def refuse_other_data(run: Path, data_hash: str) -> None:
    """Refuse to go on with a run's split where its data have changed since.

    Rows that it was trained on would judge it.

    Raises:
        InputError: its record names other data.
    """
    path = run / "record.json"
    if path.is_file() and json.loads(path.read_text("utf-8"))["data_hash"] != data_hash:
        raise InputError(
            f"{run}: its data have changed since it was trained, so its held-out rows are not "
            "known; restore them, or train anew"
        )
