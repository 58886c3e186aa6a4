"""The verbs as functions: train, plan, predict, evaluate, load."""

from __future__ import annotations

import csv
import os
import platform
import resource
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from graft.artifact import load_artifact, save_artifact
from graft.backbones import open_backbone
from graft.backbones.backbone import Backbone
from graft.data.check import check, usable
from graft.data.faults import Finding, refuse
from graft.data.readers import read
from graft.data.split import Splits, split
from graft.data.table import Table
from graft.engine.embed import nearest_mean, pooled_features
from graft.engine.feeds import find_feeds
from graft.engine.fingerprint import fingerprint
from graft.engine.groups import locate, resolve
from graft.engine.predict import predict_rows
from graft.engine.processes import launched
from graft.engine.run import Listener, Settings, run
from graft.errors import InputError, ModelError, StorageError
from graft.methods.plan import Convex, Plan
from graft.metrics.classification import classification_metrics
from graft.model import Model
from graft.recipe import Recipe, build_plan, read_recipe
from graft.records import GroupRecord, RunRecord, from_json, to_json
from graft.tasks.classify import Classify, balanced_weights

DEFAULT_TEXT_MODEL = "minilm"


@dataclass(frozen=True)
class Run:
    """A finished training: its record and the folder it left.

    >>> run = graft.train("data.csv")          # doctest: +SKIP
    >>> run.metrics["accuracy"], run.predict(["where is my parcel?"])   # doctest: +SKIP
    """

    folder: Path
    record: RunRecord

    @property
    def metrics(self) -> dict[str, float]:
        """Return the metrics on held-out rows: test rows, or else validation rows."""
        return self.record.after.get("test") or self.record.after.get("validation", {})

    def predict(self, values: Sequence[Any]) -> list[Prediction]:
        """Predict labels of texts or of paths to images."""
        return predict(self.folder, values)


@dataclass(frozen=True)
class Prediction:
    """A label with the probability of every class."""

    label: str
    probabilities: dict[str, float]


@dataclass(frozen=True)
class PlannedPhase:
    """A phase as it would run: its groups, and where the network would be cut."""

    name: str
    by: str
    cut: str
    cached: bool
    reason: str
    groups: tuple[GroupRecord, ...]


@dataclass(frozen=True)
class Planned:
    """What a training would do."""

    model: str
    method: str
    n_blocks: int
    classes: tuple[str, ...]
    n_train: int
    n_validation: int
    n_test: int
    how_read: str
    how_split: str
    phases: tuple[PlannedPhase, ...]
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class _Opened:
    """Everything that is known before training."""

    recipe: Recipe
    table: Table
    splits: Splits
    findings: tuple[Finding, ...]
    backbone: Backbone
    task: Classify
    model: Model
    plan: Plan


