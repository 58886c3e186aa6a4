"""The cells of a comparison: one training each, and what those of one seed have in common.

Every cell is what `graft train` with the method and the seed would do, to the bit, in a folder of
its own. What is shared is computed once a seed: the data read and split, the values encoded, the
untouched backbone's answers and, through the store, every frozen prefix.
"""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from graft.api.before import untouched
from graft.api.both_towers import first_of
from graft.api.finishing import Finished, Untouched
from graft.api.teaching import taught
from graft.api.training import RECIPE, Once, settings_of, train_job
from graft.artifact import load_artifact
from graft.backbones.backbone import Backbone
from graft.backbones.pair import folder_of_both
from graft.engine.estimate import estimate
from graft.engine.predict import predict_rows
from graft.engine.settings import Listener
from graft.engine.views import items, plain
from graft.errors import (
    Diverged,
    GraftError,
    InputError,
    OutOfMemory,
    StorageError,
    is_out_of_memory,
)
from graft.job import Job, open_job
from graft.memory import forget_peak
from graft.methods.plan import Gradient
from graft.metrics.headline import headline_scorer
from graft.metrics.scorer import Scorer
from graft.prepare import Prepared, prepare
from graft.recipe import DEFAULT_TEXT_MODEL, Recipe, read_recipe
from graft.recipe_plan import with_own_options
from graft.records import RunRecord
from graft.report.words import human_seconds, readable
from graft.run_folder import held_folder
from graft.selection.comparison import Cell, Curve
from graft.selection.curve import learning_curve
from graft.selection.question import ask
from graft.serial import from_json
from graft.surgery.opening import open_whole


@dataclass(frozen=True, eq=False)
class Done:
    """Hold a finished cell with what it answers for held-out rows, to be scored."""

    cell: Cell
    scorers: dict[str, Scorer]


class Shared:
    """What all methods of one seed have in common."""

    def __init__(self, recipe: Recipe) -> None:
        began = time.perf_counter()
        self.recipe = recipe
        self.prepared: Prepared = prepare(recipe)
        self.once = Once()
        self.job: Job | None = None
        self.seconds = time.perf_counter() - began

    def open(self, method: str, **more: Any) -> Job:
        """Return the job of a method, with a network of its own.

        Raises:
            InputError: the method does not fit the network.
        """
        asked = {"method": method, **more}
        if self.recipe.model is None and self._is_text:
            asked["model"] = DEFAULT_TEXT_MODEL
        own, _ = with_own_options(self.recipe.model_copy(update=asked))
        if not own.begins_at_names:
            own = own.model_copy(update={"template": None})
        job = open_job(own, self._backbone(own), prepared=self.prepared)
        if self.job is None or self.job.plan.start != "pretrained":
            self.job = job  # the untouched network is told of by it
        return job

    def streams(self, job: Job) -> Any:
        """Return the streams of all jobs of this seed, with what a teacher says of their rows."""
        return self.once("streams", lambda: taught(job, settings_of(job), Listener()).streams())

    def compute(self, job: Job, listener: Listener) -> Untouched:
        """Return what the untouched network answers, computed before a cell begins to count."""
        began = time.perf_counter()
        streams = self.streams(job)
        found = self.once(
            ("untouched", job.plan.start),
            lambda: untouched(job, streams, settings_of(job), listener),
        )
        self.seconds += time.perf_counter() - began
        return found

    def curve(self, listener: Listener) -> Curve | None:
        """Return what a linear head reaches on shares of the training rows."""
        assert self.job is not None
        if self.job.plan.start != "pretrained" or not hasattr(self.job.task, "convex"):
            return None
        known = self.compute(self.job, listener)
        if known.known is None:
            return None
        listener.on_note("how the number of rows counts, by a linear head on the features")
        stream = items(plain(first_of(self.streams(self.job)["train"])))
        try:
            question = ask(self.job.task, stream, np.arange(len(stream)), self.recipe.seed)
        except InputError:  # fewer rows of a class than folds
            return None
        return learning_curve(question, np.asarray(known.known), seed=self.recipe.seed)

    def _backbone(self, recipe: Recipe) -> Backbone | None:
        """Return a copy of the pristine network; None where the job must open it itself."""
        name = recipe.place("model")
        if name is None or folder_of_both(name) is not None or recipe.begins_at_names:
            return None
        is_random = recipe.method == "scratch"
        kept = self.once(("backbone", is_random), lambda: open_whole(name, random=is_random))
        return kept.around(copy.deepcopy(kept.net))

    @property
    def _is_text(self) -> bool:
        return self.prepared.table.roles.modality == "text"


def folder_name(method: str, seed: int) -> str:
    """Return the name of a cell's folder."""
    return f"{method.replace(':', '')}-{seed}"


