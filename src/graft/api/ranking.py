"""Ranking pretrained models on one's own data, as a function."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from graft.api.asked import asked_for
from graft.api.provenance import environment
from graft.api.training import settings_of
from graft.backbones.backbone import Backbone
from graft.engine.settings import Listener
from graft.engine.threads import choose_threads, computing_with
from graft.errors import InputError
from graft.prepare import prepare
from graft.selection import rank as comparing
from graft.selection.candidates import candidates
from graft.selection.ranking import Ranking
from graft.serial import to_json
from graft.storage import storing, write_text

FILE = "rank.json"
MEND = "choose another --out"


def rank(
    data: str | Path | None = None,
    models: str | Path | Iterable[str | Path | Backbone] = (),
    *,
    out: str | Path | None = None,
    recipe: str | Path | None = None,
    listener: Listener | None = None,
    **options: Any,
) -> Ranking:
    """Say which pretrained model to start from, without training any.

    Each candidate takes one pass over the training rows, through the store that trainings read.

    Args:
        data: as `train` takes it; None where `recipe` says.
        models: names with commas between them, a folder of model folders, a `.txt` file with a name
            on each line, or a sequence of names and of backbones declared in Python.
        out: a folder into which `rank.json` is written.
        recipe: a YAML file of options; keywords win over it.
        options: see `graft.recipe.Recipe`; those about rows and reading count, not those about
            training.

    Returns:
        The candidates, the best first, by a linear head's cross-validated metric; those that could
        not be ranked, each with why; and what is known without pretraining.

    Raises:
        InputError: the data are not usable or have no labels, or no candidate could be ranked.
        StorageError: `out` cannot be written.

    >>> found = graft.rank("photos/", models=["timm:resnet18", "runs/birds"])   # doctest: +SKIP
    >>> found.best.model, found.cheapest.model                               # doctest: +SKIP
    """
    began = time.perf_counter()
    if options.get("model") is not None:
        raise InputError("rank takes its candidates from `models`; leave `model` out")
    asked = asked_for(data, None, recipe, options).recipe.placed()
    named = candidates(models)
    if out is not None:
        with storing(FILE, Path(out), MEND):
            Path(out).mkdir(parents=True, exist_ok=True)
    prepared = prepare(asked)
    with computing_with(asked.threads or choose_threads()):
        found = comparing.rank(asked, named, prepared, settings_of, listener or Listener())
        found = dataclasses.replace(
            found, environment=environment(), seconds=time.perf_counter() - began
        )
    if out is not None:
        write_text(Path(out) / FILE, to_json(found), mend=MEND)
    return found
