"""Search a method's options, each trial judged on validation rows, and write what was found.

    space ─Study.propose→ options ─Crew→ Outcome ─Study.tell→ journal ─→ sweep.json, best.yaml

Everything is written after each trial, so a sweep that is killed has its finished trials and goes
on from there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np

from graft.killpoints import fail_at
from graft.metrics.intervals import bootstrap_difference
from graft.recipe import Recipe
from graft.records import Interval
from graft.run_folder import write_recipe
from graft.selection.attempt import Outcome, scorer
from graft.selection.crews import Crew
from graft.selection.study import Study
from graft.selection.trials import Sweep, Trial
from graft.serial import to_json
from graft.storage import storing, write_text
from graft.tasks.labelled import Labelled, Truth

RECORD, BEST, OUTPUTS = "sweep.json", "best.yaml", "outputs"
MEND = "free some space, then pass --resume"


def search(
    begun: Sweep,
    study: Study,
    crew: Crew,
    folder: Path,
    *,
    n_trials: int,
    recipe: Recipe,
    judge: tuple[Labelled, Truth],
    on_trial: Callable[[Sweep, Trial], None] = lambda *_: None,
) -> Sweep:
    """Run trials until there are `n_trials` finished ones.

    Args:
        begun: what is known before the first trial.
        study: proposes, and remembers what an earlier process found.
        crew: runs them.
        folder: takes `sweep.json`, `best.yaml` and the outputs of each trial.
        n_trials: in all, those that are finished already included.
        recipe: what the options are written into.
        judge: the task, and the truth of the validation rows.
        on_trial: told of each trial that is done.
    """
    found = _with_trials(begun, study, folder, recipe, judge)
    n_under_way = 0
    while len(found.trials) + n_under_way < n_trials or n_under_way:
        while n_under_way < crew.n_at_once and len(found.trials) + n_under_way < n_trials:
            crew.start(*study.propose())
            n_under_way += 1
        fail_at("in_trial")
        number, outcome = crew.next_done()
        n_under_way -= 1
        _keep(folder, number, outcome)
        fail_at("after_trial")
        trial = study.tell(number, outcome.value, outcome.seconds, outcome.why)
        found = _with_trials(begun, study, folder, recipe, judge)
        on_trial(found, trial)
    return found


def _keep(folder: Path, number: int, outcome: Outcome) -> None:
    """Write a trial's outputs, before the journal knows of it."""
    if outcome.outputs is None:
        return
    with storing("a trial's outputs", folder, MEND):
        (folder / OUTPUTS).mkdir(exist_ok=True)
        np.save(_place(folder, number), outcome.outputs)


def _place(folder: Path, number: int) -> Path:
    return folder / OUTPUTS / f"{number:04d}.npy"


def _with_trials(
    begun: Sweep, study: Study, folder: Path, recipe: Recipe, judge: tuple[Labelled, Truth]
) -> Sweep:
    """Return the sweep with what is finished, and write it down."""
    found = dataclasses.replace(begun, trials=study.trials())
    best = found.best
    if best is not None:
        write_recipe(folder / BEST, recipe.model_copy(update=best.options).model_dump())
        found = dataclasses.replace(
            found, best_recipe=str(folder / BEST), gain=_gain(folder, best, judge)
        )
    write_text(folder / RECORD, to_json(found), mend=MEND)
    return found


def _gain(folder: Path, best: Trial, judge: tuple[Labelled, Truth]) -> Interval | None:
    """Return how far the best is ahead of the method's own choice, row by row."""
    if not _place(folder, 0).is_file():
        return None
    task, truth = judge
    tried, own = (scorer(task, truth, np.load(_place(folder, n))) for n in (best.number, 0))
    return bootstrap_difference(tried, own)[task.headline]