def train_cell(
    shared: Shared, method: str, folder: Path, budget: float | None, listener: Listener
) -> Done | str:
    """Train one method with one seed, or read what was trained; returns why where it cannot be."""
    name = folder_name(method, shared.recipe.seed)
    own = folder / name
    is_begun = (own / RECIPE).is_file()
    try:
        if (own / "record.json").is_file():
            return _again(shared, method, own, name)
        job = shared.open(method)
        epochs = 0
        if is_begun:
            epochs = _cut_epochs(own, shared.recipe)
        elif budget is not None:
            epochs = _epochs_within(job, shared.streams(job), budget)
        job = shared.open(method, epochs=epochs) if epochs else job
        shared.compute(job, listener)
        began = time.perf_counter()
        forget_peak()
        with held_folder(own, overwrite=False):
            found = train_job(job, own, listener, resume=is_begun, began=began, once=shared.once)
        return _scored(shared, job, found, _of_record(method, shared, name, found.record, epochs))
    except StorageError:  # which the next method would meet as well
        raise
    except GraftError as error:
        if is_begun and not isinstance(error, Diverged | OutOfMemory):
            raise  # what it began with has changed or is damaged: no fault of the method
        return str(error).partition("\n")[0]
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return "does not fit into memory"


def _epochs_within(job: Job, streams: Any, budget: float) -> int:
    """Return the epochs that fit into a budget of seconds; 0 where the method's own do.

    Raises:
        InputError: not one does, or a head that is solved does not.
    """
    if not job.plan.phases:
        return 0
    n_rows = len(job.splits.train)
    parts = {k: v for k, v in streams.items() if k != "test" and len(first_of(v))}
    expected = estimate(
        job.plan, job.model, job.task, parts, state=job.state, settings=settings_of(job)
    )
    if expected.seconds <= budget:
        return 0
    # a solved head takes what it takes, epochs or not
    trained = [
        (cost.seconds, phase.by.n_epochs(n_rows))
        for phase, cost in zip(job.plan.phases, expected.phases, strict=True)
        if isinstance(phase.by, Gradient)
    ]
    if not trained:
        whole = human_seconds(expected.seconds)
        raise InputError(f"would take about {whole}, more than the budget")
    in_epochs, own = sum(seconds for seconds, _ in trained), max(n for _, n in trained)
    fixed = expected.seconds - in_epochs
    fitting = int(own * (budget - fixed) / in_epochs) if budget > fixed else 0
    if not fitting:
        one = human_seconds(fixed + in_epochs / own)
        raise InputError(f"would take about {one} with a single epoch, more than the budget")
    return fitting


def _cut_epochs(folder: Path, asked: Recipe) -> int:
    """Return the epochs that the budget left a run when it began; 0 where it had its own."""
    written = read_recipe({}, folder / RECIPE).epochs
    return 0 if written == asked.epochs else written or 0


def _again(shared: Shared, method: str, folder: Path, name: str) -> Done:
    """Read a cell that an earlier life of the comparison finished."""
    record = from_json(RunRecord, (folder / "record.json").read_text(encoding="utf-8"))
    job = shared.open(method)
    model, task = load_artifact(folder / "model")
    outputs = {
        part: predict_rows(model, task, items(plain(first_of(streams))))[task.output]
        for part, streams in shared.streams(job).items()
        if part != "train" and len(first_of(streams))
    }
    cell = _of_record(method, shared, name, record, _cut_epochs(folder, shared.recipe))
    return _scored(shared, job, Finished(record, outputs), cell)


def _of_record(method: str, shared: Shared, name: str, record: RunRecord, epochs: int) -> Cell:
    model_bytes = 4 * record.n_parameters
    return Cell(
        method,
        shared.recipe.seed,
        name,
        {part: record.after[part][record.headline] for part in record.after if " " not in part},
        record.seconds,
        record.peak_memory_bytes,
        record.n_trained,
        record.adapter_bytes or model_bytes,
        epochs,
        beside=_beside(record),
    )


def _beside(record: RunRecord) -> dict[str, float]:
    """Return what a run is worth on rows that choose nothing: of a target, of an older task."""
    found: dict[str, float] = {}
    if (domain := record.domain) is not None:
        scored = domain.intervals.get("after", {}).get(record.headline)
        if scored is not None:
            found[f"{readable(record.headline)} of the target"] = scored.value
        if domain.told_after is not None:
            found["domains told apart"] = domain.told_after
    if (kept := record.remembered) is not None:
        found[f"{readable(kept.metric)} of {kept.name}"] = kept.after
    return found


def _scored(shared: Shared, job: Job, found: Finished, cell: Cell) -> Done:
    scorers = {}
    for part, outputs in found.outputs.items():
        truth: Any = job.task.truth(first_of(shared.streams(job)[part]))
        scorers[part] = headline_scorer(job.task.metrics, truth, outputs)
    return Done(cell, scorers)
