"""`graft sweep`, and how a sweep is shown."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from graft.cli.options import RecipeOptions

if TYPE_CHECKING:
    from graft.selection.trials import Sweep, Trial

N_SHOWN = 10


def sweep(
    data: str | None = None,
    /,
    *,
    trials: int = 20,
    over: str | None = None,
    out: Path | None = None,
    resume: bool = False,
    ray: bool = False,
    recipe: Path | None = None,
    options: RecipeOptions | None = None,
    quiet: bool = False,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """Search a method's rates, decay and l2, by trainings that are judged on validation rows.

    The first trial is the method's own choice; the others follow from what was found before them.
    What is frozen is computed once for all, test rows are left alone, and the best recipe is
    written as best.yaml. Needs the extra `tune`. Examples:

        graft sweep tickets.csv --method full --trials 20 --out sweeps/tickets

        graft sweep tickets.csv --method layerwise --over lr,decay

        graft sweep --resume --out sweeps/tickets --trials 40

        graft train --recipe sweeps/tickets/best.yaml

    Parameters
    ----------
    data
        As `graft train` takes it; may be left out where `--recipe` or the sweep to resume names it.
    trials
        Finished trainings in all, those of an earlier process included.
    over
        Options to look for, with commas between them: lr, head_lr, weight_decay, decay, l2. All
        that the method has and no flag sets unless given.
    out
        Folder of the sweep; a new one under sweeps/ unless given.
    resume
        Go on with the sweep that is in `--out`; its finished trials are kept.
    ray
        Run trials on a Ray cluster, that of RAY_ADDRESS or one on this machine, as many at once as
        it has processors for. Needs the extra `ray`.
    recipe
        YAML file of options; flags win over it, and what is set is not looked for.
    quiet
        Print nothing but the path of the best recipe.
    as_json
        Print the sweep as JSON.
    """
    from graft import api
    from graft.cli.progress import ProgressBars
    from graft.cli.quiet import hush_libraries
    from graft.cli.stopped import told_when_stopped
    from graft.engine.stopping import stoppable
    from graft.errors import InputError
    from graft.serial import to_json

    if data is None and recipe is None and not (resume and out is not None):
        raise InputError("no data; name a file or folder, or pass --recipe with a file that does")
    hush_libraries()
    is_shown = not (quiet or as_json)
    given = (options or RecipeOptions()).given()
    names = () if over is None else tuple(n.strip().replace("-", "_") for n in over.split(","))
    with told_when_stopped(True, "sweep"), stoppable(), ProgressBars(enabled=is_shown) as bars:
        found = api.sweep(
            data,
            trials=trials,
            over=names,
            out=out,
            resume=resume,
            ray=ray,
            recipe=recipe,
            listener=bars.listener(),
            on_trial=_tell if is_shown else (lambda *_: None),
            **given,
        )
    if as_json:
        print(to_json(found))
    elif quiet:
        print(found.best_recipe)
    else:
        show_sweep(found)


def _tell(found: Sweep, trial: Trial) -> None:
    """Say what came of a trial."""
    from graft.cli.show import errors
    from graft.report.words import readable

    tried = ", ".join(f"{name} {value:.2g}" for name, value in trial.options.items())
    came = trial.why if trial.value is None else f"{readable(found.metric)} {trial.value:.3f}"
    text = f"trial {trial.number}  {tried or 'the own choice of the method'}: {came}"
    errors.print(text, markup=False, soft_wrap=True)


def show_sweep(found: Sweep) -> None:
    """Print the best trials, and what the best is worth beside the method's own choice."""
    from graft.cli.show import console, show_columns, span
    from graft.report.words import human_seconds, readable

    say = partial(console.print, markup=False, soft_wrap=True)
    ordered = found.ordered
    failed = [trial for trial in found.trials if trial.value is None]
    if not ordered:
        say(f"none of {len(failed)} trials gave anything: {failed[0].why}")
        return
    shown = ordered[:N_SHOWN]
    metric = readable(found.metric)
    columns = {metric: [f"{t.value:.3f}" for t in shown]}
    for name in found.space:
        columns[name] = [f"{t.options[name]:.2g}" if name in t.options else "own" for t in shown]
    columns["took"] = [human_seconds(t.seconds) for t in shown]
    show_columns("trial", [str(t.number) for t in shown], columns)
    n = len(found.trials)
    say(
        f"the best of {n} {'trial' if n == 1 else 'trials'} by {metric} on {found.n_validation:,} "
        "validation rows; trial 0 is the method's own choice"
        + (f"; {len(failed)} gave nothing" if failed else ""),
        style="dim",
    )
    for note in found.notes:
        say(f"note: {note}", style="dim")
    best, gain = ordered[0], found.gain
    if best.number == 0:
        say("\nno trial beats the method's own choice")
    elif gain is not None:
        say(
            f"\ntrial {best.number}: {gain.value:+.3f} {span(gain, sign='+')} {metric} against the "
            "own choice; it was chosen on these rows, so expect less on others"
        )
    say(f"train it  graft train --recipe {found.best_recipe}")