def train(
    data: str | Path,
    *,
    out: str | Path | None = None,
    overwrite: bool = False,
    resume: bool = False,
    recipe: str | Path | None = None,
    listener: Listener | None = None,
    **options: Any,
) -> Run:
    """Fine-tune a pretrained model on a file or folder of examples.

    Args:
        data: a CSV with texts and labels, or class folders of images.
        out: the run's folder; a new one under `runs/` unless given.
        overwrite: replace what a finished run left in `out`.
        resume: go on with the run in `out`.
        recipe: a YAML file of options; keywords win over it.
        options: see `graft.recipe.Recipe`.

    Returns:
        The run, whose `model/` folder opens without graft.

    Raises:
        InputError: data, recipe or model are not usable; the message says how to mend it.
    """
    began = time.perf_counter()
    listener = listener or Listener()
    asked = read_recipe({"data": str(data), **options}, recipe)
    folder = _claim(Path(out) if out else _new_folder(asked), asked, overwrite, resume)
    opened = _open(asked)
    if resume and (folder / "record.json").is_file():
        return load(folder)
    _write_recipe(folder, opened.recipe)
    streams = {
        name: opened.task.streams(opened.table.take(rows), opened.backbone)
        for name, rows in _parts(opened.splits)
    }
    settings = _settings(opened, folder)
    notes = list(opened.backbone.origin.notes)
    if opened.task.keeps_head(opened.backbone):
        notes.append("the classes are those that the model was trained on: its own head is kept")
    before = _before(opened, streams, settings)
    splits = {k: v for k, v in streams.items() if k != "test" and len(v["train"])}
    phases = run(
        opened.plan,
        opened.model,
        opened.task,
        splits,
        settings=settings,
        listener=listener,
        resume=resume,
    )
    if launched() and int(os.environ.get("RANK", "0")) != 0:
        return Run(folder, None)  # type: ignore[arg-type]
    after = {
        name: _evaluate(opened.model, opened.task, stream["train"])
        for name, stream in streams.items()
        if name != "train" and len(stream["train"])
    }
    opens_with = save_artifact(folder / "model", opened.model, opened.task)
    _write_predictions(folder, opened, streams)
    trained = {g.rule for p in phases for g in p.groups if g.lr is not None}
    largest = max(
        (sum(g.n_parameters for g in p.groups if g.lr is not None) for p in phases), default=0
    )
    record = RunRecord(
        model=opened.recipe.model or "",
        method=opened.recipe.method,
        classes=opened.task.classes,
        n_train=len(opened.splits.train),
        n_validation=len(opened.splits.validation),
        n_test=len(opened.splits.test),
        how_split=opened.splits.how,
        data_hash=opened.table.content_hash(),
        phases=phases,
        before=before,
        after=after,
        weights_sha256=fingerprint(opened.model.state_dict().items()),
        opens_with=opens_with,
        seconds=time.perf_counter() - began,
        peak_memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        n_parameters=sum(p.numel() for p in opened.model.parameters()),
        n_trained=largest if trained else 0,
        environment=environment(),
        notes=tuple(notes),
        chosen_on={"l2": "folds of the training rows", "epoch": "validation rows"},
    )
    _write(folder / "record.json", to_json(record))
    return Run(folder, record)


def plan(data: str | Path, *, recipe: str | Path | None = None, **options: Any) -> Planned:
    """Say what `train` would do, without training."""
    opened = _open(read_recipe({"data": str(data), **options}, recipe))
    stream = opened.task.streams(opened.table.take(opened.splits.train[:64]), opened.backbone)
    phases = []
    for phase in opened.plan.phases:
        groups = resolve(phase.rules, locate(opened.model))
        feeds = find_feeds(opened.model, None, opened.task, groups, stream)
        records = tuple(
            GroupRecord(str(g.rule.where), g.rule.lr, len(g.members), g.n_parameters)
            for g in groups
            if g.members
        )
        by = "convex" if isinstance(phase.by, Convex) else f"{phase.by.epochs} epochs"
        cached = bool(feeds.replays)
        phases.append(PlannedPhase(phase.name, by, feeds.cut.label, cached, feeds.reason, records))
    return Planned(
        opened.recipe.model or "",
        opened.recipe.method,
        _n_blocks(opened.backbone),
        opened.task.classes,
        len(opened.splits.train),
        len(opened.splits.validation),
        len(opened.splits.test),
        opened.table.because,
        opened.splits.how,
        tuple(phases),
        opened.findings,
    )


def load(folder: str | Path) -> Run:
    """Open a finished run.

    Raises:
        ModelError: the folder is no finished run.
    """
    path = Path(folder) / "record.json"
    if not path.is_file():
        raise ModelError(f"{folder}: no record.json; is it a finished run? pass --resume to go on")
    return Run(Path(folder), from_json(RunRecord, path.read_text(encoding="utf-8")))


