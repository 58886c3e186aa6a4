"""Searching a method's rates, decay and l2 as a function."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graft.api.asked import Asked, asked_for
from graft.api.both_towers import first_of
from graft.api.provenance import environment
from graft.api.training import RECIPE, settings_of
from graft.backbones.backbone import Backbone
from graft.engine.settings import Listener
from graft.engine.threads import choose_threads, computing_with
from graft.errors import InputError, RecipeError, Stopped
from graft.job import open_job
from graft.locks import Held, locked
from graft.match_job import matches
from graft.metrics import METRICS
from graft.prepare import prepare
from graft.recipe import Recipe, read_recipe
from graft.run_folder import LOCK, in_use, new_folder, write_recipe
from graft.selection.attempt import Attempt
from graft.selection.crews import Alone, OnRay
from graft.selection.space import Range, space_of
from graft.selection.study import Study, load_optuna
from graft.selection.sweep import RECORD, search
from graft.selection.trials import Sweep, Trial
from graft.serial import from_json
from graft.storage import storing
from graft.tasks.labelled import Labelled, Truth

OnTrial = Callable[[Sweep, Trial], None]
N_TRIALS = 20
ON_SOURCE = "trials are judged on rows of the source; no label of the target chooses anything"


def sweep(
    data: str | Path | None = None,
    *,
    model: str | Path | Backbone | None = None,
    trials: int = N_TRIALS,
    over: Sequence[str] = (),
    out: str | Path | None = None,
    resume: bool = False,
    ray: bool = False,
    recipe: str | Path | None = None,
    listener: Listener | None = None,
    on_trial: OnTrial = lambda *_: None,
    **options: Any,
) -> Sweep:
    """Search a method's rates, decay and l2, each trial judged on validation rows alone.

    Every trial is an ordinary training; what is frozen is computed once for all. The first is the
    method's own choice. Test rows are neither trained on nor looked at: train `best.yaml` to see
    what the best is worth on them.

    Args:
        data: as `train` takes it.
        model: as `train` takes it.
        trials: finished trainings in all, those of an earlier process included.
        over: options to look for; those of the method that the recipe leaves open unless given.
        out: the sweep's folder; a new one under `sweeps/` unless given.
        resume: go on with the sweep in `out`; its finished trials are kept.
        ray: run trials as tasks of a Ray cluster, as many at once as it has processors for.
        recipe: a YAML file of options; keywords win over it.
        on_trial: told of the sweep so far, and of each trial that is done.
        options: see `graft.recipe.Recipe`; what they set is not looked for.

    Returns:
        The trials; `best_recipe` is the path of the recipe that trains the best one.

    Raises:
        InputError: data, recipe or model are not usable, there is nothing to look for, or no
            validation row to judge by.
        MissingExtra: optuna, or for `ray` ray, is not installed.
        StorageError: the folder cannot be written, or another process writes into it.
        Stopped: a signal asked for it, where `graft.engine.stopping.stoppable` listens.
    """
    load_optuna()
    if trials < 1:
        raise InputError(f"{trials} trials: ask for one at least")
    before = _before(out, resume=resume)
    if before is not None and recipe is None:
        recipe = before.folder / RECIPE
    asked = asked_for(data, model, recipe, options)
    _refuse_own_objects(asked, ray=ray)
    if asked.recipe.teacher is not None or asked.recipe.mine is not None:
        flag = "--teacher" if asked.recipe.teacher is not None else "--mine"
        raise InputError(f"a sweep's trials know no {flag}; leave it out, and train with it after")
    folder = Path(out) if out else new_folder(asked.recipe.data, asked.recipe.method, "sweeps")
    known = asked.recipe if before is None else before.recipe
    threads = asked.recipe.threads or known.threads or choose_threads()
    precision = "fp32" if asked.recipe.precision == "auto" else asked.recipe.precision
    # a sweep that goes on keeps the names that it began with
    named = asked.recipe.placed() if before is None else asked.recipe
    resolved = named.model_copy(
        update={
            "threads": threads,
            "precision": precision,
            "model": asked.recipe.model or known.model,
        }
    )
    space = space_of(resolved, over) if before is None or over else before.sweep.space
    with computing_with(threads), _held(folder):
        begun, attempt, judge = _begun(resolved, asked.backbone, space)
        if before is not None:
            before.refuse_another(begun, attempt.recipe)
        write_recipe(folder / RECIPE, attempt.recipe.model_dump())
        study = Study(
            folder,
            space,
            seed=resolved.seed,
            is_higher_better=begun.is_higher_better,
        )
        told = listener or Listener()
        for note in asked.notes:
            told.on_note(note)
        with OnRay(attempt, threads) if ray else nullcontext(Alone(attempt, told)) as crew:
            try:
                return search(
                    begun,
                    study,
                    crew,
                    folder,
                    n_trials=trials,
                    recipe=attempt.recipe,
                    judge=judge,
                    on_trial=on_trial,
                )
            except Stopped as stop:
                raise Stopped(stop.signal, "", str(folder)) from None


@dataclass(frozen=True)
class _Before:
    """Hold the sweep that lies in a folder."""

    folder: Path
    recipe: Recipe
    sweep: Sweep

    def refuse_another(self, asked: Sweep, recipe: Recipe) -> None:
        """Refuse to go on with a sweep that was asked something else.

        Raises:
            RecipeError: the recipe, the data or the space differs.
        """
        odd = [
            name
            for name, differs in (
                ("settings", recipe.digest() != self.recipe.digest()),
                ("data", asked.data_hash != self.sweep.data_hash),
                ("options to look for", asked.space != self.sweep.space),
            )
            if differs
        ]
        if odd:
            raise RecipeError(
                f"{self.folder}: is a sweep of other {odd[0]}; leave them out to resume it, or "
                "choose another --out"
            )


def _before(out: str | Path | None, *, resume: bool) -> _Before | None:
    """Return the sweep that is to go on, or None where a new one begins.

    Raises:
        InputError: there is none, or there is one and it is not to go on.
    """
    folder = None if out is None else Path(out)
    names = {p.name for p in folder.iterdir()} if folder is not None and folder.is_dir() else set()
    if not resume:
        if folder is not None and folder.exists() and (not folder.is_dir() or names - {LOCK}):
            what = "holds a sweep already; pass --resume, or" if names & {RECORD} else "is taken;"
            raise InputError(f"{folder}: {what} choose another --out")
        return None
    if folder is None or not {RECIPE, RECORD} <= names:
        raise InputError(f"{out}: holds no sweep to resume; correct --out, or leave out --resume")
    sweep = from_json(Sweep, (folder / RECORD).read_text(encoding="utf-8"))
    return _Before(folder, read_recipe({}, folder / RECIPE), sweep)


def _refuse_own_objects(asked: Asked, *, ray: bool) -> None:
    if asked.plan is not None or asked.recipe.method == "auto":
        what = "a Plan of your own" if asked.plan is not None else "method `auto`"
        raise RecipeError(f"{what} has no options to look for; name a method")
    if ray and asked.backbone is not None:
        raise InputError("workers of --ray open the model by its name; pass a name or a folder")


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Make the folder of a sweep, and hold it inside the context."""
    with ExitStack() as held:
        with storing("the sweep", folder, "choose another --out"):
            try:
                folder.mkdir(parents=True, exist_ok=True)
                held.enter_context(locked(folder / LOCK))
            except Held as error:
                raise in_use(folder, error.holder) from None
        yield


