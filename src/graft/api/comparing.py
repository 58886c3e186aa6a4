"""Comparing methods on one's own data, as a function.

Every cell is what `graft train` with the method and the seed would do, to the bit, in a folder of
its own. What the cells have in common is computed once a seed: the data read and split, the values
encoded, the untouched backbone's answers and, through the store, every frozen prefix.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from graft.api.asked import asked_for
from graft.api.both_towers import first_of
from graft.api.finishing import Finished, Untouched
from graft.api.provenance import environment
from graft.api.training import RECIPE, Once, settings_of, train_job, untouched
from graft.artifact import load_artifact
from graft.backbones.backbone import Backbone
from graft.backbones.pair import folder_of_both
from graft.engine.estimate import estimate
from graft.engine.predict import predict_rows
from graft.engine.settings import Listener
from graft.engine.threads import choose_threads, computing_with
from graft.engine.views import items, plain
from graft.errors import GraftError, InputError, RecipeError, is_out_of_memory
from graft.job import Job, open_job
from graft.memory import forget_peak
from graft.methods.plan import Gradient
from graft.metrics.headline import headline_scorer
from graft.metrics.scorer import Scorer
from graft.prepare import Prepared, prepare
from graft.recipe import DEFAULT_TEXT_MODEL, Recipe, build_plan, with_own_options
from graft.records import RunRecord, from_json, to_json
from graft.report.cost_picture import Spot, draw_costs
from graft.report.words import human_seconds, readable
from graft.run_folder import held_folder, write_recipe
from graft.selection.comparison import Cell, Compared, Comparison, Curve
from graft.selection.curve import learning_curve
from graft.selection.question import ask
from graft.selection.verdict import Verdict, judge_methods
from graft.storage import storing, write_text
from graft.surgery.opening import open_whole

ALL = (
    *("probe", "lp-ft", "head", "last:2", "layerwise", "unfreeze", "full"),
    *("bottleneck", "residual", "lora", "bias", "norms", "scratch"),
)
"""Methods that are compared unless some are named; those that do not fit a network are left out."""
FILE, PICTURE, ASKED = "compare.json", "compare.svg", "compare.yaml"
MEND = "choose another --out"


@dataclass(frozen=True, eq=False)
class _Done:
    """Hold a finished cell with what it answers for held-out rows, to be scored."""

    cell: Cell
    scorers: dict[str, Scorer]


def compare(
    data: str | Path | None = None,
    *,
    model: str | Path | None = None,
    methods: str | Sequence[str] = (),
    seeds: int = 1,
    budget: float | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    recipe: str | Path | None = None,
    listener: Listener | None = None,
    on_cell: Callable[[str, int, int], None] | None = None,
    **options: Any,
) -> Comparison:
    """Train with several methods on the same rows and say which to take.

    The best method is the one of the highest metric on validation rows, as a mean over seeds; the
    recommended one is the cheapest that is not clearly behind it. Test rows choose nothing.

    Args:
        data: as `train` takes it.
        model: a name or folder as `open_backbone` takes it.
        methods: names, as a list or with commas between them; all that fit unless given.
        seeds: numbers 0 to `seeds` - 1 draw the split, where none is given, and the training.
        budget: seconds that each training may take: it gets fewer epochs where it would take
            longer, by an estimate before it begins, and is left out where one epoch takes longer.
        out: the comparison's folder; a new one under `runs/` unless given.
        resume: go on with the comparison in `out`.
        recipe: a YAML file of options; keywords win over it.
        on_cell: told method, number of the training and how many there are.
        options: see `graft.recipe.Recipe`; each method takes those that it has.

    Raises:
        InputError: data, model or options are not usable, or no method could be trained.
        StorageError: the folder cannot be written.
    """
    began = time.perf_counter()
    if options.pop("method", None) is not None:
        raise InputError("compare takes its methods from `methods`; leave `method` out")
    asked = asked_for(data, model, recipe, options).recipe.placed()
    names = _methods(methods)
    if seeds < 1:
        raise InputError(f"--seeds {seeds}: give 1 or more")
    folder = Path(out) if out else _new_folder(asked.data)
    _begin(folder, asked, names, seeds, budget, resume=resume)
    listener = _telling_once(listener or Listener())
    done: dict[str, list[_Done]] = {name: [] for name in names}
    left_out: dict[str, str] = {}
    shared_seconds, first = 0.0, None
    asked = asked.model_copy(update={"threads": asked.threads or choose_threads()})
    with computing_with(asked.threads or 1):
        for seed in range(seeds):
            shared = _Shared(asked.model_copy(update={"seed": seed}))
            for number, name in enumerate(names):
                if name in left_out:
                    continue
                if on_cell is not None:
                    on_cell(name, seed * len(names) + number, seeds * len(names))
                found = _cell(shared, name, folder, budget, listener)
                if isinstance(found, str):
                    left_out[name] = found
                else:
                    done[name].append(found)
            shared_seconds += shared.seconds
            first = first or shared
    whole = {name: cells for name, cells in done.items() if len(cells) == seeds}
    if not whole or first is None or first.job is None:
        raise InputError("\n".join(f"{name}: {why}" for name, why in left_out.items()))
    found = _summary(first, whole, left_out)
    found = dataclasses.replace(
        found,
        folder=str(folder),
        n_seeds=seeds,
        curve=first.curve(listener),
        shared_seconds=shared_seconds,
        seconds=time.perf_counter() - began,
        environment=environment(),
    )
    write_text(folder / FILE, to_json(found), mend=MEND)
    write_text(folder / PICTURE, _picture(found), mend=MEND)
    return found


def _telling_once(listener: Listener) -> Listener:
    """Return a listener that is told each note once: all trainings have most of them in common."""
    told: set[str] = set()

    def on_note(note: str) -> None:
        if note not in told:
            told.add(note)
            listener.on_note(note)

    return dataclasses.replace(listener, on_note=on_note)


class _Shared:
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
        job = open_job(own, self._backbone(own), prepared=self.prepared)
        self.job = self.job or job
        return job

    def streams(self, job: Job) -> Any:
        """Return the streams of all jobs of this seed."""
        return self.once("streams", job.streams)

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
            question = ask(self.job.task, stream, self.recipe.seed)
        except InputError:  # fewer rows of a class than folds
            return None
        return learning_curve(question, np.asarray(known.known), seed=self.recipe.seed)

    def _backbone(self, recipe: Recipe) -> Backbone | None:
        """Return a copy of the pristine network; None where the job must open it itself."""
        name = recipe.place("model")
        if name is None or folder_of_both(name) is not None or recipe.init_head is not None:
            return None
        is_random = recipe.method == "scratch"
        kept = self.once(("backbone", is_random), lambda: open_whole(name, random=is_random))
        return Backbone(
            copy.deepcopy(kept.net),
            chains=kept.chains,
            read=kept.read,
            width=kept.width,
            processor=kept.processor,
            modality=kept.modality,
            origin=kept.origin,
        )

    @property
    def _is_text(self) -> bool:
        return self.prepared.table.roles.modality == "text"


def _methods(asked: str | Sequence[str]) -> tuple[str, ...]:
    names = asked.split(",") if isinstance(asked, str) else list(asked)
    names = [name.strip() for name in names if name.strip()]
    if not names:
        return ALL
    for name in names:
        build_plan(Recipe(method=name), 1_000)  # an unknown one is named, with the closest
    if "auto" in names:
        raise InputError("auto chooses one of the others; leave it out of --methods")
    return tuple(dict.fromkeys(names))


def _cell(
    shared: _Shared, method: str, folder: Path, budget: float | None, listener: Listener
) -> _Done | str:
    """Train one method with one seed, or read what was trained; returns why where it cannot be."""
    name = f"{method.replace(':', '')}-{shared.recipe.seed}"
    own = folder / name
    try:
        if (own / "record.json").is_file():
            return _again(shared, method, own, name)
        job = shared.open(method)
        epochs = 0
        if budget is not None and not (own / RECIPE).is_file():
            epochs = _epochs_within(job, shared.streams(job), budget)
            job = shared.open(method, epochs=epochs) if epochs else job
        elif budget is not None:
            epochs = _written_epochs(own)
            job = shared.open(method, epochs=epochs) if epochs else job
        shared.compute(job, listener)
        began = time.perf_counter()
        forget_peak()
        with held_folder(own, overwrite=False):
            is_begun = (own / RECIPE).is_file()
            found = train_job(job, own, listener, resume=is_begun, began=began, once=shared.once)
        return _scored(shared, job, found, _of_record(method, shared, name, found.record, epochs))
    except GraftError as error:
        return str(error).partition("\n")[0]
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return "does not fit into memory"


def _epochs_within(job: Job, streams: Any, budget: float) -> int:
    """Return the epochs that fit into a budget of seconds; 0 where the method's own do.

    Raises:
        InputError: not one does.
    """
    gradients = [p.by for p in job.plan.phases if isinstance(p.by, Gradient)]
    if not gradients:
        return 0
    n_rows = len(job.splits.train)
    parts = {k: v for k, v in streams.items() if k != "test" and len(first_of(v))}
    expected = estimate(
        job.plan, job.model, job.task, parts, state=job.state, settings=settings_of(job)
    ).seconds
    if expected <= budget:
        return 0
    own = max(by.n_epochs(n_rows) for by in gradients)
    fitting = int(own * budget / expected)
    if not fitting:
        one = human_seconds(expected / own)
        raise InputError(f"one epoch would take about {one}, more than the budget")
    return fitting


def _written_epochs(folder: Path) -> int:
    """Return the epochs that the budget left a run when it began; 0 where it had its own."""
    import yaml

    return int(yaml.safe_load((folder / RECIPE).read_text(encoding="utf-8")).get("epochs") or 0)


def _again(shared: _Shared, method: str, folder: Path, name: str) -> _Done:
    """Read a cell that an earlier life of the comparison finished."""
    record = from_json(RunRecord, (folder / "record.json").read_text(encoding="utf-8"))
    job = shared.open(method)
    model, task = load_artifact(folder / "model")
    outputs = {
        part: predict_rows(model, task, items(plain(first_of(streams))))[task.output]
        for part, streams in shared.streams(job).items()
        if part != "train" and len(first_of(streams))
    }
    epochs = _written_epochs(folder) if shared.recipe.epochs is None else 0
    cell = _of_record(method, shared, name, record, epochs)
    return _scored(shared, job, Finished(record, outputs), cell)


def _of_record(method: str, shared: _Shared, name: str, record: RunRecord, epochs: int) -> Cell:
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
    )


def _scored(shared: _Shared, job: Job, found: Finished, cell: Cell) -> _Done:
    scorers = {}
    for part, outputs in found.outputs.items():
        truth: Any = job.task.truth(first_of(shared.streams(job)[part]))
        scorers[part] = headline_scorer(job.task.metrics, truth, outputs)
    return _Done(cell, scorers)


def _summary(shared: _Shared, done: dict[str, list[_Done]], left_out: dict[str, str]) -> Comparison:
    job = shared.job
    assert job is not None
    parts = next(iter(done.values()))[0].scorers
    chosen_on = "validation" if "validation" in parts else next(iter(parts), "")
    if not chosen_on:
        raise InputError("no rows are held out to choose on; raise --validation")
    verdict = judge_methods({m: [d.scorers[chosen_on] for d in cells] for m, cells in done.items()})
    seconds = {m: float(np.mean([d.cell.seconds for d in cells])) for m, cells in done.items()}
    taken = verdict.cheapest(seconds)
    rows = []
    for method in sorted(done, key=lambda m: -verdict.values[m].value):
        cells = [d.cell for d in done[method]]
        scores = [c.scores["test"] for c in cells if "test" in c.scores and chosen_on != "test"]
        rows.append(
            Compared(
                method,
                verdict.values[method],
                verdict.behind[method],
                float(np.mean(scores)) if scores else None,
                seconds[method],
                max(c.peak_memory_bytes for c in cells),
                max(c.n_trained for c in cells),
                max(c.kept_bytes for c in cells),
                method == verdict.best,
                method == taken,
            )
        )
    before = np.nan
    if job.plan.start == "pretrained":
        truth: Any = job.task.truth(first_of(shared.streams(job)[chosen_on]))
        outputs = shared.compute(job, Listener()).outputs[chosen_on]
        (before,) = headline_scorer(job.task.metrics, truth, outputs).scores().values()
    return Comparison(
        folder="",
        data=shared.recipe.data,
        model=job.recipe.model or "",
        metric=job.task.headline,
        chosen_on=chosen_on,
        n_train=len(job.splits.train),
        n_chosen_on=len(getattr(job.splits, chosen_on)),
        n_seeds=1,
        n_parameters=sum(p.numel() for p in job.model.parameters()),
        untouched=float(before),
        methods=tuple(rows),
        cells=tuple(d.cell for cells in done.values() for d in cells),
        left_out=left_out,
        told=_told(job.task.headline, chosen_on, verdict, taken, seconds),
    )


def _told(metric: str, part: str, verdict: Verdict, taken: str, seconds: dict[str, float]) -> str:
    """Return the recommendation in a sentence."""
    value, cost = verdict.values[taken].value, human_seconds(seconds[taken])
    said = f"take `{taken}`: {readable(metric)} {value:.3f} on {part} rows in {cost}"
    if taken == verdict.best:
        return f"{said}; no cheaper method is as good"
    behind = verdict.behind[taken]
    return (
        f"{said}; `{verdict.best}` is {behind.value:+.3f} ahead ({behind.low:+.3f} to "
        f"{behind.high:+.3f}), which these rows do not tell from chance, and takes "
        f"{human_seconds(seconds[verdict.best])}"
    )


def _picture(found: Comparison) -> str:
    spots = [
        Spot(
            m.method,
            m.seconds,
            m.value.value,
            m.value.low,
            m.value.high,
            "taken" if m.is_recommended else "close" if m.behind.low <= 0 else "behind",
        )
        for m in found.methods
    ]
    title = f"{found.model} on {found.n_train:,} rows: take {found.recommended.method}"
    metric = f"{readable(found.metric)} on {found.chosen_on} rows"
    return draw_costs(spots, metric=metric, title=title)


def _new_folder(data: str) -> Path:
    for number in range(1, 10_000):
        folder = Path("runs") / f"{Path(data).stem or 'data'}-compare-{number}"
        if not folder.exists():
            return folder
    raise InputError("runs/ holds 9,999 comparisons of this name; pass --out")


def _begin(
    folder: Path,
    asked: Recipe,
    names: Sequence[str],
    seeds: int,
    budget: float | None,
    *,
    resume: bool,
) -> None:
    """Make the folder, or see that the comparison in it was asked the same.

    Raises:
        InputError: it holds something, and `resume` is not given; or another comparison.
    """
    question = {
        "methods": list(names),
        "seeds": seeds,
        "budget": budget,
        **{k: v for k, v in asked.model_dump(mode="json").items() if v is not None},
    }
    path = folder / ASKED
    if path.is_file():
        import yaml

        before = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not resume:
            raise InputError(f"{folder}: holds a comparison; pass --resume or another --out")
        odd = [
            f"{key} was {json.dumps(before.get(key))}, is {json.dumps(question.get(key))}"
            for key in sorted(before.keys() | question.keys())
            if before.get(key) != question.get(key)
        ]
        if odd:
            raise RecipeError(
                f"{folder}: is a comparison of other settings ({odd[0]}); leave them as they were, "
                "or choose another --out"
            )
        return
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder}: holds other files; choose another --out")
    with storing("the comparison", folder, MEND):
        folder.mkdir(parents=True, exist_ok=True)
        write_recipe(path, question)
