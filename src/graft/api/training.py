"""Training as a function."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from graft.api.asked import asked_for, refuse_other_settings
from graft.api.before import untouched
from graft.api.both_towers import first_of
from graft.api.cache import cache_folder
from graft.api.choosing import at_best_block, with_method
from graft.api.finishing import Finished, Streams, Untouched, finish
from graft.api.mining import with_hard_negatives
from graft.api.predicting import predict
from graft.api.remembering import remembering
from graft.api.reporting import report
from graft.api.teaching import taught
from graft.backbones.backbone import Backbone
from graft.data.faults import PlacedError, data_error
from graft.engine.ahead import default_workers
from graft.engine.precision import Precision, choose_precision, trains_backbone
from graft.engine.processes import Processes, from_main
from graft.engine.run import run
from graft.engine.settings import Listener, Settings
from graft.engine.start import backbone_fingerprint
from graft.engine.threads import choose_threads, computing_with
from graft.engine.views import plain
from graft.errors import InputError, ModelError, Stopped
from graft.job import Job, open_job
from graft.recipe import Recipe
from graft.records import Prediction, RunRecord
from graft.rows_out import write_findings
from graft.run_folder import (
    check_folder,
    clean,
    held_folder,
    new_folder,
    no_folder,
    write_recipe,
)
from graft.serial import from_json
from graft.tasks.tuples import TupleStream
from graft.wording import counted

RECIPE = "recipe.yaml"
T = TypeVar("T")


@dataclass(frozen=True)
class Run:
    """A finished training: its record and the folder it left.

    >>> run = graft.train("data.csv")          # doctest: +SKIP
    >>> run.metrics["accuracy"], run.predict(["where is my parcel?"])   # doctest: +SKIP
    """

    folder: Path
    record: RunRecord
    backbone: Backbone | None = None

    @property
    def metrics(self) -> dict[str, float]:
        """Return the metrics on held-out rows: test rows, or else validation rows."""
        return self.record.after.get(self.record.judged_on, {})

    def predict(self, values: Sequence[Any] | str) -> list[Prediction | None]:
        """Predict for texts, or for paths of images, as `graft.predict` does.

        Raises:
            InputError: a value is no text, or no path of a picture that can be read.
        """
        return predict(self.folder, values, backbone=self.backbone)


def train(
    data: str | Path | None = None,
    *,
    model: str | Path | Backbone | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    resume: bool = False,
    recipe: str | Path | None = None,
    listener: Listener | None = None,
    **options: Any,
) -> Run:
    """Fine-tune a pretrained model on a file or folder of examples.

    Args:
        data: a table of texts or image paths with labels, class folders of images, a saved dataset
            or an archive of these; None where `recipe` says.
        model: a name or folder as `open_backbone` takes it, or a backbone declared in Python;
            `minilm` for text unless given.
        out: the run's folder; a new one under `runs/` unless given.
        overwrite: replace what a finished run left in `out`.
        resume: go on with the run in `out`.
        recipe: a YAML file of options; keywords win over it.
        options: see `graft.recipe.Recipe`; `method` may also be a `Plan` of your own.

    Returns:
        The run, whose `model/` folder opens without graft.

    Raises:
        InputError: data, recipe or model are not usable, or do not fit into memory; the message
            says how to mend it.
        StorageError: the folder cannot be written, or another process writes into it.
        Diverged: the loss stopped being finite.
        Stopped: a signal asked for it, where `graft.engine.stopping.stoppable` listens.
    """
    began = time.perf_counter()
    before = Path(out) / RECIPE if resume and out is not None else None
    if before is not None and before.is_file() and recipe is None:
        recipe = before
    elif before is not None and data is None and recipe is None:
        raise InputError(f"{out}: holds no run to resume; correct --out, or name the data to train")
    asked = asked_for(data, model, recipe, options)
    if before is None:  # a run that goes on keeps the names that it began with
        asked = replace(asked, recipe=asked.recipe.placed())
    folder = from_main(lambda: _choose_folder(asked.recipe, out, overwrite, resume))
    if before is not None and before.is_file():
        asked = replace(asked, recipe=refuse_other_settings(asked.recipe, before, "run"))
        if (folder / "record.json").is_file():
            from_main(lambda: clean(folder))
            if not (folder / "report.html").is_file():  # killed before it was written
                from_main(lambda: report(folder))
            return load(folder, backbone=asked.backbone)
    threads = asked.recipe.threads or from_main(choose_threads)
    with computing_with(threads), ExitStack() as held:
        resolved = asked.recipe.model_copy(update={"threads": threads})
        job = open_job(resolved, asked.backbone, asked.plan)
        job = replace(job, notes=(*asked.notes, *job.notes))
        from_main(
            lambda: held.enter_context(
                held_folder(folder, overwrite=overwrite, is_new=not (overwrite or resume))
            )
        )
        try:
            done = train_job(job, folder, listener or Listener(), resume=resume, began=began)
        except Stopped as stop:
            began_here = (folder / RECIPE).is_file()
            raise Stopped(stop.signal, stop.saved, str(folder) if began_here else "") from None
        except PlacedError as fault:
            raise _gone(fault) from fault
    return Run(folder, done.record, asked.backbone)


class Once:
    """Remember what several trainings on the same rows and network have in common."""

    def __init__(self) -> None:
        self._known: dict[Hashable, Any] = {}

    def __call__(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return what was made for the key, made now if it was not."""
        if key not in self._known:
            self._known[key] = make()
        return self._known[key]


