"""`graft rank`, and how a ranking is shown."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from graft.cli.options import DataOptions, RunningOptions

if TYPE_CHECKING:
    from graft.selection.ranking import Ranking


def rank(
    data: str | None = None,
    /,
    *,
    models: str,
    out: Path | None = None,
    recipe: Path | None = None,
    reading: DataOptions | None = None,
    running: RunningOptions | None = None,
    quiet: bool = False,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """Rank pretrained models by what they know of your data, before anything is trained.

    Each takes one pass over the training rows, which a training reads again from the store. Sorted
    by a linear head on its features, by cross-validation on the same folds for all. Examples:

        graft rank photos/ --models timm:resnet18,timm:vit_tiny_patch16_224

        graft rank photos/ --models pretrained/ --out ranking

        graft rank tickets.csv --models models.txt --json

    Parameters
    ----------
    data
        As `graft train` takes it; may be left out where `--recipe` names it.
    models
        Names with commas between them, as --model of `graft train` takes each; a folder of model
        folders; or a .txt file with a name on each line and comments after #.
    out
        Folder into which rank.json is written.
    recipe
        YAML file of options; flags win over it.
    quiet
        Print nothing but the name of the best.
    as_json
        Print the ranking as JSON.
    """
    from graft import api
    from graft.cli.progress import ProgressBars
    from graft.cli.quiet import hush_libraries
    from graft.errors import InputError
    from graft.serial import to_json

    if data is None and recipe is None:
        raise InputError("no data; name a file or folder, or pass --recipe with a file that does")
    hush_libraries()
    given = (reading or DataOptions()).given() | (running or RunningOptions()).given()
    with ProgressBars(enabled=not (quiet or as_json)) as bars:
        found = api.rank(data, models, out=out, recipe=recipe, listener=bars.listener(), **given)
    if as_json:
        print(to_json(found))
    elif quiet:
        print(found.best.model)
    else:
        show_ranking(found)
        if out is not None:
            print(f"written {out / 'rank.json'}")


def show_ranking(found: Ranking) -> None:
    """Print the candidates, what is known without pretraining, and which to take."""
    from graft.cli.show import console, errors
    from graft.report.words import human_seconds, readable
    from graft.selection.candidates import short_names
    from graft.wording import human_bytes

    say = partial(console.print, markup=False, soft_wrap=True)
    warn = partial(errors.print, markup=False, soft_wrap=True)
    names = short_names([m.model for m in (*found.models, *found.not_ranked)])
    metric = readable(found.metric)
    show_candidates(found, names, metric)
    several = {"classify": "classes", "multilabel": "labels"}.get(found.task)
    what = f", {found.n_classes} {several}" if several else ""
    rows = f"{found.n_rows:,}" + (f" of {found.n_train:,}" if found.n_rows < found.n_train else "")
    say(
        f"sorted by {metric}: a linear head on frozen features, {found.n_folds}-fold "
        f"cross-validation on {rows} training rows{what}\n"
        "behind the best: row by row, in brackets the 95 % bootstrap interval; kNN: "
        f"{metric} by the nearest rows of other folds; seconds: one pass",
        style="dim",
    )
    show_baselines(found, metric)
    for failed in found.not_ranked:
        warn(f"not ranked: {names[failed.model]}: {failed.why}")
    for warning in found.warnings:
        warn(f"warning: {warning}")
    best, cheap = found.best, found.cheapest
    say(f"\nstart from  {best.model}")
    if cheap is not best:
        quick, slow = (human_seconds(m.cost.pass_seconds) for m in (cheap, best))
        small, large = (human_bytes(m.cost.weights_bytes) for m in (cheap, best))
        say(
            f"or from     {cheap.model}, which is not clearly behind it: {quick} against {slow} a "
            f"pass, {small} against {large}"
        )


def show_candidates(found: Ranking, names: Mapping[str, str], metric: str) -> None:
    """Print a row for each candidate, the best first."""
    from graft.cli.show import show_columns, span
    from graft.report.words import human_seconds, readable
    from graft.transferability import SCORES
    from graft.wording import human_bytes

    models, others = found.models, found.models[1:]
    behind = [f"{m.behind.value:+.3f} {span(m.behind, sign='+')}" for m in others]
    columns = {
        metric: [f"{m.probe.value:.3f}" for m in models],
        "behind the best": ["", *behind],
        "kNN": [f"{m.knn:.3f}" for m in models],
        "weights": [human_bytes(m.cost.weights_bytes) for m in models],
        "seconds": [human_seconds(m.cost.pass_seconds) for m in models],
    }
    for name in SCORES:
        if any(name in m.scores for m in models):
            cells = [f"{m.scores[name]:.3f}" if name in m.scores else "–" for m in models]
            columns[readable(name)] = cells
    columns["width"] = [str(m.cost.width) for m in models]
    show_columns("model", [names[m.model] for m in models], columns)


def show_baselines(found: Ranking, metric: str) -> None:
    """Print what is known without pretraining, beside the best candidate."""
    from graft.cli.show import console, show_columns, span

    asked = found.baselines
    columns = {
        metric: [f"{b.value:.3f}" for b in asked],
        "the best": [f"{b.of_best:.3f}" for b in asked],
        "ahead by": [f"{b.lead.value:+.3f} {span(b.lead, sign='+')}" for b in asked],
        "rows": [f"{b.n_rows:,}" for b in asked],
    }
    if asked:
        console.print()
        show_columns("without pretraining", [b.name for b in asked], columns)
