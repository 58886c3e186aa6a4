"""`graft compare`, and how a comparison is shown."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from graft.cli.options import RecipeOptions

if TYPE_CHECKING:
    from graft.selection.comparison import Comparison

UNITS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600}


def compare(
    data: str | None = None,
    /,
    *,
    methods: str = "",
    seeds: int | None = None,
    budget: str | None = None,
    out: Path | None = None,
    recipe: Path | None = None,
    options: RecipeOptions | None = None,
    resume: bool = False,
    quiet: bool = False,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """Compare methods on your own data, and say which to take.

    Trains with each, on the same rows, and prints what it is worth and what it costs. Takes the
    cheapest method that validation rows do not tell from the best; test rows choose nothing. Every
    training is a run of its own that `graft predict` opens. Examples:

        graft compare tickets.csv

        graft compare tickets.csv --methods probe,lp-ft,full --seeds 3 --budget 5m

        graft compare --resume --out runs/tickets-compare-1

    Parameters
    ----------
    data
        As `graft train` takes it; may be left out where `--recipe` or the comparison to resume
        names it.

    methods
        Names with commas between them; all that fit the model unless given.
    seeds
        How many times each is trained, with another split where none is given; one unless given.
    budget
        Time that each training may take, 90s, 10m or 1h: it gets fewer epochs where it would take
        longer, and is left out where one epoch, or its solved head, would.
    out
        Folder of the comparison; a new one under runs/ unless given.
    recipe
        YAML file of options; flags win over it.
    resume
        Go on with the comparison in `--out`; what is finished is read. Needs nothing else.
    quiet
        Print nothing but the method to take.
    as_json
        Print the comparison as JSON.
    """  # noqa: D405, D416
    from graft import api
    from graft.cli.progress import ProgressBars
    from graft.cli.quiet import hush_libraries
    from graft.cli.show import errors
    from graft.cli.stopped import told_when_stopped
    from graft.engine.stopping import stoppable
    from graft.errors import InputError
    from graft.serial import to_json

    if data is None and recipe is None and not resume:
        raise InputError("no data; name a file or folder, or pass --recipe with a file that does")
    hush_libraries()
    given = (options or RecipeOptions()).given()
    is_shown = not (quiet or as_json)

    def told(method: str, number: int, n: int) -> None:
        if is_shown:
            errors.print(f"{number + 1}/{n} {method}", markup=False)

    with told_when_stopped(True), stoppable(), ProgressBars(enabled=is_shown) as bars:
        found = api.compare(
            data,
            methods=methods,
            seeds=seeds,
            budget=None if budget is None else read_seconds(budget),
            out=out,
            recipe=recipe,
            resume=resume,
            listener=bars.listener(),
            on_cell=told,
            **given,
        )
    if as_json:
        print(to_json(found))
    elif quiet:
        print(found.recommended.method)
    else:
        show_comparison(found)


def read_seconds(text: str) -> float:
    """Return the seconds of `90`, `90s`, `10m` or `1.5h`.

    Raises:
        InputError: it is none of these.
    """
    from graft.errors import InputError

    number = text.rstrip("abcdefghijklmnopqrstuvwxyz ")
    unit = text[len(number) :].strip()
    try:
        seconds = float(number) * UNITS[unit]
    except (ValueError, KeyError):
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise InputError(f"--budget {text}: write 90s, 10m or 1h")
    return seconds


def show_comparison(found: Comparison) -> None:
    """Print what every method is worth and costs, and which to take."""
    from graft.cli.show import console, show_columns, span
    from graft.report.words import human_seconds, readable
    from graft.wording import counted, human_bytes

    rows = found.methods
    part = "test" if found.chosen_on == "validation" else ""
    columns = {
        readable(found.metric): [f"{m.value.value:.3f} {span(m.value)}" for m in rows],
        "behind the best": [
            "" if m.is_best else f"{m.behind.value:.3f} {span(m.behind, '+')}" for m in rows
        ],
    }
    if any(m.reported is not None for m in rows):
        columns[f"on {part}"] = ["" if m.reported is None else f"{m.reported:.3f}" for m in rows]
    for what in rows[0].beside:
        columns[what] = [f"{m.beside[what]:.3f}" if what in m.beside else "" for m in rows]
    columns |= {
        "time": [human_seconds(m.seconds) for m in rows],
        "memory": [human_bytes(m.peak_memory_bytes) for m in rows],
        "trained": [f"{m.n_trained / found.n_parameters:.1%}" for m in rows],
        "kept": [human_bytes(m.kept_bytes) for m in rows],
    }
    names = [f"{m.method}{' ←' if m.is_recommended else ''}" for m in rows]
    show_columns(found.model, names, columns)
    seeds = counted(found.n_seeds, "seed")
    console.print(
        f"on {found.n_chosen_on:,} {found.chosen_on} rows, {seeds}; untouched backbone "
        f"{found.untouched:.3f}; in brackets 95 % intervals, paired",
        style="dim",
        soft_wrap=True,
    )
    for method, why in found.left_out.items():
        console.print(f"left out: {method}: {why}", style="dim", markup=False, soft_wrap=True)
    console.print(f"\n{found.told}", markup=False, soft_wrap=True)
    if found.curve is not None:
        console.print(found.curve.told, markup=False, soft_wrap=True)
    console.print(
        f"\n{len(found.cells)} trainings · {human_seconds(found.seconds)} in all, "
        f"{human_seconds(found.shared_seconds)} of them shared",
        soft_wrap=True,
    )
    console.print(f"picture {found.folder}/compare.svg", markup=False, soft_wrap=True)
    console.print(f"runs    {found.folder}", markup=False, soft_wrap=True)