def train_job(
    job: Job,
    folder: Path,
    listener: Listener,
    *,
    resume: bool,
    began: float,
    once: Once | None = None,
) -> Finished:
    """Train a job into a folder that is held.

    Args:
        began: when, by the performance counter.
        once: remembers what other jobs on these rows and this network computed.
    """
    once = once or Once()
    job = taught(job, settings_of(job), listener)
    streams = once("streams", job.streams)
    if job.recipe.method == "auto":
        train = plain(streams["train"]["train"])
        job = with_method(job, train, settings_of(job))
    trains = trains_backbone(job.plan, job.model)
    chosen = once(("precision", trains), lambda: _precision(job, streams))
    job = _with_precision(job, chosen)
    if not (resume and (folder / RECIPE).is_file()):
        from_main(lambda: write_recipe(folder / RECIPE, job.recipe.model_dump()))
    skipped = [finding for finding in job.findings if finding.severity == "skip"]
    if skipped:
        from_main(lambda: write_findings(folder / "skipped.csv", skipped))
    listener.on_note(f"{job.table.because}; {job.splits.how}")
    for note in job.notes:
        listener.on_note(note)
    settings = settings_of(job, folder / "checkpoints")
    start = job.plan.start
    before = once(("untouched", start), lambda: untouched(job, streams, settings, listener))
    if job.recipe.mine is not None:
        streams = _with_hard_negatives(job, streams, before, listener)
    found = None
    if job.recipe.at == "any":
        found = at_best_block(job, plain(streams["train"]["train"]), settings)
        job = found.job
    began_with = backbone_fingerprint(job.model)
    remembered = remembering(job)
    phases = run(
        job.plan,
        job.model,
        job.task,
        {k: v for k, v in streams.items() if k != "test" and len(first_of(v))},
        state=job.state,
        settings=settings,
        listener=listener,
        resume=resume,
        watch=remembered,
    )
    told = None if remembered is None else remembered.record(job.model)  # type: ignore[arg-type]
    return from_main(
        lambda: finish(job, folder, streams, phases, before, began, began_with, found, told)
    )


def _gone(fault: PlacedError) -> PlacedError:
    """Return the error for a file that was read when the data were checked, and now is not.

    Leaving the row out would train on other data from some moment on, which no recipe could name
    and no resume repeat.
    """
    what = fault.message.rpartition("; ")[0] or fault.message
    return data_error(
        f"{what}, and could be read when training began; restore it and pass --resume",
        path=fault.path,
        row=fault.row,
    )


def load(folder: str | Path, *, backbone: Backbone | None = None) -> Run:
    """Open a finished run.

    Args:
        folder: of the run.
        backbone: where the run's network was declared in Python: the same, declared again.

    Raises:
        ModelError: there is no such folder, or it is no finished run.
    """
    path = Path(folder) / "record.json"
    if not path.parent.is_dir():
        raise no_folder(path.parent)
    if not path.is_file():
        raise ModelError(f"{folder}: no record.json; is it a finished run? pass --resume to go on")
    record = from_json(RunRecord, path.read_text(encoding="utf-8"))
    return Run(Path(folder), record, backbone)


def _precision(job: Job, streams: Streams) -> Precision | None:
    """Return the precision that is fastest, where the recipe leaves it open."""
    if job.recipe.precision != "auto":
        return None
    stream = first_of(streams["train"])
    device = Processes().device
    return from_main(lambda: choose_precision(job.model, job.task, stream, job.plan, device=device))


def _with_precision(job: Job, chosen: Precision | None) -> Job:
    notes = job.notes
    if job.augment is not None:
        notes = (*notes, f"training pictures vary: {job.augment}")
    if chosen is None:
        return replace(job, notes=notes)
    recipe = job.recipe.model_copy(update={"precision": chosen.name})
    chosen_on = {**job.chosen_on, "precision": f"{chosen.name}: {chosen.because}"}
    return replace(job, recipe=recipe, notes=notes, chosen_on=chosen_on)


def _choose_folder(asked: Recipe, out: str | Path | None, overwrite: bool, resume: bool) -> Path:
    """Return the run's folder; nothing is written yet."""
    folder = Path(out) if out else new_folder(asked.data, asked.method)
    check_folder(folder, asked.place("data") or "", overwrite=overwrite, resume=resume)
    return folder


def _with_hard_negatives(
    job: Job, streams: Streams, before: Untouched, listener: Listener
) -> Streams:
    """Return the streams with a hard negative for each training pair."""
    stream: Any = streams["train"]["train"]
    assert before.known is not None and job.recipe.mine is not None
    tuples, n_without = with_hard_negatives(before.known, stream.tuples, job.recipe.mine)
    found = counted(len(tuples.members) - n_without, "hard negative")
    note = f"{found} found among the training items"
    if n_without:
        one = "pair has none that far from its positive, and takes"
        n = counted(n_without, one, "pairs have none that far from their positive, and take")
        note += f"; {n} the farthest"
    listener.on_note(note)
    mined: Any = TupleStream(stream.items, tuples, stream.named)
    return {**streams, "train": {"train": mined}}


def settings_of(job: Job, checkpoints: Path | None = None) -> Settings:
    """Return how a job would run; without a folder no checkpoints are written."""
    recipe = job.recipe
    cache = None
    if recipe.cache != "off":
        cache = cache_folder() if recipe.cache == "auto" else Path(recipe.cache)
    return Settings(
        seed=recipe.seed,
        precision=recipe.precision,
        strategy=recipe.strategy,
        cache=cache,
        checkpoints=checkpoints,
        checkpoint_every=recipe.checkpoint_every,
        workers=default_workers() if recipe.workers is None else recipe.workers,
        recipe=recipe.digest(),
        data=job.data_hash,
        checks_memory=checkpoints is not None,
    )
