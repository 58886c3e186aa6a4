"""One trial of a sweep: an ordinary run of the engine, judged on validation rows."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from graft.backbones.backbone import Backbone
from graft.engine.predict import predict_rows
from graft.engine.run import run
from graft.engine.settings import Listener, Settings
from graft.engine.views import items
from graft.errors import Diverged
from graft.job import Job, open_job
from graft.metrics import scorer_of
from graft.metrics.headline import HEADLINES, headline_scorer
from graft.metrics.scorer import Scorer
from graft.prepare import Prepared
from graft.recipe import Recipe
from graft.selection.baselines import weights_kept
from graft.tasks.labelled import Labelled, Truth


@dataclass(frozen=True, eq=False)
class Outcome:
    """Hold what came of a trial.

    Args:
        outputs: (M, …) of the validation rows; None where training gave nothing.
        value: the metric that counts first; None likewise.
        seconds: that it took.
        why: why it gave nothing.
    """

    outputs: np.ndarray | None
    value: float | None
    seconds: float
    why: str = ""


@dataclass(frozen=True, eq=False)
class Attempt:
    """Train by a recipe with other options, and look at the validation rows.

    Args:
        recipe: what is tried, but for the options.
        prepared: its examples.
        settings: how to run.
        backbone: a network declared in Python; it keeps its weights.
    """

    recipe: Recipe
    prepared: Prepared
    settings: Settings
    backbone: Backbone | None = None

    def __call__(self, options: Mapping[str, float], listener: Listener) -> Outcome:
        """Return what comes of some options; what is not finite comes to nothing."""
        began = time.perf_counter()
        recipe = self.recipe.model_copy(update=dict(options))
        own = self.backbone
        with nullcontext() if own is None else weights_kept(own):
            job = open_job(recipe, own, prepared=self.prepared)
            try:
                outputs, truth = _trained(job, self.settings, listener)
            except Diverged as error:
                return Outcome(None, None, time.perf_counter() - began, str(error))
        value = headline(job.task, truth, outputs)
        seconds = time.perf_counter() - began
        if not np.isfinite(value):
            return Outcome(None, None, seconds, f"{job.task.headline} is not defined")
        return Outcome(outputs, value, seconds)


def headline(task: Labelled, truth: Truth, outputs: np.ndarray) -> float:
    """Return the metric that counts first."""
    return scorer(task, truth, outputs).scores()[task.headline]


def scorer(task: Labelled, truth: Any, outputs: np.ndarray) -> Scorer:
    """Prepare the metric that counts first, alone where that can be."""
    known = task.metrics in HEADLINES and bool(np.isfinite(outputs).all())
    return (headline_scorer if known else _full)(task.metrics, truth, outputs)


def _full(metrics: str, truth: Any, outputs: np.ndarray) -> Scorer:
    return scorer_of(metrics)(truth, outputs)


def _trained(job: Job, settings: Settings, listener: Listener) -> tuple[np.ndarray, Truth]:
    """Train a job's model, and return outputs and truth of its validation rows.

    Test rows are neither trained on nor looked at.
    """
    streams = {name: part for name, part in job.streams().items() if name != "test"}
    run(
        job.plan,
        job.model,
        job.task,
        streams,
        state=job.state,
        settings=settings,
        listener=listener,
    )
    held = next(iter(streams["validation"].values()))  # a target's rows are not judged
    found = predict_rows(job.model, job.task, items(held), n_workers=settings.workers)
    return found[job.task.output], job.task.truth(held)