def _begun(
    recipe: Recipe, backbone: Backbone | None, space: Mapping[str, Range]
) -> tuple[Sweep, Attempt, tuple[Labelled, Truth]]:
    """Return the sweep before its first trial, what runs one, and what judges it.

    Raises:
        InputError: a training would be refused, or there is no validation row.
    """
    prepared = prepare(recipe)
    if matches(prepared.table):
        raise InputError(f"{recipe.data}: a sweep takes one tower; train pictures with captions")
    if not len(prepared.splits.validation):
        raise InputError("a sweep judges by validation rows, and there are none; pass --validation")
    job = open_job(recipe, backbone, prepared=prepared)
    recipe = job.recipe
    task, metric = job.task, job.task.headline
    held = first_of(job.streams()["validation"])
    begun = Sweep(
        data=recipe.data,
        data_hash=job.table.content_hash(),
        model=recipe.model or "",
        method=recipe.method,
        task=task.name,
        metric=metric,
        is_higher_better=METRICS[task.metrics][metric][2],
        n_train=len(job.splits.train),
        n_validation=len(job.splits.validation),
        how_split=job.splits.how,
        space=dict(space),
        notes=(*job.notes, *([ON_SOURCE] if job.target is not None else [])),
        environment=environment(),
    )
    settings = settings_of(job)
    return begun, Attempt(recipe, prepared, settings, backbone), (task, task.truth(held))
