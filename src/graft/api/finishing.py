"""What a finished training leaves behind: model, scores, predictions, record and card."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from graft.adapters import save_adapter
from graft.api.adapting import Seen, with_domain
from graft.api.both_towers import first_of, is_paired, vectors_of_both
from graft.api.choosing import BlockChoice, with_depths
from graft.api.judging import Worth, judge
from graft.api.mapping import drawn_rows
from graft.api.picturing import collect
from graft.api.provenance import environment
from graft.api.reporting import report
from graft.api.showing import Judged
from graft.artifact import save_artifact
from graft.backbones.backbone import Backbone
from graft.backbones.pair import BackbonePair
from graft.engine.fingerprint import fingerprint
from graft.engine.groups import STATE
from graft.engine.predict import predict_and_embed
from graft.engine.replay import evaluating
from graft.engine.views import items
from graft.errors import Diverged
from graft.job import Job
from graft.killpoints import fail_at
from graft.memory import peak_bytes
from graft.metrics import is_better
from graft.model import Model, Towers
from graft.phase_records import CacheRecord, PhaseRecord
from graft.records import RememberedRecord, RunRecord
from graft.report.card import model_card
from graft.report.depths import draw_depths
from graft.report.words import UNTOUCHED, readable, spelled
from graft.rows_out import write_predictions
from graft.run_folder import epoch_lines
from graft.serial import to_json
from graft.storage import storing, write_text
from graft.tasks.adapted import CHOSEN_BY, Adapted
from graft.tasks.aims import Learned
from graft.tasks.labelled import Labelled, Truth, keeps_head
from graft.tasks.streams import TableStream
from graft.tasks.task import Progress, Stream
from graft.wording import counted

Streams = Mapping[str, Mapping[str, TableStream]]
N_CHECKED = 64
MEND = "free some space, then pass --resume"


@dataclass(frozen=True, eq=False)
class Finished:
    """Hold what a training came to.

    Args:
        outputs: by held-out split, what the trained model answers for each row.
    """

    record: RunRecord
    outputs: Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Untouched:
    """Hold what the backbone gave before anything trained.

    Args:
        outputs: by held-out split, what its features answer for each row.
        features: by held-out split, (K, D) of the rows that the report's map shows.
        cache: of the pass over the training rows.
        known: (N, D) features of the training rows, or of their different items.
        target: what it gave for held-out rows of the domain that is adapted to.
    """

    outputs: Mapping[str, np.ndarray]
    features: Mapping[str, np.ndarray]
    cache: CacheRecord | None = None
    known: np.ndarray | None = None
    target: Seen | None = None


def finish(
    job: Job,
    folder: Path,
    streams: Streams,
    phases: tuple[PhaseRecord, ...],
    before: Untouched,
    began: float,
    began_with: str,
    chosen: BlockChoice | None = None,
    remembered: RememberedRecord | None = None,
) -> Finished:
    """Write what the run leaves behind, and return its record.

    The record comes last of what cannot be made again without the model; the page is made of it.

    Args:
        began_with: fingerprint of the backbone before it was trained.

    Raises:
        Diverged: what the model predicts is not finite; no model is written.
    """
    if isinstance(job.model, Towers) and isinstance(job.state, Learned):
        job.task.after_step(job.model, job.state, Progress())  # type: ignore[attr-defined]
    task = job.task.settled(job.model)  # type: ignore[arg-type]
    held = {name: streams[name] for name in before.outputs}
    after = {name: _predict(job, task, part) for name, part in held.items()}
    shown = [found.outputs for found in after.values()]
    _refuse_infinite(shown or [_few(job, s) for s in streams["train"].values() if len(s)])
    pair = job.backbone if isinstance(job.backbone, BackbonePair) else None
    opens_with = save_artifact(folder / "model", job.model, task, pair)
    adapter_bytes = _save_adapter(job, folder / "adapter", task, began_with)
    targets = {name: task.truth(first_of(part)) for name, part in held.items()}
    outputs = {name: found.outputs[task.output] for name, found in after.items()}
    near = {name: np.isin(getattr(job.splits, name), list(job.near)) for name in after}
    worth = judge(task, targets, before.outputs, outputs, near)
    if worth.judged_on:
        rows = getattr(job.splits, worth.judged_on)
        answers = task.answers(outputs[worth.judged_on])
        path = folder / "predictions.csv"
        if answers:
            with storing("predictions", folder, MEND):
                write_predictions(path, job.table, rows, worth.judged_on, answers, task.classes)
    record = _record(job, phases, worth, opens_with, time.perf_counter() - began)
    record = replace(
        record, untouched=before.cache, adapter_bytes=adapter_bytes, remembered=remembered
    )
    if worth.judged_on:
        found = after[worth.judged_on]
        seconds = found.seconds / len(found.outputs[task.output])
        record = replace(record, predict_seconds=seconds)
    if chosen is not None:
        record = with_depths(record, chosen)
        write_text(folder / "depths.svg", draw_depths(record.depths), mend=MEND)
    write_text(folder / "metrics.jsonl", epoch_lines(record), mend=MEND)
    judged = None
    if worth.judged_on:
        name = worth.judged_on
        judged = _judged(job, record, targets[name], after[name], before)
    facts = collect(task, job.table, job.splits, judged)
    if job.target is not None:
        sides = None
        if worth.judged_on:
            sides = before.features[worth.judged_on], after[worth.judged_on].features
        record, facts = with_domain(
            job, record, facts=facts, streams=streams, source=sides, before=before.target
        )
    card = model_card(record, modality=job.backbone.modality)
    write_text(folder / "model" / "README.md", card, mend=MEND)
    write_text(folder / "report.json", to_json(facts, indent=None), mend=MEND)
    fail_at("before_record")
    write_text(folder / "record.json", to_json(record), mend=MEND)
    fail_at("before_cleaning")
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    report(folder)
    return Finished(record, outputs)


def _save_adapter(job: Job, folder: Path, task: Labelled, began_with: str) -> int:
    """Keep by itself what was trained, where that is little; returns its size in bytes."""
    asked = job.recipe
    is_other = any(x is not None for x in (asked.at, asked.channels, asked.student_blocks))
    if not isinstance(job.model, Model) or is_other:  # whose backbone no name opens
        return 0
    if not save_adapter(folder, job.model, task, job.plan, backbone_sha256=began_with):
        return 0
    return sum(path.stat().st_size for path in folder.iterdir())


@dataclass(frozen=True, eq=False)
class Predicted:
    """Hold the outputs (M, …) for a split, features (K, D) of the rows in the map, the time."""

    outputs: Mapping[str, np.ndarray]
    features: np.ndarray
    seconds: float


def _predict(job: Job, task: Labelled, streams: Mapping[str, Stream]) -> Predicted:
    began = time.perf_counter()
    if is_paired(streams):
        vectors = vectors_of_both(job.model, task, streams, job.recipe.workers)
        seconds = time.perf_counter() - began
        return Predicted({task.output: vectors}, vectors[drawn_rows(len(vectors))], seconds)
    stream = items(first_of(streams))
    assert isinstance(job.model, Model)
    outputs, features = predict_and_embed(
        job.model, task, stream, drawn_rows(len(stream)), n_workers=job.recipe.workers
    )
    return Predicted(outputs, features, time.perf_counter() - began)


def _judged(
    job: Job, record: RunRecord, targets: Truth, after: Predicted, before: Untouched
) -> Judged:
    """Return what is known of the rows that count; `before` only where it can be compared."""
    note = ""
    if record.depths and not record.depths[-1].chosen:
        note = "the trained network ends at a lower block than the untouched one"
    elif isinstance(job.model, Model) and record.n_trained == sum(
        p.numel() for p in job.model.head.parameters()
    ):
        note = "nothing below the head was trained, so the features are the same before and after"
    return Judged(
        rows=getattr(job.splits, record.judged_on),
        targets=targets,
        outputs=after.outputs[job.task.output],
        drawn=drawn_rows(len(after.outputs[job.task.output])),
        after=after.features,
        before=None if note else before.features[record.judged_on],
        note=note,
        untrained=before.outputs[record.judged_on],
    )


def _few(job: Job, stream: TableStream) -> Mapping[str, np.ndarray]:
    """Return what the model predicts for the first rows of a stream."""
    rows = np.arange(min(len(stream), N_CHECKED))
    with evaluating(job.model), torch.no_grad():
        device = next(job.model.parameters()).device
        found = job.task.predict(job.model, stream.batch(rows).to(device))
    return {name: values.cpu().numpy() for name, values in found.items()}


def _refuse_infinite(predicted: Sequence[Mapping[str, np.ndarray]]) -> None:
    for outputs in predicted:
        if not all(np.isfinite(values).all() for values in outputs.values()):
            raise Diverged("the trained model predicts values that are not finite; lower the rate")


def _record(
    job: Job,
    phases: tuple[PhaseRecord, ...],
    worth: Worth,
    opens_with: str,
    seconds: float,
) -> RunRecord:
    notes = [*job.backbone.origin.notes, *job.notes]
    if isinstance(job.backbone, Backbone) and keeps_head(job.task, job.backbone):
        notes.append("the classes are those that the model was trained on: its own head is kept")
    if worth.n_near:
        notes.append(_clean_note(job.task, worth))
    if _is_worse(job.task, worth):
        notes.append(
            f"the trained model has {_how_much_worse(worth, job.task.headline)} than the "
            f"{UNTOUCHED[job.task.name]}: {_mend(job.task, phases)}"
        )
    # of the model: what a task keeps beside it is not in what the parameters are counted against
    trained = [
        [g for g in p.groups if g.lr is not None and not g.rule.startswith(STATE)] for p in phases
    ]
    n_trained = [sum(g.n_parameters for g in groups) for groups in trained]
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
        peak_memory_bytes=peak_bytes(),
        n_parameters=sum(p.numel() for p in job.model.parameters()),
        n_trained=max(n_trained, default=0),
        environment=environment(),
        notes=tuple(notes),
        chosen_on={**job.chosen_on, **_chosen_on(phases, job.task)},
        task=job.task.name,
        headline=job.task.headline,
        intervals=worth.intervals,
        per_class=worth.per_class,
        findings=tuple(f.record() for f in job.findings),
        n_near=worth.n_near,
        pairs=worth.pairs,
        wordings=job.wordings,
        teacher=None if job.taught is None else job.taught.record,
    )


def _clean_note(task: Labelled, worth: Worth) -> str:
    """Say what the model is worth without held-out rows that repeat one of an earlier part."""
    part, n = worth.judged_on, worth.n_near
    rows = counted(n, f"{part} row repeats", f"{part} rows repeat")
    note = f"{rows} a row that it was trained or chosen on, or nearly so"
    clean = worth.after.get(f"{part} clean")
    if clean is None:
        return f"{note}, all that there are: keep other rows for the {part}"
    name = task.headline
    return (
        f"{note}; without {'it' if n == 1 else 'them'} {readable(name)} is {clean[name]:.3f}, "
        f"with {'it' if n == 1 else 'them'} {worth.after[part][name]:.3f}"
    )


def _is_worse(task: Labelled, worth: Worth) -> bool:
    if not worth.judged_on:
        return False
    before, after = (part[worth.judged_on][task.headline] for part in (worth.before, worth.after))
    return is_better(task.metrics, task.headline, before, after)


def _how_much_worse(worth: Worth, metric: str) -> str:
    """Return `a worse accuracy`, or that it is no better where the interval holds zero."""
    change = worth.intervals.get("change", {}).get(metric)
    is_clear = change is not None and (change.low > 0 or change.high < 0)
    return f"{'a worse' if is_clear else 'no better'} {spelled(metric)}"


def _mend(task: Labelled, phases: tuple[PhaseRecord, ...]) -> str:
    """Say what may help a model that is worse than what it began with."""
    if task.name == "embed":  # whose backbone has a use without a head, and no head to solve
        return "lower the rate, train for more epochs, or try another --objective"
    if not phases:
        return "try other words with --template, or train on with --init-head zero-shot"
    if all(phase.convex is not None for phase in phases):
        return "add rows, or try another --model"
    if isinstance(task, Adapted):
        return "lower the rate, or --adapt-weight"
    return "lower the rate, or try --method probe"


def _chosen_on(phases: tuple[PhaseRecord, ...], task: Labelled) -> dict[str, str]:
    """Say what was chosen on which rows; what was given is not chosen."""
    found = {}
    for phase in phases:
        if phase.convex is not None and phase.convex.chosen_by != "given":
            found["l2"] = phase.convex.chosen_by
        if phase.best_epoch is not None:
            is_adapted = isinstance(task, Adapted)
            found["epoch"] = CHOSEN_BY if is_adapted else "loss on validation rows"
    return found