def predict(folder: str | Path, values: Sequence[Any]) -> list[Prediction]:
    """Predict with the model of a run: labels of texts, or of paths to images."""
    model, task = load_artifact(_model_folder(folder))
    table = Table.of_values(values, model.backbone.modality)
    stream = task.streams(table, model.backbone)["train"]
    if not len(stream):
        return []
    probabilities = predict_rows(model, task, stream)["probabilities"]
    return [
        Prediction(
            task.classes[int(row.argmax())],
            {c: float(p) for c, p in zip(task.classes, row, strict=True)},
        )
        for row in probabilities
    ]


def evaluate(
    folder: str | Path, data: str | Path, **roles: str | None
) -> tuple[dict[str, float], int]:
    """Evaluate the model of a run on labelled data; returns metrics and the number of rows."""
    model, task = load_artifact(_model_folder(folder))
    table, findings = usable(read(data, **roles))  # type: ignore[arg-type]
    refuse(findings)
    if table.labels() is None:
        raise InputError(f"{data}: no label column to evaluate on; name it with --label")
    return _evaluate(model, task, task.streams(table, model.backbone)["train"]), len(table)


def environment() -> dict[str, str]:
    """Return what a result depends on beside data and recipe."""
    names = ("torch", "transformers", "timm", "torchvision", "numpy")
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "threads": str(torch.get_num_threads()),
        **{name: version(name) for name in names},
    }


def _open(recipe: Recipe) -> _Opened:
    table = read(
        recipe.data,
        input=recipe.input,
        label=recipe.label,
        group=recipe.group,
        split=recipe.split_column,
        encoding=recipe.encoding,
        sep=recipe.sep,
    )
    if table.roles.label is None:
        raise InputError(f"{recipe.data}: no label column was found; name it with --label")
    table, findings = usable(table)
    splits = split(table, seed=recipe.seed, validation=recipe.validation, test=recipe.test)
    findings = (*findings, *check(table, splits))
    refuse(findings)
    if recipe.model is None:
        if table.roles.modality != "text":
            raise InputError(
                f"{recipe.data}: pictures need a backbone; pass --model with a folder or a name "
                "such as timm:mobilenetv3_small_100"
            )
        recipe = recipe.model_copy(update={"model": DEFAULT_TEXT_MODEL})
    assert recipe.model is not None
    backbone = open_backbone(recipe.model)
    if backbone.modality != table.roles.modality:
        raise InputError(
            f"model `{recipe.model}` takes {backbone.modality}, and `{recipe.data}` holds "
            f"{table.roles.modality}; choose another --model or --input"
        )
    task = _task(recipe, table, splits)
    torch.manual_seed(recipe.seed)
    model, _ = task.build(backbone)
    return _Opened(
        recipe,
        table,
        splits,
        findings,
        backbone,
        task,
        model,
        build_plan(recipe, _n_blocks(backbone)),
    )


def _task(recipe: Recipe, table: Table, splits: Splits) -> Classify:
    labels = table.labels()
    assert labels is not None
    counts: dict[str, int] = {}
    for row in splits.train:
        counts[labels[row]] = counts.get(labels[row], 0) + 1
    classes = tuple(sorted(counts))
    weights = None
    if recipe.class_weights == "balanced":
        by_name = balanced_weights(counts)
        weights = tuple(by_name[c] for c in classes)
    return Classify(classes, recipe.head, weights, recipe.label_smoothing)


def _before(
    opened: _Opened, streams: Mapping[str, Any], settings: Settings
) -> dict[str, dict[str, float]]:
    """Score the untouched backbone: nearest class mean on its features."""
    train = streams["train"]["train"]
    features = pooled_features(opened.model, opened.task, train, settings)
    labels = train.targets["label"].numpy()
    found = {}
    for name, part in streams.items():
        if name == "train" or not len(part["train"]):
            continue
        queries = pooled_features(opened.model, opened.task, part["train"], settings)
        probabilities = nearest_mean(features, labels, queries, len(opened.task.classes))
        found[name] = classification_metrics(part["train"].targets["label"].numpy(), probabilities)
    return found


