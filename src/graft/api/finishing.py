"""What a finished training leaves behind: model, scores, predictions, record and card."""

from __future__ import annotations

import resource
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from graft.api.choosing import BlockChoice, with_depths
from graft.api.judging import Worth, judge
from graft.api.provenance import environment
from graft.artifact import save_artifact
from graft.engine.fingerprint import fingerprint
from graft.engine.predict import predict_rows
from graft.engine.replay import evaluating
from graft.errors import Diverged
from graft.job import Job
from graft.killpoints import fail_at
from graft.metrics import is_better
from graft.records import PhaseRecord, RunRecord, to_json
from graft.report.card import model_card
from graft.report.depths import draw_depths
from graft.report.words import UNTOUCHED
from graft.rows_out import write_predictions
from graft.run_folder import epoch_lines
from graft.storage import storing, write_text
from graft.tasks.labelled import Labelled, keeps_head
from graft.tasks.streams import TableStream

Streams = Mapping[str, Mapping[str, TableStream]]
N_CHECKED = 64
MEND = "free some space, then pass --resume"


def finish(
    job: Job,
    folder: Path,
    streams: Streams,
    phases: tuple[PhaseRecord, ...],
    before: Mapping[str, np.ndarray],
    began: float,
    chosen: BlockChoice | None = None,
) -> RunRecord:
    """Write what the run leaves behind, and return its record.

    Args:
        before: by held-out split what the untouched backbone answers for its rows.

    Raises:
        Diverged: what the model predicts is not finite; no model is written.
    """
    for part in streams.values():
        if len(part["train"]):
            _refuse_infinite(job, part["train"])
    task = job.task.settled(job.model)
    opens_with = save_artifact(folder / "model", job.model, task)
    n = job.recipe.workers
    after = {
        name: predict_rows(job.model, task, streams[name]["train"], n_workers=n) for name in before
    }
    targets = {name: streams[name]["train"].targets[task.target].numpy() for name in before}
    worth = judge(task, targets, before, {n: found[task.output] for n, found in after.items()})
    if worth.judged_on:
        rows = getattr(job.splits, worth.judged_on)
        answers = task.answers(after[worth.judged_on][task.output])
        path = folder / "predictions.csv"
        with storing("predictions", folder, MEND):
            write_predictions(path, job.table, rows, worth.judged_on, answers, task.classes)
    record = _record(job, phases, worth, opens_with, time.perf_counter() - began)
    if chosen is not None:
        record = with_depths(record, chosen)
        write_text(folder / "depths.svg", draw_depths(record.depths), mend=MEND)
    card = model_card(record, modality=job.backbone.modality)
    write_text(folder / "model" / "README.md", card, mend=MEND)
    write_text(folder / "metrics.jsonl", epoch_lines(record), mend=MEND)
    fail_at("before_record")
    write_text(folder / "record.json", to_json(record), mend=MEND)
    fail_at("before_cleaning")
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    return record


def _refuse_infinite(job: Job, stream: TableStream) -> None:
    rows = np.arange(min(len(stream), N_CHECKED))
    with evaluating(job.model), torch.no_grad():
        device = next(job.model.parameters()).device
        found = job.task.predict(job.model, stream.batch(rows).to(device))
    if not all(bool(torch.isfinite(t).all()) for t in found.values()):
        raise Diverged("the trained model predicts values that are not finite; lower the rate")


def _record(
    job: Job,
    phases: tuple[PhaseRecord, ...],
    worth: Worth,
    opens_with: str,
    seconds: float,
) -> RunRecord:
    notes = [*job.backbone.origin.notes, *job.notes, *(str(f) for f in job.findings)]
    if keeps_head(job.task, job.backbone):
        notes.append("the classes are those that the model was trained on: its own head is kept")
    if _is_worse(job.task, worth):
        notes.append(
            f"the trained model has a worse {job.task.headline.replace('_', ' ')} than the "
            f"{UNTOUCHED[job.task.name]}: {_mend(phases)}"
        )
    n_trained = [sum(g.n_parameters for g in p.groups if g.lr is not None) for p in phases]
    return RunRecord(
        model=job.recipe.model or "",
        method=job.recipe.method,
        classes=job.task.classes,
        n_train=len(job.splits.train),
        n_validation=len(job.splits.validation),
        n_test=len(job.splits.test),
        how_split=job.splits.how,
        data_hash=job.table.content_hash(),
        phases=phases,
        before=worth.before,
        after=worth.after,
        weights_sha256=fingerprint(job.model.state_dict().items()),
        opens_with=opens_with,
        seconds=seconds,
        peak_memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        n_parameters=sum(p.numel() for p in job.model.parameters()),
        n_trained=max(n_trained, default=0),
        environment=environment(),
        notes=tuple(notes),
        chosen_on={**job.chosen_on, **_chosen_on(phases)},
        task=job.task.name,
        headline=job.task.headline,
        intervals=worth.intervals,
        per_class=worth.per_class,
    )


def _is_worse(task: Labelled, worth: Worth) -> bool:
    if not worth.judged_on:
        return False
    before, after = (part[worth.judged_on][task.headline] for part in (worth.before, worth.after))
    return is_better(task.metrics, task.headline, before, after)


def _mend(phases: tuple[PhaseRecord, ...]) -> str:
    """Say what may help a model that is worse than what it began with."""
    if all(phase.convex is not None for phase in phases):
        return "add rows, or try another --model"
    return "lower the rate, or try --method probe"


def _chosen_on(phases: tuple[PhaseRecord, ...]) -> dict[str, str]:
    """Say what was chosen on which rows; what was given is not chosen."""
    found = {}
    for phase in phases:
        if phase.convex is not None and phase.convex.chosen_by != "given":
            found["l2"] = phase.convex.chosen_by
        if phase.best_epoch is not None:
            found["epoch"] = "loss on validation rows"
    return found
