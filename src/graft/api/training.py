"""Training as a function."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from graft.api.asked import asked_for
from graft.api.predicting import Prediction, predict
from graft.artifact import save_artifact
from graft.backbones.backbone import Backbone
from graft.engine.embed import nearest_mean, pooled_features
from graft.engine.fingerprint import fingerprint
from graft.engine.predict import predict_rows
from graft.engine.processes import from_main
from graft.engine.replay import evaluating
from graft.engine.run import run
from graft.engine.settings import Listener, Settings
from graft.engine.threads import choose_threads, computing_with
from graft.errors import Diverged, ModelError, RecipeError
from graft.job import Job, open_job
from graft.metrics.classification import classification_metrics
from graft.recipe import Recipe, read_recipe
from graft.records import PhaseRecord, RunRecord, from_json, to_json
from graft.report.card import model_card
from graft.run_folder import (
    check_folder,
    epoch_lines,
    make_folder,
    new_folder,
    write_predictions,
    write_recipe,
    write_text,
)
from graft.tasks.streams import TableStream

Streams = Mapping[str, Mapping[str, TableStream]]
RECIPE = "recipe.yaml"
N_CHECKED = 64


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
        return self.record.after.get("test") or self.record.after.get("validation", {})

    def predict(self, values: Sequence[Any]) -> list[Prediction]:
        """Predict labels of texts or of paths to images."""
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
        data: a CSV with texts and labels, or class folders of images; None where `recipe` says.
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
        InputError: data, recipe or model are not usable; the message says how to mend it.
    """
    began = time.perf_counter()
    before = Path(out) / RECIPE if resume and out is not None else None
    if before is not None and before.is_file() and recipe is None:
        recipe = before
    asked = asked_for(data, model, recipe, options)
    folder = from_main(lambda: _choose_folder(asked.recipe, out, overwrite, resume))
    if before is not None and before.is_file():
        _refuse_another(asked.recipe, before)
        if (folder / "record.json").is_file():
            return load(folder, backbone=asked.backbone)
    threads = asked.recipe.threads or from_main(choose_threads)
    with computing_with(threads):
        resolved = asked.recipe.model_copy(update={"threads": threads})
        job = open_job(resolved, asked.backbone, asked.plan)
        from_main(lambda: make_folder(folder, overwrite=overwrite))
        record = _train(job, folder, listener or Listener(), resume=resume, began=began)
    return Run(folder, record, asked.backbone)


def _train(job: Job, folder: Path, listener: Listener, *, resume: bool, began: float) -> RunRecord:
    if not (resume and (folder / RECIPE).is_file()):
        from_main(lambda: write_recipe(folder / RECIPE, job.recipe.model_dump()))
    listener.on_note(f"{job.table.because}; {job.splits.how}")
    streams = job.streams()
    settings = _settings(job, folder)
    before = _before(job, streams, settings)
    phases = run(
        job.plan,
        job.model,
        job.task,
        {k: v for k, v in streams.items() if k != "test" and len(v["train"])},
        settings=settings,
        listener=listener,
        resume=resume,
    )
    return from_main(lambda: _finish(job, folder, streams, phases, before, began))


def load(folder: str | Path, *, backbone: Backbone | None = None) -> Run:
    """Open a finished run.

    Args:
        folder: of the run.
        backbone: where the run's network was declared in Python: the same, declared again.

    Raises:
        ModelError: the folder is no finished run.
    """
    path = Path(folder) / "record.json"
    if not path.is_file():
        raise ModelError(f"{folder}: no record.json; is it a finished run? pass --resume to go on")
    record = from_json(RunRecord, path.read_text(encoding="utf-8"))
    return Run(Path(folder), record, backbone)


def environment() -> dict[str, str]:
    """Return what a result depends on beside data and recipe."""
    names = ("torch", "transformers", "timm", "torchvision", "numpy")
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "threads": str(torch.get_num_threads()),
        **{name: version(name) for name in names},
    }


def _choose_folder(asked: Recipe, out: str | Path | None, overwrite: bool, resume: bool) -> Path:
    """Return the run's folder; nothing is written yet."""
    folder = Path(out) if out else new_folder(asked.data, asked.method)
    check_folder(folder, asked.data, overwrite=overwrite, resume=resume)
    return folder


def _refuse_another(asked: Recipe, path: Path) -> None:
    """Refuse to resume a run that was asked to do something else.

    Raises:
        RecipeError: a setting that changes the result differs.
    """
    before = read_recipe({}, path)
    resolved = asked.model_copy(
        update={"model": asked.model or before.model, "threads": asked.threads or before.threads}
    )
    if resolved.digest() == before.digest():
        return
    was, now = before.model_dump(), resolved.model_dump()
    odd = [f"{k} was {was[k]}, is {now[k]}" for k in was if was[k] != now[k] and k != "data"]
    raise RecipeError(
        f"{path.parent}: is a run with other settings ({', '.join(odd)[:80]}); "
        "leave them out to resume it, or choose another --out"
    )


