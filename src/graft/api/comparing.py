"""Comparing methods on one's own data, as a function."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from graft.api.asked import asked_for
from graft.api.both_towers import first_of
from graft.api.cells import Done, Shared, train_cell
from graft.api.compare_folder import (
    MEND,
    UNLESS_GIVEN,
    Progress,
    Question,
    begin,
    goes_on,
    resumed,
)
from graft.api.provenance import environment
from graft.api.training import RECIPE
from graft.engine.settings import Listener
from graft.engine.threads import choose_threads, computing_with
from graft.errors import InputError
from graft.match_job import matches
from graft.metrics.headline import headline_scorer
from graft.prepare import embeds
from graft.report.cost_picture import Spot, draw_costs
from graft.report.words import UNTOUCHED, human_seconds, readable
from graft.selection.comparison import Compared, Comparison
from graft.selection.verdict import Verdict, judge_methods
from graft.serial import from_json, to_json
from graft.storage import write_text
from graft.tasks.labelled import Labelled

ON_SOURCE = "; this is judged on rows of the source, and no label of the target chooses anything"
FILE, PICTURE = "compare.json", "compare.svg"


def compare(
    data: str | Path | None = None,
    *,
    model: str | Path | None = None,
    methods: str | Sequence[str] = (),
    seeds: int | None = None,
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
        seeds: numbers 0 to `seeds` - 1 draw the split, where none is given, and the training; one
            unless given.
        budget: seconds that each training may take: it gets fewer epochs where it would take
            longer, by an estimate before it begins, and is left out where one epoch takes longer.
        out: the comparison's folder; a new one under `runs/` unless given.
        resume: go on with the comparison in `out`; it needs nothing else.
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
    question = Question.of(methods, seeds, budget)
    is_resumed = goes_on(out, resume=resume, is_named=bool(data or recipe))
    if is_resumed and out is not None and recipe is None:
        recipe = Path(out) / RECIPE
    asked = asked_for(data, model, recipe, options).recipe
    if asked.seed:
        raise InputError("compare counts its seeds from 0; leave --seed out and pass --seeds")
    if is_resumed and out is not None:
        folder = Path(out)
        asked, question = resumed(folder, asked, question)
        if (folder / FILE).is_file():
            return _written(folder)
    else:
        if resume and listener is not None:
            listener.on_note(f"{out}: holds no comparison; a new one begins there")
        folder = Path(out) if out else _new_folder(asked.data)
        asked, question = asked.placed(), question.over(UNLESS_GIVEN)
    names, n_seeds = question.methods or (), question.seeds or 1
    listener = _telling_once(listener or Listener())
    done: dict[str, list[Done]] = {name: [] for name in names}
    left_out: dict[str, str] = {}
    shared_seconds, first = 0.0, None
    threads = asked.threads or choose_threads()
    with computing_with(threads):
        for seed in range(n_seeds):
            shared = Shared(asked.model_copy(update={"seed": seed, "threads": threads}))
            _refuse_embeddings(shared)
            if not (seed or is_resumed):  # the data can be used, so there will be something
                begin(folder, asked, question)
            progress = Progress.of(folder, shared.prepared.table.content_hash())
            left_out = progress.left_out
            for number, name in enumerate(names):
                if name in left_out:
                    continue
                if on_cell is not None:
                    on_cell(name, seed * len(names) + number, n_seeds * len(names))
                found = train_cell(shared, name, folder, question.budget, listener)
                if isinstance(found, str):
                    left_out[name] = found
                    progress.keep(folder)
                else:
                    done[name].append(found)
            shared_seconds += shared.seconds
            first = first or shared
    whole = {name: cells for name, cells in done.items() if len(cells) == n_seeds}
    if not whole or first is None or first.job is None:
        raise InputError("\n".join(f"{name}: {why}" for name, why in left_out.items()))
    found = _summary(first, whole, left_out)
    found = dataclasses.replace(
        found,
        folder=str(folder),
        n_seeds=n_seeds,
        curve=first.curve(listener),
        shared_seconds=shared_seconds,
        seconds=time.perf_counter() - began,
        environment=environment(),
    )
    write_text(folder / PICTURE, _picture(found), mend=MEND)
    write_text(folder / FILE, to_json(found), mend=MEND)
    return found


def _written(folder: Path) -> Comparison:
    """Return what a finished comparison found."""
    found = from_json(Comparison, (folder / FILE).read_text(encoding="utf-8"))
    if not (folder / PICTURE).is_file():
        write_text(folder / PICTURE, _picture(found), mend=MEND)
    return dataclasses.replace(found, folder=str(folder))


def _telling_once(listener: Listener) -> Listener:
    """Return a listener that is told each note once: all trainings have most of them in common."""
    told: set[str] = set()

    def on_note(note: str) -> None:
        if note not in told:
            told.add(note)
            listener.on_note(note)

    return dataclasses.replace(listener, on_note=on_note)


def _refuse_embeddings(shared: Shared) -> None:
    table = shared.prepared.table
    if matches(table) or embeds(shared.recipe, table):
        raise InputError(
            "compare knows classes, labels and numbers; of embeddings and two towers train each "
            "method with `graft train`, and compare what their reports say"
        )


def _summary(shared: Shared, done: dict[str, list[Done]], left_out: dict[str, str]) -> Comparison:
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
                {
                    what: float(np.mean([c.beside[what] for c in cells]))
                    for what in cells[0].beside
                    if all(what in c.beside for c in cells)
                },
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
        told=_told(job.task.headline, chosen_on, verdict, taken, seconds)
        + _caution(job.task, verdict, taken, float(before))
        + (ON_SOURCE if job.target is not None else ""),
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


def _caution(task: Labelled, verdict: Verdict, taken: str, untouched: float) -> str:
    """Return a warning where what was trained is worse than the network before it."""
    if not verdict.values[taken].value < untouched:
        return ""
    mend = "give them more epochs or rows" if "probe" in verdict.values else "compare `probe`, too"
    return f"; but the {UNTOUCHED[task.name]} has {untouched:.3f} there: {mend}"


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
    return draw_costs(spots, metric=metric, title=title, untouched=found.untouched)


def _new_folder(data: str) -> Path:
    for number in range(1, 10_000):
        folder = Path("runs") / f"{Path(data).stem or 'data'}-compare-{number}"
        if not folder.exists():
            return folder
    raise InputError("runs/ holds 9,999 comparisons of this name; pass --out")