def _evaluate(model: Model, task: Classify, stream: Any) -> dict[str, float]:
    probabilities = predict_rows(model, task, stream)["probabilities"]
    return classification_metrics(stream.targets["label"].numpy(), probabilities)


def _parts(splits: Splits) -> list[tuple[str, np.ndarray]]:
    return [("train", splits.train), ("validation", splits.validation), ("test", splits.test)]


def _n_blocks(backbone: Backbone) -> int:
    return max(chain.n_blocks for chain in backbone.chains)


def _settings(opened: _Opened, folder: Path) -> Settings:
    recipe = opened.recipe
    cache = None
    if recipe.cache != "off":
        cache = cache_folder() if recipe.cache == "auto" else Path(recipe.cache)
    digest = f"{recipe.digest()}-{opened.table.content_hash()[:16]}"
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


def _new_folder(recipe: Recipe) -> Path:
    stem = Path(recipe.data).stem or "run"
    for number in range(1, 10_000):
        folder = Path("runs") / f"{stem}-{recipe.method.replace(':', '')}-{number}"
        if not folder.exists():
            return folder
    raise InputError("runs/ holds 9,999 runs of this name; pass --out")


def _claim(folder: Path, recipe: Recipe, overwrite: bool, resume: bool) -> Path:
    data = Path(recipe.data).resolve()
    if folder.resolve() == data or data in folder.resolve().parents:
        raise InputError(f"{folder}: lies in the data; choose another --out")
    is_used = folder.exists() and any(folder.iterdir())
    if is_used and not (overwrite or resume):
        raise InputError(
            f"{folder}: holds a run already; pass --overwrite, --resume or another --out"
        )
    if is_used and overwrite:
        _clear(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"{folder}: cannot be made ({error.strerror}); choose another --out"
        ) from None
    return folder


def _clear(folder: Path) -> None:
    import shutil

    ours = {"recipe.yaml", "record.json", "metrics.jsonl", "predictions.csv", "README.md"}
    strange = [p.name for p in folder.iterdir() if p.name not in ours | {"model", "checkpoints"}]
    if strange:
        raise InputError(
            f"{folder}: holds `{strange[0]}`, which no run wrote; choose another --out"
        )
    shutil.rmtree(folder)


def _write_recipe(folder: Path, recipe: Recipe) -> None:
    import yaml

    values = {k: v for k, v in recipe.model_dump().items() if v is not None}
    _write(folder / "recipe.yaml", yaml.safe_dump(values, sort_keys=False, allow_unicode=True))


def _write_predictions(folder: Path, opened: _Opened, streams: Mapping[str, Any]) -> None:
    name = "test" if len(opened.splits.test) else "validation"
    rows = opened.splits.test if name == "test" else opened.splits.validation
    if not len(rows):
        return
    probabilities = predict_rows(opened.model, opened.task, streams[name]["train"])["probabilities"]
    labels = opened.table.labels()
    assert labels is not None
    with (folder / "predictions.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "row", "split", "label", "predicted", *opened.task.classes])
        for row, p in zip(rows, probabilities, strict=True):
            origin = opened.table.origin(int(row))
            predicted = opened.task.classes[int(p.argmax())]
            cells = [origin.path, origin.row, name, labels[row], predicted]
            writer.writerow([*map(_harmless, cells), *(f"{x:.6f}" for x in p)])


def _harmless(cell: Any) -> Any:
    """Keep a spreadsheet from running a cell as a formula."""
    if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{cell}"
    return cell


def _model_folder(folder: str | Path) -> Path:
    folder = Path(folder)
    if not folder.is_dir():
        raise ModelError(f"{folder}: no such folder; point at a run")
    return folder / "model" if (folder / "model").is_dir() else folder


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


__all__ = ["Planned", "Prediction", "Run", "evaluate", "load", "plan", "predict", "train"]