def _finish(
    job: Job,
    folder: Path,
    streams: Streams,
    phases: tuple[PhaseRecord, ...],
    before: dict[str, dict[str, float]],
    began: float,
) -> RunRecord:
    """Write what the run leaves behind, and return its record.

    Raises:
        Diverged: what the model predicts is not finite; no model is written.
    """
    for part in streams.values():
        if len(part["train"]):
            _refuse_infinite(job, part["train"])
    opens_with = save_artifact(folder / "model", job.model, job.task)
    after = {
        name: _score(job, name, streams, folder)
        for name, stream in streams.items()
        if name != "train" and len(stream["train"])
    }
    record = _record(job, phases, before, after, opens_with, time.perf_counter() - began)
    card = model_card(record, modality=job.backbone.modality)
    write_text(folder / "model" / "README.md", card)
    write_text(folder / "metrics.jsonl", epoch_lines(record))
    write_text(folder / "record.json", to_json(record))
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    return record


def _refuse_infinite(job: Job, stream: TableStream) -> None:
    rows = np.arange(min(len(stream), N_CHECKED))
    with evaluating(job.model), torch.no_grad():
        device = next(job.model.parameters()).device
        found = job.task.predict(job.model, stream.batch(rows).to(device))
    if not all(bool(torch.isfinite(t).all()) for t in found.values()):
        raise Diverged("the trained model predicts values that are not finite; lower the rate")


def _before(job: Job, streams: Streams, settings: Settings) -> dict[str, dict[str, float]]:
    """Score the untouched backbone: nearest class mean on its features."""
    train = streams["train"]["train"]
    features = pooled_features(job.model, job.task, train, settings)
    labels = train.targets["label"].numpy()
    found = {}
    for name, part in streams.items():
        if name == "train" or not len(part["train"]):
            continue
        queries = pooled_features(job.model, job.task, part["train"], settings)
        probabilities = nearest_mean(features, labels, queries, len(job.task.classes))
        found[name] = classification_metrics(part["train"].targets["label"].numpy(), probabilities)
    return found


def _score(job: Job, split: str, streams: Streams, folder: Path) -> dict[str, float]:
    """Score a held-out split; the one that counts leaves its predictions in the run's folder."""
    stream = streams[split]["train"]
    probabilities = predict_rows(job.model, job.task, stream)["probabilities"]
    if split == ("test" if len(job.splits.test) else "validation"):
        rows = getattr(job.splits, split)
        path = folder / "predictions.csv"
        write_predictions(path, job.table, rows, split, probabilities, job.task.classes)
    return classification_metrics(stream.targets["label"].numpy(), probabilities)


def _record(
    job: Job,
    phases: tuple[PhaseRecord, ...],
    before: dict[str, dict[str, float]],
    after: dict[str, dict[str, float]],
    opens_with: str,
    seconds: float,
) -> RunRecord:
    notes = [*job.backbone.origin.notes, *(str(f) for f in job.findings)]
    if job.task.keeps_head(job.backbone):
        notes.append("the classes are those that the model was trained on: its own head is kept")
    if _is_worse(before, after):
        notes.append(
            "the trained model is less accurate than the untouched backbone with class means: "
            "lower the rate, or try --method probe"
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
        before=before,
        after=after,
        weights_sha256=fingerprint(job.model.state_dict().items()),
        opens_with=opens_with,
        seconds=seconds,
        peak_memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        n_parameters=sum(p.numel() for p in job.model.parameters()),
        n_trained=max(n_trained, default=0),
        environment=environment(),
        notes=tuple(notes),
        chosen_on=_chosen_on(phases),
    )


def _is_worse(
    before: Mapping[str, Mapping[str, float]], after: Mapping[str, Mapping[str, float]]
) -> bool:
    split = "test" if "test" in after else "validation"
    if split not in after or split not in before:
        return False
    return after[split]["accuracy"] < before[split]["accuracy"]


def _chosen_on(phases: tuple[PhaseRecord, ...]) -> dict[str, str]:
    """Say what was chosen on which rows; what was given is not chosen."""
    found = {}
    for phase in phases:
        if phase.convex is not None and phase.convex.chosen_by != "given":
            found["l2"] = phase.convex.chosen_by
        if phase.best_epoch is not None:
            found["epoch"] = "loss on validation rows"
    return found


def _settings(job: Job, folder: Path) -> Settings:
    recipe = job.recipe
    cache = None
    if recipe.cache != "off":
        cache = cache_folder() if recipe.cache == "auto" else Path(recipe.cache)
    digest = f"{recipe.digest()}-{job.table.content_hash()[:16]}"
    return Settings(
        seed=recipe.seed,
        precision=recipe.precision,
        strategy=recipe.strategy,
        cache=cache,
        checkpoints=folder / "checkpoints",
        checkpoint_every=recipe.checkpoint_every,
        recipe=digest,
    )


def cache_folder() -> Path:
    """Return where feature stores lie: `$GRAFT_CACHE`, else the user's cache folder."""
    own = os.environ.get("GRAFT_CACHE")
    if own:
        return Path(own)
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "graft" / "features"
