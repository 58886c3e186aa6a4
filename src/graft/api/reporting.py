"""Making the page of a finished run from its folder alone: no data, no model, no torch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from graft.errors import InputError, ModelError
from graft.metrics import METRICS
from graft.records import RunRecord
from graft.report.facts import Facts
from graft.report.facts_embedding import EmbeddingFacts
from graft.report.page import render
from graft.retrieval.manifest import read_manifest
from graft.run_folder import INDEX
from graft.serial import from_json
from graft.storage import write_text
from graft.tasks import METRICS_OF

T = TypeVar("T")


def report(run: str | Path, *, out: str | Path | None = None, examples: bool = True) -> Path:
    """Make the page of a finished run anew: how good the model is, what it gets wrong, its cost.

    The verb `graft report`. Neither data nor model is read, and the same folder gives the same
    bytes. Where the run has an index with a threshold, cosines are shown with that.

    Args:
        run: folder of a finished run.
        out: where the page is written; `report.html` in the folder unless given.
        examples: show the rows that the model gets most wrong, or of an embedding what lies nearest
            to some, as texts or pictures. Without them
            the page still says what was found in the data, which may quote cells, and draws
            single numbers where numbers are predicted.

    Returns:
        The page's path.

    Raises:
        ModelError: the folder is no finished run, or a file in it is of another version.
        StorageError: the page cannot be written.
    """
    folder = Path(run)
    record = _read(folder / "record.json", RunRecord)
    facts = _read(folder / "report.json", Facts) if (folder / "report.json").is_file() else None
    if facts is not None and facts.embedding is not None:
        sides = ("image", "text") if record.task == "match" else ("", "")
        facts = replace(facts, embedding=_by_index(facts.embedding, folder / INDEX, sides))
    recipe = folder / "recipe.yaml"
    page = render(
        record,
        facts,
        name=folder.resolve().name,
        recipe=recipe.read_text(encoding="utf-8") if recipe.is_file() else "",
        meanings=METRICS[METRICS_OF[record.task]],
        examples=examples,
    )
    path = folder / "report.html" if out is None else Path(out)
    write_text(path, page, mend="choose another --out")
    return path


def _by_index(facts: EmbeddingFacts, index: Path, sides: tuple[str, str]) -> EmbeddingFacts:
    """Return the facts with the threshold of the run's own index, where it has one for cosines.

    Args:
        sides: which vectors the cosines compare, where there are two towers.
    """
    try:
        manifest = read_manifest(index)
    except (InputError, ModelError):  # there is none, or it is for `graft search` to complain
        return facts
    threshold = manifest.threshold_of(*sides)
    if threshold is None or manifest.metric != "cosine":
        return facts
    asked = f"the run's index, which accepts {threshold.asked_far:.2g} of unlike pairs"
    return facts.at(threshold.score, asked)


def _read(path: Path, kind: type[T]) -> T:
    try:
        return from_json(kind, path.read_text(encoding="utf-8"))
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None
    except (OSError, UnicodeDecodeError):
        raise ModelError(
            f"{path}: cannot be read; name the folder of a finished run, or pass --resume to train"
        ) from None
