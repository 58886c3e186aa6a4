"""Between the weights that a run began with and those it ended with.

    θ(α) = (1 − α) · θ_before + α · θ_after

Fine-tuning gains on the rows it has seen the like of and may lose on others; a model between both
often keeps most of the gain and most of what was there. α is chosen on validation rows.

A head that began at random is no start: there the start is the untouched body under the head that
is best on it, solved exactly. A head that cannot be solved, and projections that join two towers,
are the trained ones at every α.

Source: Wortsman et al. 2022, "Robust fine-tuning of zero-shot models" (WiSE-FT), section 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from graft.api.both_towers import first_of, open_both, vectors_of_both
from graft.api.predicting import model_folder
from graft.api.reporting import report
from graft.api.training import settings_of
from graft.artifact import load_artifact, save_artifact
from graft.backbones.pair import BackbonePair
from graft.engine.keeper import under
from graft.engine.run import run as run_plan
from graft.errors import InputError, ModelError
from graft.heads import Linear
from graft.job import Job, open_job
from graft.methods.heads import probe
from graft.metrics import is_better, scorer_of
from graft.model import Towers
from graft.recipe import read_recipe
from graft.records import Between, RunRecord
from graft.run_folder import refuse_other_data
from graft.serial import from_json, to_json
from graft.storage import write_text
from graft.surgery.inserting import is_mergeable, remove
from graft.tasks.labelled import keeps_head
from graft.tasks.match import OWN

ALPHAS = tuple(i / 10 for i in range(11))


@dataclass(frozen=True)
class Interpolation:
    """The curve from before training to after it.

    Args:
        metric: that counts first.
        points: by ascending alpha.
        chosen: the alpha that is best on validation rows; the larger one of a tie.
    """

    metric: str
    points: tuple[Between, ...]
    chosen: float

    @property
    def at_chosen(self) -> Between:
        """Return the point of the alpha that was chosen."""
        return next(point for point in self.points if point.alpha == self.chosen)


def interpolate(
    run: str | Path, *, alphas: Sequence[float] = ALPHAS, out: str | Path | None = None
) -> Interpolation:
    """Score models between the weights of a run before training and after it.

    The data of the run must still lie where it was. The curve goes into the run's record and page.
    Where the head of a classifier began at random, alpha 0 is a probe of the untouched body.

    Args:
        run: folder of a finished run.
        alphas: from 0 (before) to 1 (after).
        out: folder for the model at the alpha that is best on validation rows.

    Raises:
        InputError: an alpha is outside of 0 to 1, there is something at `out`, the data have
            changed, or the run held out no validation rows.
        ModelError: the run's model has other weights than the one that it began with.
    """
    if not alphas or not all(0 <= alpha <= 1 for alpha in alphas):
        raise InputError("alphas: give numbers from 0, before training, to 1, after it")
    if out is not None and Path(out).exists():
        raise InputError(f"{out}: is there already; choose another --out")
    recipe = Path(run) / "recipe.yaml"
    if not recipe.is_file():
        raise ModelError(f"{run}: no recipe.yaml; point at the folder of a run")
    job = open_job(read_recipe({}, recipe))
    refuse_other_data(Path(run), job.table.content_hash())
    if not len(job.splits.validation):
        raise InputError(f"{run}: held out no validation rows to choose alpha on")
    is_both = isinstance(job.model, Towers)
    opened: Any = open_both(run) if is_both else load_artifact(model_folder(run))
    tuned, task = opened
    if is_mergeable(job.model):
        remove(job.model)  # it was merged in the model that was saved, and is nothing at the start
    after = _detached(tuned)
    before = start_of(job, after)
    if {k: t.shape for k, t in before.items()} != {k: t.shape for k, t in after.items()}:
        raise ModelError(f"{run}: the run ended with another network than it began with")
    held_out = {k: v for k, v in job.streams().items() if k != "train" and len(first_of(v))}
    streams = held_out if is_both else {k: {k: first_of(v)} for k, v in held_out.items()}
    points: list[Between] = []
    for alpha in sorted(set(alphas)):
        tuned.load_state_dict(mixed(before, after, alpha))
        points.append(Between(alpha, _scores(job, tuned, task, streams)))
    chosen = _best(points, task)
    points = [replace(point, chosen=point.alpha == chosen) for point in points]
    found = Interpolation(task.headline, tuple(points), chosen)
    _record(Path(run), found)
    if out is not None:
        tuned.load_state_dict(mixed(before, after, chosen))
        pair = job.backbone if isinstance(job.backbone, BackbonePair) else None
        save_artifact(Path(out), tuned, task, pair)
    return found


def _record(run: Path, found: Interpolation) -> None:
    """Write the curve into the record of a run, and draw its page anew."""
    path = run / "record.json"
    record = from_json(RunRecord, path.read_text(encoding="utf-8"))
    mend = "free some space, then ask again"
    write_text(path, to_json(replace(record, between=found.points)), mend=mend)
    report(run)


def mixed(
    before: Mapping[str, Tensor], after: Mapping[str, Tensor], alpha: float
) -> dict[str, Tensor]:
    """Return the weights at alpha; what is no real number (a counter) is that of the end."""
    return {
        name: torch.lerp(before[name], end, alpha) if end.is_floating_point() else end
        for name, end in after.items()
    }


def start_of(job: Job, after: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights at alpha 0, in place of those that the job's model has.

    Args:
        job: of the run, opened again, its model as it was before training.
        after: the weights at the end.
    """
    model: Any = job.model
    task = job.task
    if isinstance(job.backbone, BackbonePair):
        if job.backbone.heads is None or task.head != OWN:
            for head in ("image_head", "text_head"):
                model.get_submodule(head).load_state_dict(under(f"{head}.", after))
        return _detached(model)
    is_new = not job.recipe.begins_at_names and not keeps_head(task, job.backbone)
    if is_new and hasattr(task, "convex"):
        if not isinstance(model.head, Linear) or getattr(task, "why_not_convex", ""):
            model.head.load_state_dict(under("head.", after))
            return _detached(model)
        streams = {"train": job.streams()["train"]}
        run_plan(probe(), model, task, streams, state=job.state, settings=settings_of(job))
    task.settled(model)
    return _detached(model)


def _detached(model: nn.Module) -> dict[str, Tensor]:
    return {name: t.detach().cpu().clone() for name, t in model.state_dict().items()}


def _scores(job: Job, model: Any, task: Any, streams: Mapping[str, Any]) -> dict[str, float]:
    found = {}
    for name, part in streams.items():
        outputs = vectors_of_both(model, task, part, job.recipe.workers)
        scorer = scorer_of(task.metrics)(task.truth(first_of(part)), outputs)
        found[name] = scorer.scores()[task.headline]
    return found


def _best(points: Sequence[Between], task: Any) -> float:
    best = points[-1]
    for point in reversed(points):
        value, other = point.scores["validation"], best.scores["validation"]
        if is_better(task.metrics, task.headline, value, other) or np.isnan(other):
            best = point
    return best.alpha
